// What is to be signed of a run, asked for before it is started.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed, Id } from '../common.ts';
import { VersionReference } from '../jobs/jobs.ts';
import { ParameterValuesSchema, SecretParametersSchema } from '../jobs/values.ts';
import { selectionFields } from '../targets/selection.ts';

/** What of a run's start is signed. Its order, its limits of time and its reason are not. */
export const GrantDraftRequestSchema = Closed({
  ...selectionFields,
  version: Type.Optional(VersionReference),
  parameters: Type.Optional(ParameterValuesSchema),
  secretParameters: Type.Optional(SecretParametersSchema),
  /** The only agents that may run it: one of each segment that asks for that, or more. */
  agentIds: Type.Optional(Type.Array(Id, { maxItems: limits.maxSignedTargets, uniqueItems: true })),
});
export type GrantDraftRequest = Static<typeof GrantDraftRequestSchema>;
export { type GrantDraft, GrantDraftSchema } from '../../grants/run-grant.ts';
