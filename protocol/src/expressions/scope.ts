// What an expression can refer to, as CEL types, and the values for it.
import type { Environment } from '@marcbachmann/cel-js';
import type { Parameters, ValueDefinition } from '../api/jobs/parameters.ts';
import type { SiteRuleSubject } from '../api/jobs/site-rules.ts';
import { allowsOthers, isRequired } from '../parameters/check-value.ts';
import { definitionMembers } from './definition-scope.ts';

/** The properties of a step's output that matter to expressions. */
export interface ScopedOutput {
  secret?: boolean;
  /** Its step may not have run, or may not have found it. */
  mayBeAbsent?: boolean;
}

export interface ExpressionScope {
  parameters: Parameters;
  /**
   * Set if the expression is evaluated for a target: then `target`, `run`, `job` and `steps` exist too. `steps` holds
   * the steps before the one with the expression, by the name used to refer to them.
   */
  onTarget?: { steps: Readonly<Record<string, { outputs: Readonly<Record<string, ScopedOutput>> }>> };
  /** Set instead of all these for site rules: the definition itself, and for rules per step also the step. */
  definition?: SiteRuleSubject;
}

/**
 * Values by the names in the scope: `parameters`, `target`, `run`, `job`, `steps`. JSON; absent values are left out.
 */
export type ExpressionValues = Record<string, unknown>;

/** Something that can be named, described for messages and for checking what may be absent. */
export interface Member {
  /** In words, such as `text` or `an integer`. */
  type: string;
  secret?: boolean;
  mayBeAbsent?: boolean;
  /** `undefined` if any name may follow; empty if none may. */
  members?: Record<string, Member> | undefined;
}

const text = { type: 'text', members: {} };
const whole = { type: 'an integer', members: {} };
const targetMembers: Record<string, Member> = {
  name: text,
  host: text,
  port: whole,
  os: text,
  segment: text,
  labels: { type: 'a map of texts' },
};
const runMembers: Record<string, Member> = { id: whole, created_at: text, created_by: text };
const jobMembers: Record<string, Member> = { id: whole, name: text, version: whole };

/** Returns everything that can be named in the scope, as a tree. */
export function membersOf(scope: ExpressionScope): Record<string, Member> {
  if (scope.definition !== undefined) return definitionMembers(scope.definition);
  const object = (members: Record<string, Member>): Member => ({ type: 'an object', members });
  const parameters = object(mapValues(scope.parameters, memberOf));
  if (scope.onTarget === undefined) return { parameters };
  const steps = mapValues(scope.onTarget.steps, ({ outputs }) =>
    object({ outputs: object(mapValues(outputs, (output) => ({ ...text, ...output }))) }),
  );
  return {
    parameters,
    target: object(targetMembers),
    run: object(runMembers),
    job: object(jobMembers),
    steps: object(steps),
  };
}

const typeWords = {
  string: 'text',
  integer: 'an integer',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
} as const;

function memberOf(definition: ValueDefinition & { secret?: boolean }): Member {
  const { type, properties, secret } = definition;
  return {
    type: typeWords[type],
    ...(secret === true ? { secret } : {}),
    ...(isRequired(definition) || definition.default !== undefined ? {} : { mayBeAbsent: true }),
    members:
      type === 'object' ? (allowsOthers(definition) ? undefined : mapValues(properties ?? {}, memberOf)) : {},
  };
}

/**
 * Reduces a scope to what a text could name, because declaring a hundred parameters for each of a hundred expressions
 * takes long.
 */
export function namedScope(scope: ExpressionScope, text: string): ExpressionScope {
  const words: ReadonlySet<string> = new Set(text.match(/\w+/g) ?? []);
  const named = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(record).filter(([name]) => words.has(name)));
  const { parameters, onTarget } = scope;
  return {
    ...scope,
    parameters: named(parameters),
    ...(onTarget === undefined
      ? {}
      : {
          onTarget: {
            steps: mapValues(named(onTarget.steps), ({ outputs }) => ({ outputs: named(outputs) })),
          },
        }),
  };
}

