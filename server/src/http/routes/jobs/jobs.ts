import {
  BulkJobReplySchema,
  BulkJobRequestSchema,
  Closed,
  CreatedJobSchema,
  CreateJobRequestSchema,
  effectiveDefinition,
  exampleJobs,
  Id,
  JobCountsSchema,
  JobHealthSchema,
  JobLabelsInUseSchema,
  JobPageSchema,
  JobQuerySchema,
  JobSchema,
  JobStateRequestSchema,
  JobStatisticsQuerySchema,
  JobStatisticsSchema,
  JobsHealthQuerySchema,
  JobsHealthSchema,
  MoveJobRequestSchema,
  SaveJobBodySchema,
  SaveJobReplySchema,
  ShowJobQuerySchema,
  ShownJobSchema,
  ValidateJobBodySchema,
  ValidateJobReplySchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { checkSave } from '../../../jobs/checks/check-save.ts';
import { createJob } from '../../../jobs/create-job.ts';
import { jobStatistics } from '../../../jobs/insight/job-statistics.ts';
import { jobHealth, jobsHealth } from '../../../jobs/insight/jobs-health.ts';
import { bulkChangeJobs } from '../../../jobs/life/bulk-jobs.ts';
import { changeState } from '../../../jobs/life/change-state.ts';
import { deleteJob } from '../../../jobs/life/delete-job.ts';
import { getJob, jobCounts, jobLabels, listJobs } from '../../../jobs/list-jobs.ts';
import { moveJob } from '../../../jobs/settings/move-job.ts';
import { saveJob } from '../../../jobs/versions/save-job.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { expectedVersionOf } from '../../answers/entity-tag.ts';
import {
  jobExample,
  jobPageExample,
  jobsHealthExample,
  savedJobExample,
} from '../../description/examples/jobs.ts';
import { type RouteSpec, route } from '../../route.ts';
import { placesInDefinition, withPlaces } from './definition-places.ts';

export interface JobRouteDeps {
  sql: Sql;
  masterKey: MasterKey;
  /** The default for jobs that do not set `detect_secrets`; false unless set. */
  detectsSecrets?: boolean;
}

const tag = 'jobs';
const params = Closed({ id: Id });

export function jobRoutes(deps: JobRouteDeps): RouteSpec[] {
  // Routes such as jobs/health come before jobs/:id.
  return [...listRoutes(deps), ...bulkRoutes(deps), ...editRoutes(deps), ...insightRoutes(deps)];
}

function listRoutes(deps: JobRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/jobs',
      permission: 'read',
      scoped: true,
      summary: 'List and search jobs, each with its last 20 runs',
      description:
        'Filters are combined with “and”. A category includes those below it. Archived jobs are listed only with `state=archived`. With `count=true`, `total` is the number on all pages.',
      tag,
      query: JobQuerySchema,
      success: { status: 200, schema: JobPageSchema, example: jobPageExample },
      handle: ({ query, principal }) => listJobs(deps.sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Create a job from its definition, or from a template',
      description:
        'Each step’s `config` is checked by the schema of its type; all problems are reported together. From a template: `{"from_template": {"id": 7}, "name": "Patch Lyon", "parameters": {"site": "lyon"}, "fixed": ["site"]}`; values become defaults, those of `fixed` the only ones allowed.',
      tag,
      body: CreateJobRequestSchema,
      example: exampleJobs[0],
      checksBody: true,
      takesYaml: true,
      success: { status: 201, schema: CreatedJobSchema, example: jobExample },
      handle: (request) => withPlaces(request, () => createJob(deps, request.body, callerOf(request))),
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs/validate',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Check a definition without saving it',
      description:
        'Returns all problems, with the messages that a save would give: of the definition itself, its category and its credentials and, if all that is right, the site rules that it breaks. Takes the bare definition, or `{"definition": …, "jobId": 7, "note": "why"}` for one that would be saved to an existing job. `definition` is what would be saved, with defaults filled in; `defaults` lists where.',
      tag,
      body: ValidateJobBodySchema,
      example: { definition: exampleJobs[0], note: 'Asked for by the web team' },
      checksBody: true,
      takesYaml: true,
      success: { status: 200, schema: ValidateJobReplySchema },
      handle: async (request) => {
        const reply = await checkSave(deps, request.body, callerOf(request));
        return { ...reply, problems: placesInDefinition(request, reply.problems) };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/health',
      permission: 'read',
      scoped: true,
      summary: 'Whether jobs can run, what prevents it, and which active jobs are unhealthy',
      tag,
      query: JobsHealthQuerySchema,
      success: { status: 200, schema: JobsHealthSchema, example: jobsHealthExample },
      handle: ({ query, principal }) => jobsHealth(deps.sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/labels',
      permission: 'read',
      scoped: true,
      summary: 'List the labels in use on jobs, with the most used values of each',
      tag,
      success: { status: 200, schema: JobLabelsInUseSchema },
      handle: ({ principal }) => jobLabels(deps.sql, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/counts',
      permission: 'read',
      scoped: true,
      summary: 'Count jobs by state, by last result and by category',
      description:
        'Archived jobs are counted in `states` only. A job counts in its own category, not in those above.',
      tag,
      success: { status: 200, schema: JobCountsSchema },
      handle: ({ principal }) => jobCounts(deps.sql, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a job with its current definition',
      tag,
      params,
      query: ShowJobQuerySchema,
      success: { status: 200, schema: ShownJobSchema, example: jobExample },
      handle: async ({ params, query, principal }) => {
        const job = await getJob(deps, params.id, principal.authority.reach('read'));
        const serverDefaults = { detect_secrets: deps.detectsSecrets ?? false };
        const effective = query.defaults === true ? effectiveDefinition(job.definition, serverDefaults) : {};
        return { ...job, serverDefaults, ...effective };
      },
    }),
  ];
}

function bulkRoutes(deps: JobRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/jobs/bulk',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Change many jobs in one way: all of them, or none',
      description:
        'Choose jobs by `ids`, or by a `filter` with the filters of the list. `dryRun` returns what would be done and what prevents it. Each job’s change is in its history and in the audit log.',
      tag,
      body: BulkJobRequestSchema,
      example: { ids: [7, 12], action: 'label', labels: { team: 'web' }, dryRun: true },
      success: { status: 200, schema: BulkJobReplySchema },
      handle: (request) => bulkChangeJobs(deps, request.body, callerOf(request)),
    }),
  ];
}

