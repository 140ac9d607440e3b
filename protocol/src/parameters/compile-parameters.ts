// Checks what a run is given against what its job asks for. Values are never converted; missing ones are filled from
// defaults. Server, agent and forms use the same code.
import type { ErrorObject } from 'ajv';
import type { ErrorDetail } from '../api/errors.ts';
import type { ParameterRule, Parameters, ValueDefinition } from '../api/jobs/parameters.ts';
import { pointerPart } from '../json-values.ts';
import { limits } from '../limits.ts';
import { PatternBudget } from '../patterns/pattern.ts';
import { errorDetails } from '../validation.ts';
import { checkValue, isRequired, type ValueCheck } from './check-value.ts';
import { type JsonSchema, parametersJsonSchema, schemaOf } from './json-schema.ts';
import { ruleProblems } from './rule-problems.ts';

export interface GivenParameters {
  /** With defaults filled in. Parameters without a given or default value are missing. */
  values: Record<string, unknown>;
  /** Empty if everything is valid; otherwise `values` must not be used. Never contains the value of a secret. */
  problems: ErrorDetail[];
}

export interface CompiledParameters {
  /** All parameters as one object, in JSON Schema 2020-12. */
  schema: JsonSchema;
  /**
   * @param given The given values; not modified.
   * @param options `sealed`: names of secret parameters that were given sealed, so that their values can't be checked.
   * `root`: prefix of each path; `parameters` by default.
   */
  check(given: unknown, options?: { sealed?: readonly string[]; root?: string }): GivenParameters;
}

/**
 * Prepares parameters and rules, as accepted by `checkParameters` and `checkRules`, for checking the values of runs.
 */
export function compileParameters(
  parameters: Parameters = {},
  rules: readonly ParameterRule[] = [],
): CompiledParameters {
  const secrets = new Set(Object.keys(parameters).filter((name) => parameters[name]?.secret === true));
  return {
    schema: parametersJsonSchema(parameters),
    check(given, { sealed = [], root = 'parameters' } = {}) {
      const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
      const values = (isObject ? structuredClone(given) : {}) as Record<string, unknown>;
      const check: ValueCheck = { errors: [], patterns: new PatternBudget(), nodesLeft: maxNodes };
      if (isObject) checkGiven(check, values, parameters, new Set(sealed));
      else check.errors.push(notAnObject(given, parameters));
      const problems = errorDetails(check.errors, { root, max: 50 }).map((detail) =>
        withoutSecrets(detail, root, secrets),
      );
      if (!isObject) return { values, problems };
      if (problems.length === 0) problems.push(...sizeProblems(values, root));
      const told = new Set(check.errors.map((error) => error.instancePath.split('/')[1] ?? ''));
      const missing = check.errors.map((error) => error.params.missingProperty as string | undefined);
      const broken = new Set([...told, ...missing.filter((name) => name !== undefined)]);
      problems.push(...ruleProblems(rules, { parameters, values, sealed: new Set(sealed), broken, root }));
      return { values, problems };
    },
  };
}

/** Upper bound for the values in JSON of the size that all parameters together may have. */
const maxNodes = limits.maxParameterBytes;

function checkGiven(
  check: ValueCheck,
  values: Record<string, unknown>,
  parameters: Parameters,
  sealed: ReadonlySet<string>,
): void {
  const definition = { type: 'object' as const, properties: parameters };
  const parentSchema = schemaOf(definition);
  const fail = (keyword: string, params: Record<string, unknown>) =>
    check.errors.push({
      keyword,
      params,
      instancePath: '',
      schemaPath: `#/${keyword}`,
      data: values,
      parentSchema,
    });
  for (const [name, parameter] of Object.entries(parameters)) {
    if (sealed.has(name)) {
      if (parameter.secret !== true) tell(check, name, parameter);
      continue;
    }
    if (Object.hasOwn(values, name)) checkValue(check, values[name], parameter, `/${pointerPart(name)}`);
    else if (parameter.default !== undefined) values[name] = structuredClone(parameter.default);
    else if (isRequired(parameter)) fail('required', { missingProperty: name });
  }
  for (const name of [...Object.keys(values), ...sealed]) {
    if (!Object.hasOwn(parameters, name)) fail('additionalProperties', { additionalProperty: name });
  }
}

function tell(check: ValueCheck, name: string, parameter: ValueDefinition): void {
  check.errors.push({
    keyword: 'secret',
    message: 'Is not a secret: give its value as it is',
    instancePath: `/${name}`,
    schemaPath: '#/secret',
    params: {},
    data: undefined,
    parentSchema: schemaOf(parameter),
  });
}

function notAnObject(data: unknown, properties: Parameters): ErrorObject {
  const parentSchema = schemaOf({ type: 'object', properties });
  return {
    keyword: 'type',
    params: { type: 'object' },
    instancePath: '',
    schemaPath: '#/type',
    data,
    parentSchema,
  };
}

function withoutSecrets(detail: ErrorDetail, root: string, secrets: ReadonlySet<string>): ErrorDetail {
  const name = detail.path.slice(root.length + 1).split(/[.[]/, 1)[0] ?? '';
  if (!secrets.has(name)) return detail;
  const { found: _, ...rest } = detail;
  return rest;
}

function sizeProblems(values: Record<string, unknown>, root: string): ErrorDetail[] {
  const bytes = new TextEncoder().encode(JSON.stringify(values)).length;
  if (bytes <= limits.maxParameterBytes) return [];
  return [
    {
      path: root,
      message: `All parameters together have ${bytes} bytes as JSON; ${limits.maxParameterBytes} are allowed.`,
      found: `${bytes} bytes`,
      allowed: `at most ${limits.maxParameterBytes} bytes`,
    },
  ];
}
