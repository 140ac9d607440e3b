import {
  Closed,
  CreateJobRequestSchema,
  Id,
  JobListItemSchema,
  JobQuerySchema,
  JobSchema,
  JobsHealthSchema,
  MoveJobRequestSchema,
  Page,
} from '@opsconductor/protocol';
import { callerOf } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { createJob } from '../jobs/create-job.ts';
import { jobsHealth } from '../jobs/jobs-health.ts';
import { getJob, listJobs } from '../jobs/list-jobs.ts';
import { moveJob } from '../jobs/move-job.ts';
import type { Sql } from '../store/connection.ts';
import { type RouteSpec, route } from './route.ts';

const tag = 'jobs';
const params = Closed({ id: Id });

export function jobRoutes(deps: { sql: Sql; masterKey: MasterKey }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/jobs',
      permission: 'read',
      scoped: true,
      summary: 'List jobs by name, each with its last 20 runs',
      tag,
      query: JobQuerySchema,
      success: { status: 200, schema: Page(JobListItemSchema) },
      handle: ({ query, principal }) => listJobs(deps.sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Create a job from its definition',
      description:
        'Each step’s `config` is checked by the schema of its type; all that is wrong is told at once.',
      tag,
      body: CreateJobRequestSchema,
      checksBody: true,
      success: { status: 201, schema: JobSchema },
      handle: (request) => createJob(deps, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/health',
      permission: 'read',
      scoped: true,
      summary: 'Whether jobs can run, and what keeps them from it',
      tag,
      success: { status: 200, schema: JobsHealthSchema },
      handle: ({ principal }) => jobsHealth(deps.sql, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a job with its current definition',
      tag,
      params,
      success: { status: 200, schema: JobSchema },
      handle: ({ params, principal }) => getJob(deps, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/jobs/:id/category',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Move a job to another category',
      description:
        'Needs `jobs.edit` on both categories. Who may see, run and edit the job follows the category; so does who may see its runs.',
      tag,
      params,
      body: MoveJobRequestSchema,
      success: { status: 200, schema: JobSchema },
      handle: (request) => moveJob(deps, request.params.id, request.body, callerOf(request)),
    }),
  ];
}
