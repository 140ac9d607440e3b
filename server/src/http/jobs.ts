import {
  Closed,
  CreateJobRequestSchema,
  Id,
  JobListItemSchema,
  JobQuerySchema,
  JobSchema,
  JobsHealthSchema,
  Page,
} from '@opsconductor/protocol';
import { callerOf } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { createJob } from '../jobs/create-job.ts';
import { jobsHealth } from '../jobs/jobs-health.ts';
import { getJob, listJobs } from '../jobs/list-jobs.ts';
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
      summary: 'List jobs by name, each with its last 20 runs',
      tag,
      query: JobQuerySchema,
      success: { status: 200, schema: Page(JobListItemSchema) },
      handle: ({ query }) => listJobs(deps.sql, query),
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs',
      permission: 'jobs.edit',
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
      summary: 'Whether jobs can run, and what keeps them from it',
      tag,
      success: { status: 200, schema: JobsHealthSchema },
      handle: () => jobsHealth(deps.sql),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id',
      permission: 'read',
      summary: 'Get a job with its current definition',
      tag,
      params,
      success: { status: 200, schema: JobSchema },
      handle: ({ params }) => getJob(deps, params.id),
    }),
  ];
}