/** Declares what is in the scope. Secrets are not declared, so expressions can't refer to them. */
export function declare(environment: Environment, scope: ExpressionScope): Environment {
  if (scope.definition !== undefined) {
    environment.registerVariable('job', 'dyn').registerVariable('note', 'string');
    return scope.definition === 'step' ? environment.registerVariable('step', 'dyn') : environment;
  }
  environment.registerVariable({ name: 'parameters', schema: schemaOf(scope.parameters) });
  if (scope.onTarget === undefined) return environment;
  const steps = mapValues(scope.onTarget.steps, ({ outputs }) => {
    const named = Object.entries(outputs).filter(([, output]) => output.secret !== true);
    return { outputs: Object.fromEntries(named.map(([name]) => [name, 'string'])) };
  });
  return environment
    .registerVariable({
      name: 'target',
      schema: {
        name: 'string',
        host: 'string',
        port: 'int',
        os: 'string',
        segment: 'string',
        labels: 'map<string, string>',
      },
    })
    .registerVariable({ name: 'run', schema: { id: 'int', created_at: 'string', created_by: 'string' } })
    .registerVariable({ name: 'job', schema: { id: 'int', name: 'string', version: 'int' } })
    .registerVariable({ name: 'steps', schema: steps });
}

type Schema = { [name: string]: string | Schema };

function schemaOf(properties: Parameters): Schema {
  const known = Object.entries(properties).filter(([, property]) => property.secret !== true);
  return Object.fromEntries(known.map(([name, property]) => [name, celType(property)]));
}

function celType(definition: ValueDefinition): string | Schema {
  if (definition.type !== 'object') return listedType(definition);
  if (allowsOthers(definition)) return 'map<string, dyn>';
  return schemaOf(definition.properties ?? {});
}

function listedType({ type, items }: ValueDefinition): string {
  const types = {
    string: 'string',
    integer: 'int',
    number: 'double',
    boolean: 'bool',
    object: 'dyn',
  } as const;
  if (type !== 'array') return types[type];
  return `list<${items === undefined ? 'dyn' : listedType(items)}>`;
}

/** Values that were already converted for CEL, to be used by several expressions. */
export class PreparedValues {
  readonly values: Record<string, unknown>;
  constructor(values: Record<string, unknown>) {
    this.values = values;
  }
}

/** Converts a part of values that are being prepared. */
export function celPart(value: unknown): unknown {
  return celValue(value, undefined);
}

/** Converts JSON values for CEL: integers become 64-bit ones wherever an integer or nothing is declared. */
export function celValues(
  scope: ExpressionScope,
  values: ExpressionValues | PreparedValues,
): Record<string, unknown> {
  if (values instanceof PreparedValues) return values.values;
  const { parameters, ...others } = values;
  return {
    ...(mapValues(others, (value) => celValue(value, undefined)) as Record<string, unknown>),
    parameters: objectValue(Object(parameters) as Record<string, unknown>, scope.parameters),
  };
}

function celValue(value: unknown, definition: ValueDefinition | undefined): unknown {
  if (typeof value === 'number') {
    return definition?.type === 'number' || !Number.isInteger(value) ? value : BigInt(value);
  }
  if (Array.isArray(value)) return value.map((item) => celValue(item, definition?.items));
  if (typeof value !== 'object' || value === null) return value;
  return objectValue(value as Record<string, unknown>, definition?.properties ?? {});
}

function objectValue(value: Record<string, unknown>, properties: Parameters): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !(Object.hasOwn(properties, name) && properties[name]?.secret === true))
      .map(([name, inner]) => [
        name,
        celValue(inner, Object.hasOwn(properties, name) ? properties[name] : undefined),
      ]),
  );
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
