// What a job asks of the person who runs it, and what its steps hand on. Each parameter is a JSON Schema fragment with
// a few keywords of our own; server, agent and forms all read the same one.
import { type Static, type TSchema, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { pointerPattern } from '../../steps/patterns.ts';
import { Closed } from '../schema-parts.ts';
import { Description, DisplayName } from '../text.ts';

export const parameterTypes = ['string', 'integer', 'number', 'boolean', 'array', 'object'] as const;
export type ParameterType = (typeof parameterTypes)[number];
/** Formats of strings. Each is checked by our own linear-time code, never by a pattern that could hang. */
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

/** How parameters, outputs and steps are named wherever something refers to them. */
export const identifierPattern = '^[A-Za-z_][A-Za-z0-9_]{0,63}$';
export const Identifier = () =>
  Type.String({
    minLength: 1,
    maxLength: 64,
    pattern: identifierPattern,
    description: 'A letter or underscore, then letters, digits and underscores; at most 64',
  });

const Bound = () => Type.Number();
const Count = (maximum: number) => Type.Integer({ minimum: 0, maximum });
/** A CEL expression (https://cel.dev) over `parameters`, `target`, `run`, `job` and `steps`. */
export const Expression = () => Type.String({ minLength: 1, maxLength: limits.maxExpressionLength });

/** Constraints on a value: a parameter, the items of an array, or a property of an object. */
const valueFields = {
  type: Type.Enum(parameterTypes),
  title: Type.Optional(DisplayName()),
  description: Type.Optional(Description(2_000)),
  /** Allowed values, each of the parameter's type. */
  enum: Type.Optional(
    Type.Array(Type.Unknown(), { minItems: 1, maxItems: limits.maxEnumValues, uniqueItems: true }),
  ),
  /** For numbers. */
  minimum: Type.Optional(Bound()),
  maximum: Type.Optional(Bound()),
  exclusiveMinimum: Type.Optional(Bound()),
  exclusiveMaximum: Type.Optional(Bound()),
  multipleOf: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** For strings, in characters. */
  minLength: Type.Optional(Count(limits.maxParameterCharacters)),
  maxLength: Type.Optional(Count(limits.maxParameterCharacters)),
  /** A regular expression in RE2 syntax that must match somewhere; anchor it with `^` and `$` to match the whole. */
  pattern: Type.Optional(Type.String({ maxLength: 2_000 })),
  format: Type.Optional(Type.Enum(parameterFormats)),
  /** For arrays. */
  minItems: Type.Optional(Count(limits.maxParameterItems)),
  maxItems: Type.Optional(Count(limits.maxParameterItems)),
  uniqueItems: Type.Optional(Type.Boolean()),
  /** For objects: whether properties other than those defined are allowed; by default not. */
  additionalProperties: Type.Optional(Type.Boolean()),
  /** Whether a value must be given; by default it must, unless there is a default value. */
  required: Type.Optional(Type.Boolean()),
  default: Type.Optional(Type.Unknown()),
};

/** Builds the schema for `depth` more levels of nesting below this one. */
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
  /** For strings: sealed to the segments where the run takes place, masked in output, never shown again. */
  secret: Type.Optional(Type.Boolean()),
  /** Position in forms; parameters without one follow in the order in which they are written. */
  order: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
  /** Whether a value that begins with `-` is allowed where a command could take it for an option; by default not. */
  allow_leading_dash: Type.Optional(Type.Boolean()),
});

/** A parameter, or a value inside one. `items` and `properties` nest. */
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

/** A rule over several parameters. Exactly one of `check` and `require` must be given. */
export const ParameterRuleSchema = Closed({
  /** Condition under which the rule applies; by default always. */
  when: Type.Optional(Expression()),
  /** Must be true. */
  check: Type.Optional(Expression()),
  /** Parameters that must be given. */
  require: Type.Optional(
    Type.Array(Identifier(), { minItems: 1, maxItems: limits.maxParametersPerJob, uniqueItems: true }),
  ),
  /** Message for the person who runs the job, if the rule is broken. */
  message: Type.Optional(Description(500)),
});
export type ParameterRule = Static<typeof ParameterRuleSchema>;

/**
 * A value that a step hands on as `${{ steps.<id>.outputs.<name> }}`: a text found by one of `pattern`, `json` and
 * `file`. If nothing is found and there is no default, the step fails.
 */
export const StepOutputSchema = Closed({
  /** RE2. Of the last match, the group named `value`; else the first group; else the whole match. */
  pattern: Type.Optional(Type.String({ minLength: 1, maxLength: 2_000 })),
  /** A JSON pointer (RFC 6901) into standard output, which must then be a single JSON value. */
  json: Type.Optional(Type.String({ maxLength: 1_000, pattern: pointerPattern })),
  /**
   * If `true`, a line `name=value` that the command appends to the file named by the environment variable
   * OPSCONDUCTOR_OUTPUT.
   */
  file: Type.Optional(
    Type.Literal(true, {
      description: 'true: a line `name=value` in the file that the variable OPSCONDUCTOR_OUTPUT names',
    }),
  ),
  /** Where `pattern` looks; by default standard output. */
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
