// What steps would look like with chosen values, before anything runs.
import { type Static, Type } from 'typebox';

import { ErrorDetailSchema } from '../errors.ts';
import { Closed, Id, Nullable } from '../schema-parts.ts';
import { JobDefinitionSchema, VersionReference } from './jobs.ts';
import { ParameterValuesSchema } from './values.ts';

const asked = {
  /** Secret parameters need no value: they are masked. */
  parameters: Type.Optional(ParameterValuesSchema),
  /** The target to preview for; by default a made-up one. */
  targetId: Type.Optional(Id),
};
export const JobPreviewRequestSchema = Closed({ ...asked, version: Type.Optional(VersionReference) });
/** For a definition that has not been saved. */
export const DraftPreviewRequestSchema = Closed({
  definition: JobDefinitionSchema,
  /** The job that it would change. */
  jobId: Type.Optional(Id),
  ...asked,
});
export const JobPreviewedStepSchema = Type.Object({
  stepNumber: Type.Integer(),
  name: Type.String(),
  stepType: Type.String(),
  /** Its condition. */
  when: Nullable(Type.String()),
  /** Whether its condition lets it run; `null` if that depends on steps that have not run. */
  runs: Nullable(Type.Boolean()),
  /**
   * The configuration as it would be executed: secrets masked, outputs of earlier steps shown as their placeholders.
   */
  config: Type.Unknown(),
  /** The value of each placeholder; missing if it is not known yet. */
  values: Type.Array(
    Type.Object({
      placeholder: Type.String(),
      value: Type.Optional(Type.String({ description: 'Left out for a secret' })),
      secret: Type.Boolean(),
    }),
  ),
  problems: Type.Array(ErrorDetailSchema),
});
export type JobPreviewedStep = Static<typeof JobPreviewedStepSchema>;
export const JobPreviewSchema = Type.Object({
  /** `null` for a made-up target. */
  target: Nullable(Type.Object({ id: Id, name: Type.String() })),
  /** Empty if the definition has too many errors to be shown. */
  steps: Type.Array(JobPreviewedStepSchema),
  /**
   * Problems of the definition and of the given values. A run with these values would be refused for the same reasons.
   */
  problems: Type.Array(ErrorDetailSchema),
});
export type JobPreview = Static<typeof JobPreviewSchema>;
