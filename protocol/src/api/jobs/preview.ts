// What steps would come to with chosen values, before anything runs.
import { type Static, Type } from 'typebox';

import { Closed, ErrorDetailSchema, Id, Nullable } from '../common.ts';
import { JobDefinitionSchema, VersionReference } from './jobs.ts';
import { ParameterValuesSchema } from './values.ts';

const asked = {
  /** Secret ones need no value: they are masked. */
  parameters: Type.Optional(ParameterValuesSchema),
  /** Shown for this target; for one that is made up unless told. */
  targetId: Type.Optional(Id),
};
export const JobPreviewRequestSchema = Closed({ ...asked, version: Type.Optional(VersionReference) });
/** Of a definition that is not saved. */
export const DraftPreviewRequestSchema = Closed({
  definition: JobDefinitionSchema,
  /** The job that it is a change of. */
  jobId: Type.Optional(Id),
  ...asked,
});
export const JobPreviewedStepSchema = Type.Object({
  stepNumber: Type.Integer(),
  name: Type.String(),
  stepType: Type.String(),
  /** Its condition. */
  when: Nullable(Type.String()),
  /** Whether it runs by that; null where that is not known before the steps before it have run. */
  runs: Nullable(Type.Boolean()),
  /** The configuration as it is carried out: secrets masked, outputs of earlier steps by their placeholders. */
  config: Type.Unknown(),
  /** What stands for which placeholder; without a value where that is not known yet. */
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
  /** Null for one that is made up. */
  target: Nullable(Type.Object({ id: Id, name: Type.String() })),
  /** Empty where the definition is not right enough to be shown. */
  steps: Type.Array(JobPreviewedStepSchema),
  /** Of the definition, and of the values given: a run with them would be refused so. */
  problems: Type.Array(ErrorDetailSchema),
});
export type JobPreview = Static<typeof JobPreviewSchema>;
