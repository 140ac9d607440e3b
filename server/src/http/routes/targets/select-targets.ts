// Routes that concern many targets at once, and the settings that a target inherits.
import {
  BulkTargetReplySchema,
  BulkTargetRequestSchema,
  Closed,
  EffectiveSettingsQuerySchema,
  EffectiveSettingsSchema,
  Id,
  LabelsInUseSchema,
  SelectTargetsReplySchema,
  SelectTargetsRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { labelsInUse } from '../../../store/people/place-names.ts';
import { bulkChangeTargets } from '../../../targets/bulk-targets.ts';
import { effectiveSettings } from '../../../targets/effective-settings.ts';
import { previewSelection } from '../../../targets/selection/preview-selection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'targets';

export function selectTargetsRoutes(deps: { sql: Sql; masterKey: MasterKey }): RouteSpec[] {
  const { sql } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/v1/targets/labels',
      permission: 'read',
      scoped: true,
      summary: 'List the labels in use, with the most used values of each',
      description: 'The first 500 names with up to 50 values each, of targets that the caller may see.',
      tag,
      success: { status: 200, schema: LabelsInUseSchema },
      handle: async ({ principal }) => ({
        items: await labelsInUse(sql, { names: 500, values: 50 }, principal.authority.reach('read')),
      }),
    }),
    route({
      method: 'POST',
      path: '/api/v1/targets/select',
      permission: 'read',
      scoped: true,
      summary: 'Preview a selection: which targets it names, and which of them can’t be run on',
      description:
        'Changes nothing. Resolved as starting a run would resolve it now; with `jobId`, as a run of that job. A segment’s `signing` names its agents that run only what is signed, even to callers who see its targets only through a target group: a run may have to be signed for one of them. `waitsForAgent` means that a segment has agents but none that could take a step now: a run there waits for one, at most for the job’s `start_within`.',
      tag,
      body: SelectTargetsRequestSchema,
      success: { status: 200, schema: SelectTargetsReplySchema },
      handle: ({ body, principal }) => previewSelection(sql, body, principal.authority),
    }),
    route({
      method: 'POST',
      path: '/api/v1/targets/bulk',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Change all selected targets, or none',
      description:
        'Includes inactive targets. With `dryRun`, only counts what would change. Adding targets to groups or removing them also needs `target_groups.edit`.',
      tag,
      body: BulkTargetRequestSchema,
      success: { status: 200, schema: BulkTargetReplySchema },
      handle: (request) => bulkChangeTargets(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/targets/:id/effective-settings',
      permission: 'read',
      scoped: true,
      summary: 'Get the connection settings that apply to a target, and where each comes from',
      description:
        'The most specific wins: step, job, target, group (by priority, then name), segment, built-in default.',
      tag,
      params: Closed({ id: Id }),
      query: EffectiveSettingsQuerySchema,
      success: { status: 200, schema: EffectiveSettingsSchema },
      handle: ({ params, query, principal }) =>
        effectiveSettings(deps, params.id, query, principal.authority),
    }),
  ];
}
