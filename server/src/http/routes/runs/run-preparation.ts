// What is asked before a run starts: a preview of its steps, the keys for its secret values, and what is to be signed.
import {
  Closed,
  DraftPreviewRequestSchema,
  exampleJobs,
  GrantDraftRequestSchema,
  GrantDraftSchema,
  Id,
  JobPreviewRequestSchema,
  JobPreviewSchema,
  RunSealingKeysRequestSchema,
  RunSealingKeysSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { checkEnvelope } from '../../../jobs/checks/check-envelope.ts';
import { previewDraft, previewJob } from '../../../jobs/preview-job.ts';
import { prepareGrant } from '../../../runs/grants/prepare-grant.ts';
import { runSealingKeys } from '../../../runs/values/sealing-keys.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';
import { placesInDefinition } from '../jobs/definition-places.ts';

const tag = 'jobs';
const params = Closed({ id: Id });

export function runPreparationRoutes(deps: {
  sql: Sql;
  masterKey: MasterKey;
  identity: { installationId: string };
}): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/jobs/preview',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Preview the steps of a definition that is not saved',
      description:
        'As for a saved job. If the definition is invalid, `problems` has the messages that a save would give, and no steps are shown.',
      tag,
      body: DraftPreviewRequestSchema,
      example: { definition: exampleJobs[0], parameters: { service: 'nginx' } },
      checksBody: true,
      takesYaml: true,
      success: { status: 200, schema: JobPreviewSchema },
      handle: async (request) => {
        const asked = checkEnvelope(DraftPreviewRequestSchema, request.body);
        const preview = await previewDraft(deps, asked, callerOf(request));
        return { ...preview, problems: placesInDefinition(request, preview.problems) };
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs/:id/preview',
      permission: 'read',
      scoped: true,
      summary: 'Preview the steps of a job on a target',
      description:
        'Rendered as agents render them, but shown for people to read: with the values in the text, secrets masked, and placeholders for the outputs of earlier steps. Values that a run would refuse are in `problems`. Nothing runs and nothing is kept; the run’s number is invented, and so is the target unless one is named.',
      tag,
      params,
      body: JobPreviewRequestSchema,
      example: { parameters: { service: 'nginx' }, targetId: 12 },
      success: { status: 200, schema: JobPreviewSchema },
      handle: (request) => previewJob(deps, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs/:id/sealing-keys',
      permission: 'run',
      scoped: true,
      summary: 'Get the keys that secret parameters of a run are sealed to',
      description:
        'One for each segment with targets in the selection; permissions and refusals are those of a start. Verify each key against the segment’s root before use, seal each value to each key, and start the run with `secretParameters`.',
      tag,
      params,
      body: RunSealingKeysRequestSchema,
      example: { selector: 'env=prod' },
      success: { status: 200, schema: RunSealingKeysSchema },
      handle: (request) => {
        const { version, ...selection } = request.body;
        return runSealingKeys(deps, { jobId: request.params.id, selection, version }, callerOf(request));
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/jobs/:id/grant-draft',
      permission: 'run',
      scoped: true,
      summary: 'Get what must be signed for a run',
      description:
        'For segments whose agents run only what is signed; permissions and refusals are those of a start. It states exactly what the run’s steps will be given, on the targets as they are reached now. `node scripts/opsconductor.mjs grant sign` shows it, signs it and makes the grant that the run is started with: with the same targets, version and values.',
      tag,
      params,
      body: GrantDraftRequestSchema,
      example: { targetIds: [3], parameters: { service: 'nginx' } },
      success: { status: 200, schema: GrantDraftSchema },
      handle: (request) => {
        const { version, parameters, secretParameters, agentIds, ...selection } = request.body;
        const asked = {
          jobId: request.params.id,
          selection,
          version,
          parameters,
          secretParameters,
          agentIds,
        };
        return prepareGrant(deps, asked, callerOf(request));
      },
    }),
  ];
}
