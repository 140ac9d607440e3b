// Requests for what has to be signed before a run is started.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { VersionReference } from '../jobs/jobs.ts';
import { ParameterValuesSchema, SecretParametersSchema } from '../jobs/values.ts';
import { Closed, Id } from '../schema-parts.ts';
import { selectionFields } from '../targets/selection.ts';

/** The parts of a start request that are signed. Priority, strategy, timeouts and reason are not. */
export const GrantDraftRequestSchema = Closed({
  ...selectionFields,
  version: Type.Optional(VersionReference),
  parameters: Type.Optional(ParameterValuesSchema),
  secretParameters: Type.Optional(SecretParametersSchema),
  /** The only agents that may run it: at least one of each segment that requires this. */
  agentIds: Type.Optional(Type.Array(Id, { maxItems: limits.maxSignedTargets, uniqueItems: true })),
});
export type GrantDraftRequest = Static<typeof GrantDraftRequestSchema>;
export { type GrantDraft, GrantDraftSchema } from '../../grants/run-grant.ts';
