// What a job asks of whoever runs it, and what its steps hand on. Each parameter is a JSON Schema fragment with a few
// words of ours; server, agent and forms read the same one.
import { type Static, type TSchema, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { pointerPattern } from '../../steps/patterns.ts';
import { Closed } from '../common.ts';
import { Description, DisplayName } from '../text.ts';

export const parameterTypes = ['string', 'integer', 'number', 'boolean', 'array', 'object'] as const;
export type ParameterType = (typeof parameterTypes)[number];
/** Formats of strings. Each is checked by a linear-time rule of ours, never by a pattern that can hang. */
export const parameterFormats = [
  'date',
  'time',
  'date-time',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'uri',
  'uuid',
] as const;
export type ParameterFormat = (typeof parameterFormats)[number];

/** How parameters, outputs and steps are called where they are referred to. */
export const identifierPattern = '^[A-Za-z_][A-Za-z0-9_]{0,63}$';
export const Identifier = () =>
  Type.String({
    minLength: 1,
    maxLength: 64,
    pattern: identifierPattern,
    description: 'A letter or underscore, then letters, digits and underscores; 64 at most',
  });

const Bound = () => Type.Number();
const Count = (maximum: number) => Type.Integer({ minimum: 0, maximum });
/** A CEL expression (https://cel.dev) over `parameters`, `target`, `run`, `job` and `steps`. */
export const Expression = () => Type.String({ minLength: 1, maxLength: limits.maxExpressionLength });

/** What a value may be: of a parameter, of the items of an array, of a property of an object. */
const valueFields = {
  type: Type.Enum(parameterTypes),
  title: Type.Optional(DisplayName()),
  description: Type.Optional(Description(2_000)),
  /** One of these, each of the parameter's type. */
  enum: Type.Optional(
    Type.Array(Type.Unknown(), { minItems: 1, maxItems: limits.maxEnumValues, uniqueItems: true }),
  ),
  /** Of numbers. */
  minimum: Type.Optional(Bound()),
  maximum: Type.Optional(Bound()),
  exclusiveMinimum: Type.Optional(Bound()),
  exclusiveMaximum: Type.Optional(Bound()),
  multipleOf: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** Of strings, in characters. */
  minLength: Type.Optional(Count(limits.maxParameterCharacters)),
  maxLength: Type.Optional(Count(limits.maxParameterCharacters)),
  /** A regular expression in RE2 syntax that must match somewhere; anchor it with `^` and `$` to match the whole. */
  pattern: Type.Optional(Type.String({ maxLength: 2_000 })),
  format: Type.Optional(Type.Enum(parameterFormats)),
  /** Of arrays. */
  minItems: Type.Optional(Count(limits.maxParameterItems)),
  maxItems: Type.Optional(Count(limits.maxParameterItems)),
  uniqueItems: Type.Optional(Type.Boolean()),
  /** Of objects: whether properties that are not named may be there; not unless told. */
  additionalProperties: Type.Optional(Type.Boolean()),
  /** Whether it must be given: so unless it has a default, and unless told. */
  required: Type.Optional(Type.Boolean()),
  default: Type.Optional(Type.Unknown()),
};

/** Nested so deep at most: a parameter, its items or properties, and theirs. */
function valueSchema(depth: number): TSchema {
  if (depth === 0) return Closed(valueFields);
  const inner = valueSchema(depth - 1);
  return Closed({
    ...valueFields,
    items: Type.Optional(inner),
    properties: Type.Optional(propertiesOf(inner)),
  });
}

function propertiesOf(inner: TSchema): TSchema {
  return Type.Record(Identifier(), inner, {
    additionalProperties: false,
    maxProperties: limits.maxParametersPerJob,
  });
}

const inner = valueSchema(limits.maxParameterDepth - 1);
export const ParameterSchema = Closed({
  ...valueFields,
  items: Type.Optional(inner),
  properties: Type.Optional(propertiesOf(inner)),
  /** Of strings: sealed to the segments that run it, masked in output, never shown again. */
  secret: Type.Optional(Type.Boolean()),
  /** Its place in forms; those without one come after, as they are written. */
  order: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
  /** Whether a value that begins with `-` may stand where a command could take it for an option; not unless told. */
  allow_leading_dash: Type.Optional(Type.Boolean()),
});

/** A parameter, or what is inside one. `items` and `properties` nest. */
export interface ValueDefinition {
  type: ParameterType;
  title?: string;
  description?: string;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: ParameterFormat;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  additionalProperties?: boolean;
  required?: boolean;
  default?: unknown;
  items?: ValueDefinition;
  properties?: Record<string, ValueDefinition>;
}
export interface Parameter extends ValueDefinition {
  secret?: boolean;
  order?: number;
  allow_leading_dash?: boolean;
}
export type Parameters = Record<string, Parameter>;

export const ParametersSchema = Type.Unsafe<Parameters>(
  Type.Record(Identifier(), ParameterSchema, {
    additionalProperties: false,
    maxProperties: limits.maxParametersPerJob,
  }),
);

/** A rule over several parameters. One of `check` and `require`. */
export const ParameterRuleSchema = Closed({
  /** The rule holds where this is true; always unless told. */
  when: Type.Optional(Expression()),
  /** Must be true. */
  check: Type.Optional(Expression()),
  /** Parameters that must be given. */
  require: Type.Optional(
    Type.Array(Identifier(), { minItems: 1, maxItems: limits.maxParametersPerJob, uniqueItems: true }),
  ),
  /** What whoever runs the job is told where it does not hold. */
  message: Type.Optional(Description(500)),
});
export type ParameterRule = Static<typeof ParameterRuleSchema>;

/**
 * A value that a step hands on, as `${{ steps.<id>.outputs.<name> }}`: text that one of `pattern`, `json` and `file`
 * finds. Where nothing is found and there is no default, the step fails.
 */
export const StepOutputSchema = Closed({
  /** RE2; the first group that is named `value`, else the first group, else the whole match, of the last match. */
  pattern: Type.Optional(Type.String({ minLength: 1, maxLength: 2_000 })),
  /** A JSON pointer (RFC 6901) into standard output, which must then be one JSON value. */
  json: Type.Optional(Type.String({ maxLength: 1_000, pattern: pointerPattern })),
  /**
   * True: a line `name=value` that the command appends to the file that the environment variable OPSCONDUCTOR_OUTPUT
   * names.
   */
  file: Type.Optional(
    Type.Literal(true, {
      description: 'true: a line `name=value` in the file that the variable OPSCONDUCTOR_OUTPUT names',
    }),
  ),
  /** Where `pattern` looks; standard output unless told. */
  from: Type.Optional(Type.Enum(['stdout', 'stderr'])),
  /** Sealed to the segment, masked in output, never shown. */
  secret: Type.Optional(Type.Boolean()),
  default: Type.Optional(Type.String({ maxLength: limits.maxStepOutputCharacters })),
  description: Type.Optional(Description(500)),
  allow_leading_dash: Type.Optional(Type.Boolean()),
});
export type StepOutput = Static<typeof StepOutputSchema>;
export const StepOutputsSchema = Type.Record(Identifier(), StepOutputSchema, {
  additionalProperties: false,
  minProperties: 1,
  maxProperties: limits.maxOutputsPerStep,
});