function editRoutes(deps: JobRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'PUT',
      path: '/api/v1/jobs/:id',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Save a job as a new version',
      description:
        'Takes the bare definition, or one with a note next to it. Name the version that you changed, in `expectedVersion` or `If-Match: "3"`: if another one is current by now, the answer is 409, with both sides in `error.conflict`. A definition equal to that of the current version makes no new version. Category, labels and template change if the definition names them, without a new version.',
      tag,
      params,
      body: SaveJobBodySchema,
      example: { definition: exampleJobs[0], expectedVersion: 3, note: 'Smaller batches' },
      takesIfMatch: true,
      checksBody: true,
      takesYaml: true,
      success: { status: 200, schema: SaveJobReplySchema, example: savedJobExample },
      handle: (request) => {
        // Outside `withPlaces`, because an error in a header has no position in the body.
        const ifMatch = expectedVersionOf(request.context.req.raw);
        return withPlaces(request, () =>
          saveJob(deps, request.params.id, request.body, callerOf(request), ifMatch),
        );
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/jobs/:id',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Delete a job without open runs',
      description:
        'A job that never ran is removed completely. If it has runs, these stay, with its name and the versions they ran. Its name is free at once.',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteJob(deps.sql, request.params.id, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs/:id/state',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Activate, deactivate, archive or restore a job',
      description:
        'A draft becomes active or archived; active and inactive become each other or archived; archived becomes inactive. Open runs continue.',
      tag,
      params,
      body: JobStateRequestSchema,
      example: { state: 'inactive', note: 'Until the hosts are moved' },
      success: { status: 200, schema: JobSchema },
      handle: (request) => changeState(deps, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/jobs/:id/category',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Move a job to another category',
      description:
        'Needs `jobs.edit` on both categories. The new category decides who may see, run and edit the job, and who may see its runs.',
      tag,
      params,
      body: MoveJobRequestSchema,
      example: { category: 'prod/web' },
      success: { status: 200, schema: JobSchema },
      handle: (request) => moveJob(deps, request.params.id, request.body, callerOf(request)),
    }),
  ];
}

function insightRoutes(deps: JobRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id/health',
      permission: 'read',
      scoped: true,
      summary: 'Whether one job can run, and what prevents it',
      description:
        'Its definition is also checked against today’s rules. The segments shown are those of its last run; the next run may choose others.',
      tag,
      params,
      success: { status: 200, schema: JobHealthSchema },
      handle: ({ params, principal }) => jobHealth(deps, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id/statistics',
      permission: 'read',
      scoped: true,
      summary: 'Statistics of a job’s runs in recent days',
      description: 'Success rate, durations and figures per day, from at most the newest 10,000 runs.',
      tag,
      params,
      query: JobStatisticsQuerySchema,
      success: { status: 200, schema: JobStatisticsSchema },
      handle: ({ params, query, principal }) =>
        jobStatistics(deps.sql, params.id, query, principal.authority.reach('read')),
    }),
  ];
}
