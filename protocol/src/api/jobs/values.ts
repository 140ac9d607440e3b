// Values of a run: as they are given, as they are shown, and secret ones as they are carried, sealed to a segment.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { SealedEnvelopeSchema } from '../agents/sealed-envelope.ts';
import { SealingKeySchema } from '../agents/segments.ts';
import { Closed, Id } from '../common.ts';
import { Identifier } from './parameters.ts';

/** One secret value, sealed to one segment. */
export const SealedParameterSchema = Closed({
  segmentId: Id,
  sealed: SealedEnvelopeSchema,
});
export type SealedParameter = Static<typeof SealedParameterSchema>;

/** Secret values that the client has sealed, each to every segment that the run has targets in. */
export const SecretParametersSchema = Closed({
  /** Chosen by the client for this run; it is sealed with each value. */
  id: Type.String({ format: 'uuid' }),
  values: Type.Record(Identifier(), Type.Array(SealedParameterSchema, { minItems: 1, maxItems: 1_000 }), {
    additionalProperties: false,
  }),
});
export type SecretParameters = Static<typeof SecretParametersSchema>;

/** What a run's secret parameters are sealed to: the segments that a selection comes to. */
export const RunSealingKeysSchema = Type.Object({
  installationId: Type.String(),
  jobId: Id,
  segments: Type.Array(Type.Object({ ...SealingKeySchema.properties, segmentName: Type.String() })),
});
export type RunSealingKeys = Static<typeof RunSealingKeysSchema>;

/** Parameters of a run as they are shown. */
export const RunParameterSchema = Type.Object({
  name: Type.String(),
  /** Left out for a secret. */
  value: Type.Optional(Type.Unknown()),
  secret: Type.Boolean(),
  /** Whether it is the default of the job's version. */
  isDefault: Type.Boolean(),
});
export type RunParameter = Static<typeof RunParameterSchema>;

/** What a step has handed on. */
export const StepHandedOnSchema = Type.Object({
  name: Type.String(),
  /** Left out for a secret. */
  value: Type.Optional(Type.String()),
  secret: Type.Boolean(),
});

export const ParameterValuesSchema = Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), {
  maxProperties: limits.maxParametersPerJob,
  description: 'By name. A number is no text and a text no number: nothing is converted.',
});
