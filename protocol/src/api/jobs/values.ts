// Parameter values of a run: as they are given, as they are shown, and secrets as they are carried, sealed to a
// segment.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { SealedEnvelopeSchema } from '../agents/sealed-envelope.ts';
import { SealingKeySchema } from '../agents/segments.ts';
import { Closed, Id } from '../schema-parts.ts';
import { Identifier } from './parameters.ts';

/** One secret value, sealed to one segment. */
export const SealedParameterSchema = Closed({
  segmentId: Id,
  sealed: SealedEnvelopeSchema,
});

/** Secret values sealed by the client, each to every segment in which the run has targets. */
export const SecretParametersSchema = Closed({
  /** Chosen by the client for this run, and sealed together with each value. */
  id: Type.String({ format: 'uuid' }),
  values: Type.Record(Identifier(), Type.Array(SealedParameterSchema, { minItems: 1, maxItems: 1_000 }), {
    additionalProperties: false,
  }),
});
export type SecretParameters = Static<typeof SecretParametersSchema>;

/** The keys to seal a run's secret parameters to: those of the segments that its selection resolves to. */
export const RunSealingKeysSchema = Type.Object({
  installationId: Type.String(),
  jobId: Id,
  segments: Type.Array(Type.Object({ ...SealingKeySchema.properties, segmentName: Type.String() })),
});
export type RunSealingKeys = Static<typeof RunSealingKeysSchema>;

/** A run's parameter as it is shown. */
export const RunParameterSchema = Type.Object({
  name: Type.String(),
  /** Missing for a secret. */
  value: Type.Optional(Type.Unknown()),
  secret: Type.Boolean(),
  /** Whether the value is the default from the job's version. */
  isDefault: Type.Boolean(),
});
export type RunParameter = Static<typeof RunParameterSchema>;

/** A value that a step has handed on. */
export const StepHandedOnSchema = Type.Object({
  name: Type.String(),
  /** Missing for a secret. */
  value: Type.Optional(Type.String()),
  secret: Type.Boolean(),
});

export const ParameterValuesSchema = Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), {
  maxProperties: limits.maxParametersPerJob,
  description: 'By name. Values are never converted: `"1"` is not a number, and `1` is not a string.',
});
