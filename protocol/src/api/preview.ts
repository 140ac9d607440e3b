// What steps would come to with chosen values, before anything runs.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable } from './common.ts';
import { VersionReference } from './jobs.ts';
import { ParameterValuesSchema } from './values.ts';

export const JobPreviewRequestSchema = Closed({
  parameters: Type.Optional(ParameterValuesSchema),
  /** Shown for this target; for one that is made up unless told. */
  targetId: Type.Optional(Id),
  version: Type.Optional(VersionReference),
});
export const JobPreviewedStepSchema = Type.Object({
  stepNumber: Type.Integer(),
  name: Type.String(),
  stepType: Type.String(),
  /** Whether `when` holds; null where that is not known before the steps before it have run. */
  runs: Nullable(Type.Boolean()),
  /** The configuration as it is carried out, with secrets masked and outputs by their names. */
  config: Type.Unknown(),
  /** What stands for which placeholder. */
  values: Type.Array(
    Type.Object({ placeholder: Type.String(), value: Type.Optional(Type.String()), secret: Type.Boolean() }),
  ),
  problems: Type.Array(Type.Object({ path: Type.String(), message: Type.String() })),
});
export const JobPreviewSchema = Type.Object({
  steps: Type.Array(JobPreviewedStepSchema),
  problems: Type.Array(Type.Object({ path: Type.String(), message: Type.String() })),
});
export type JobPreview = Static<typeof JobPreviewSchema>;
