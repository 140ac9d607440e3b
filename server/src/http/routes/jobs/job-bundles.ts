import {
  ApplyJobImportRequestSchema,
  bundleMark,
  bundleVersion,
  Closed,
  ConvertedJobsSchema,
  CreateJobImportQuerySchema,
  ExportJobsQuerySchema,
  exampleJobs,
  ImportChoicesRequestSchema,
  JobBundleSchema,
  JobImportHeadsSchema,
  JobImportItemDetailSchema,
  JobImportQuerySchema,
  JobImportSchema,
  limits,
} from '@opsconductor/protocol';
import { Type } from 'typebox';
import { callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { exportJobs } from '../../../jobs/bundles/export-jobs.ts';
import type { JobImports } from '../../../jobs/bundles/job-imports.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { readInTurns } from '../../../turns/read-in-turns.ts';
import { type RouteSpec, route } from '../../route.ts';

export interface JobBundleRouteDeps {
  sql: Sql;
  masterKey: MasterKey;
  imports: JobImports;
}

/** Shared by all routes of imports. */
const edits = { permission: 'jobs.edit', scoped: true, tag: 'jobs' } as const;
const Uuid = Type.String({ pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$', maxLength: 36 });
const params = Closed({ id: Uuid });
const itemParams = Closed({
  id: Uuid,
  position: Type.Integer({
    minimum: 1,
    maximum: limits.maxJobsPerBundle,
    description: 'In the file, from 1',
  }),
});
const RundeckJobs = Type.Unknown({ description: 'Jobs as Rundeck exports them, in YAML or JSON: a list' });

export function jobBundleRoutes(deps: JobBundleRouteDeps): RouteSpec[] {
  return [...fileRoutes(deps), ...importRoutes(deps), ...decisionRoutes(deps)];
}

function fileRoutes({ sql, masterKey, imports }: JobBundleRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/jobs/export',
      permission: 'read',
      scoped: true,
      summary: 'Export jobs as one file, a bundle, in YAML or JSON',
      description: `Choose jobs by \`ids\`, or by the filters of the list; archived jobs only with \`state=archived\`. At most ${limits.maxJobsPerBundle} jobs, sorted by name, each in its current version with category, labels, state, the tags and channels of that version and the name of its template. The file contains nothing specific to this installation, and no secrets.`,
      tag: 'jobs',
      query: ExportJobsQuerySchema,
      success: {
        status: 200,
        contentType: 'application/yaml',
        others: [{ status: 200, contentType: 'application/json' }],
      },
      handle: async ({ query, principal }) => {
        const text = await exportJobs({ sql, masterKey }, query, principal.authority.reach('read'));
        const { format = 'yaml' } = query;
        return new Response(ReadableStream.from(encoded(readInTurns(principal.userId, text))), {
          headers: {
            'Content-Type': `application/${format}; charset=utf-8`,
            'Content-Disposition': `attachment; filename="jobs.${format}"`,
          },
        });
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs/convert/rundeck',
      ...edits,
      summary: 'Convert jobs that Rundeck exported into a bundle, and say what is lost',
      description:
        'Nothing is saved. Each finding names line and column in Rundeck’s file. To import them at once: POST job-imports?format=rundeck.',
      body: RundeckJobs,
      example: [
        {
          name: 'Restart nginx',
          group: 'web',
          sequence: { commands: [{ exec: 'sudo systemctl restart nginx' }] },
        },
      ],
      takesFile: true,
      maxBodyBytes: limits.maxConvertedBytes,
      success: { status: 200, schema: ConvertedJobsSchema },
      handle: ({ body }) => imports.convert(body as Uint8Array),
    }),
  ];
}

function importRoutes({ imports }: JobBundleRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/job-imports',
      ...edits,
      summary: 'Plan the import of a file of jobs: what it would create, update and leave unchanged',
      description:
        'Nothing changes yet. The file, a bundle or with `format=rundeck` an export from Rundeck, is read in the background: get the import until its status is `planned`, or `refused` with all problems by line and column. A plan is valid for 24 hours; the newest 10 of each user are kept.',
      query: CreateJobImportQuerySchema,
      body: JobBundleSchema,
      example: {
        format: bundleMark,
        version: bundleVersion,
        jobs: [{ definition: exampleJobs[0], state: 'active', tags: ['2026.11'] }],
      },
      takesFile: true,
      maxBodyBytes: limits.maxBundleBytes,
      success: { status: 202, schema: JobImportSchema },
      handle: (request) =>
        imports.create(request.query, request.body as unknown as Uint8Array, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/job-imports',
      ...edits,
      summary: 'List your own newest imports of jobs, applied or not',
      success: { status: 200, schema: JobImportHeadsSchema },
      handle: (request) => imports.list(callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/job-imports/:id',
      ...edits,
      summary: 'Get the progress of an import, and page through the jobs of its file',
      description:
        'Filter by `action` for conflicts, updates and so on. Only the user who began it sees it, while they may edit jobs in all categories concerned.',
      params,
      query: JobImportQuerySchema,
      success: { status: 200, schema: JobImportSchema },
      handle: (request) => imports.get(request.params.id, request.query, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/job-imports/:id/items/:position',
      ...edits,
      summary: 'Get one job of an import as it would be saved, with its findings',
      params: itemParams,
      success: { status: 200, schema: JobImportItemDetailSchema },
      handle: (request) => imports.getItem(request.params.id, request.params.position, callerOf(request)),
    }),
  ];
}

function decisionRoutes({ imports }: JobBundleRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/job-imports/:id/choices',
      ...edits,
      summary: 'Choose what to do with jobs that already exist: update, skip or copy',
      description:
        'For all of them with `existing`, and for single ones with `items`, which take precedence. The import is then planned again.',
      params,
      body: ImportChoicesRequestSchema,
      example: { existing: 'skip', items: [{ position: 3, choice: 'copy', name: 'Patch web (new)' }] },
      success: { status: 200, schema: JobImportSchema },
      handle: (request) => imports.choose(request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/job-imports/:id/apply',
      ...edits,
      summary: 'Apply an import, whole or not at all',
      description:
        'Only once, in one transaction, in the background: get the import until its status is `applied`. Refused with 409 while jobs are in conflict, or if one has changed since it was planned; the message says which. Needs the permissions that saving each job needs; new categories need `categories.edit` and `jobs.edit` everywhere.',
      params,
      body: ApplyJobImportRequestSchema,
      example: { note: 'From the test installation' },
      success: { status: 202, schema: JobImportSchema },
      handle: (request) =>
        imports.apply(request.params.id, request.body, callerOf(request), request.authorityNow),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/job-imports/:id',
      ...edits,
      summary: 'Delete an import, or stop reading its file',
      params,
      success: { status: 204 },
      handle: (request) => imports.remove(request.params.id, callerOf(request)),
    }),
  ];
}

async function* encoded(parts: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const part of parts) if (part !== '') yield encoder.encode(part);
}
