// Versions of jobs: listing and comparing them, restoring one, and their names.
import {
  Closed,
  CompareVersionsQuerySchema,
  Id,
  JobHistoryPageSchema,
  JobHistoryQuerySchema,
  JobVersionPageSchema,
  JobVersionQuerySchema,
  JobVersionSchema,
  RollBackRequestSchema,
  SaveJobReplySchema,
  SetVersionNameRequestSchema,
  VersionComparisonSchema,
  type VersionNameKind,
  VersionNameParamsSchema,
  VersionNameSchema,
  VersionParamsSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { jobHistory } from '../../../jobs/versions/job-history.ts';
import { compareVersions, getVersion, listVersions } from '../../../jobs/versions/read-versions.ts';
import { rollBack } from '../../../jobs/versions/roll-back.ts';
import { removeVersionName, setVersionName } from '../../../jobs/versions/version-names.ts';
import { type RouteSpec, route } from '../../route.ts';
import type { JobRouteDeps } from './jobs.ts';

const tag = 'jobs';
const params = Closed({ id: Id });

export function jobVersionRoutes(deps: JobRouteDeps): RouteSpec[] {
  return [
    ...readRoutes(deps),
    route({
      method: 'POST',
      path: '/api/v1/jobs/:id/rollback',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Restore an earlier version as a new one',
      description:
        'The new version has exactly the definition of the earlier one. Refused, with all problems, if that is not valid under today’s rules. Category, labels, template and state stay unchanged.',
      tag,
      params,
      body: RollBackRequestSchema,
      example: { version: 'stable', note: 'Version 9 restarts too much at once' },
      success: { status: 200, schema: SaveJobReplySchema },
      handle: (request) => rollBack(deps, request.params.id, request.body, callerOf(request)),
    }),
    ...nameRoutes(deps, 'tag', '/api/v1/jobs/:id/tags/:name', {
      set: 'Tag a version',
      description: 'A tag never moves: if it is set again, it must name the same version.',
      remove: 'Delete a tag',
    }),
    ...nameRoutes(deps, 'channel', '/api/v1/jobs/:id/channels/:name', {
      set: 'Set a channel to a version',
      description:
        'A channel moves each time it is set; runs keep the version that it named when they started.',
      remove: 'Delete a channel',
    }),
  ];
}

function readRoutes(deps: JobRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id/versions',
      permission: 'read',
      scoped: true,
      summary: 'List the versions of a job, newest first',
      tag,
      params,
      query: JobVersionQuerySchema,
      success: { status: 200, schema: JobVersionPageSchema },
      handle: ({ params, query, principal }) =>
        listVersions(deps.sql, params.id, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id/versions/:version',
      permission: 'read',
      scoped: true,
      summary: 'Get a version with its definition, by number, tag or channel',
      tag,
      params: VersionParamsSchema,
      success: { status: 200, schema: JobVersionSchema },
      handle: ({ params, principal }) =>
        getVersion(deps, params.id, params.version, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id/compare',
      permission: 'read',
      scoped: true,
      summary: 'Compare two versions, field by field',
      description:
        'Each change has its path, its kind and the values before and after; multi-line texts also have the lines that differ. Steps are matched by id or name, whatever their position.',
      tag,
      params,
      query: CompareVersionsQuerySchema,
      success: { status: 200, schema: VersionComparisonSchema },
      handle: ({ params, query, principal }) =>
        compareVersions(deps, params.id, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/jobs/:id/history',
      permission: 'read',
      scoped: true,
      summary: 'List everything that was done to a job, newest first',
      description:
        'Versions are listed as long as the job exists; moves, states, labels, tags and channels as long as their audit rows are kept.',
      tag,
      params,
      query: JobHistoryQuerySchema,
      success: { status: 200, schema: JobHistoryPageSchema },
      handle: ({ params, query, principal }) =>
        jobHistory(deps.sql, params.id, query, principal.authority.reach('read')),
    }),
  ];
}

function nameRoutes(
  { sql }: JobRouteDeps,
  kind: VersionNameKind,
  path: string,
  words: { set: string; description: string; remove: string },
): RouteSpec[] {
  return [
    route({
      method: 'PUT',
      path,
      permission: 'jobs.edit',
      scoped: true,
      summary: words.set,
      description: words.description,
      tag,
      params: VersionNameParamsSchema,
      body: SetVersionNameRequestSchema,
      example: { version: 3 },
      success: { status: 200, schema: VersionNameSchema },
      handle: (request) => {
        const { id, name } = request.params;
        return setVersionName(sql, id, { name, kind, version: request.body.version }, callerOf(request));
      },
    }),
    route({
      method: 'DELETE',
      path,
      permission: 'jobs.edit',
      scoped: true,
      summary: words.remove,
      tag,
      params: VersionNameParamsSchema,
      success: { status: 204 },
      handle: (request) => {
        const { id, name } = request.params;
        return removeVersionName(sql, id, { name, kind }, callerOf(request));
      },
    }),
  ];
}
