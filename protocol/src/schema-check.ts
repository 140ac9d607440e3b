// Checks a value against its JSON Schema without generating code, because the browser's content security policy forbids
// that. Supports the keywords that our schemas use, and reports the same errors as ajv with `allErrors`, for
// `errorDetails`.
import type { ErrorObject } from 'ajv';
import type { ErrorDetail } from './api/errors.ts';
import { firstRepeated, isEqualJson, pointerPart } from './json-values.ts';
import { type ErrorDetailsOptions, errorDetails, validatorOptions } from './validation.ts';

type Schema = Record<string, unknown>;

export interface SchemaCheckOptions extends ErrorDetailsOptions {
  /**
   * Matches a pattern against a text; by default with the platform's own `RegExp`. Both throwing and `false` mean no
   * match.
   */
  matches?: (pattern: string, text: string) => boolean;
  /** Formats in addition to `uuid`. */
  formats?: Readonly<Record<string, (text: string) => boolean>>;
}

/** Returns a detail for each place where the value is wrong; empty if it is valid. Doesn't change the value. */
export function checkBySchema(
  schema: unknown,
  value: unknown,
  options: SchemaCheckOptions = {},
): ErrorDetail[] {
  return errorDetails(schemaErrors(schema, value, options), options);
}

/** Returns the errors as ajv reports them, in the order of the document. */
export function schemaErrors(
  schema: unknown,
  value: unknown,
  options: SchemaCheckOptions = {},
): ErrorObject[] {
  const check = new SchemaCheck(schema as Schema, options);
  check.at(schema as Schema, value, '#', '');
  return check.errors;
}

const patterns = new Map<string, RegExp>();
function platformMatches(pattern: string, text: string): boolean {
  let expression = patterns.get(pattern);
  if (expression === undefined) {
    expression = new RegExp(pattern, 'u');
    patterns.set(pattern, expression);
  }
  return expression.test(text);
}

class SchemaCheck {
  readonly errors: ErrorObject[] = [];
  readonly #root: Schema;
  readonly #matches: (pattern: string, text: string) => boolean;
  readonly #formats: Readonly<Record<string, (text: string) => boolean>>;

  constructor(root: Schema, options: SchemaCheckOptions) {
    this.#root = root;
    this.#matches = options.matches ?? platformMatches;
    this.#formats = { uuid: (text) => validatorOptions.formats.uuid.test(text), ...options.formats };
  }

  at(schema: Schema, data: unknown, schemaPath: string, instancePath: string): void {
    const tell = (keyword: string, params: Schema) =>
      this.errors.push({
        keyword,
        params,
        data,
        instancePath,
        parentSchema: schema,
        schema: schema[keyword],
        schemaPath: `${schemaPath}/${keyword}`,
        message: keyword,
      });
    if (typeof schema.$ref === 'string') {
      this.at(this.#resolve(schema.$ref), data, `${schemaPath}/$ref`, instancePath);
    }
    if (schema.type !== undefined && !isOfType(data, schema.type)) tell('type', { type: schema.type });
    if (Array.isArray(schema.enum) && !schema.enum.some((one) => isEqualJson(one, data)))
      tell('enum', { allowedValues: schema.enum });
    if ('const' in schema && !isEqualJson(schema.const, data)) tell('const', { allowedValue: schema.const });
    // As in ajv: keywords for the value's actual type apply even if its type is wrong, for example 1.5 for an integer.
    if (typeof data === 'number') numberErrors(schema, data, tell);
    else if (typeof data === 'string') this.#stringErrors(schema, data, tell);
    else if (Array.isArray(data)) this.#arrayErrors(schema, data, schemaPath, instancePath, tell);
    else if (typeof data === 'object' && data !== null)
      this.#objectErrors(schema, data as Schema, schemaPath, instancePath, tell);
    this.#branchErrors(schema, data, schemaPath, instancePath, tell);
  }

  #stringErrors(schema: Schema, data: string, tell: Tell) {
    const length = [...data].length;
    if (typeof schema.minLength === 'number' && length < schema.minLength)
      tell('minLength', { limit: schema.minLength });
    if (typeof schema.maxLength === 'number' && length > schema.maxLength)
      tell('maxLength', { limit: schema.maxLength });
    if (typeof schema.pattern === 'string' && !this.#matches(schema.pattern, data))
      tell('pattern', { pattern: schema.pattern });
    if (typeof schema.format === 'string' && this.#formats[schema.format]?.(data) === false)
      tell('format', { format: schema.format });
  }

  #arrayErrors(schema: Schema, data: unknown[], schemaPath: string, instancePath: string, tell: Tell) {
    if (typeof schema.minItems === 'number' && data.length < schema.minItems)
      tell('minItems', { limit: schema.minItems });
    if (typeof schema.maxItems === 'number' && data.length > schema.maxItems)
      tell('maxItems', { limit: schema.maxItems });
    if (isSchema(schema.items)) {
      for (const [at, item] of data.entries())
        this.at(schema.items, item, `${schemaPath}/items`, `${instancePath}/${at}`);
    }
    if (schema.uniqueItems === true) {
      const repeated = firstRepeated(data);
      if (repeated !== undefined) tell('uniqueItems', repeated);
    }
  }

  #objectErrors(schema: Schema, data: Schema, schemaPath: string, instancePath: string, tell: Tell) {
    const names = Object.keys(data);
    if (typeof schema.minProperties === 'number' && names.length < schema.minProperties)
      tell('minProperties', { limit: schema.minProperties });
    if (typeof schema.maxProperties === 'number' && names.length > schema.maxProperties)
      tell('maxProperties', { limit: schema.maxProperties });
    if (Array.isArray(schema.required)) {
      for (const missingProperty of schema.required)
        if (!Object.hasOwn(data, missingProperty)) tell('required', { missingProperty });
    }
    const properties = isSchema(schema.properties) ? schema.properties : {};
    const patternSchemas = Object.entries(isSchema(schema.patternProperties) ? schema.patternProperties : {});
    for (const name of names) {
      const known = Object.hasOwn(properties, name) ? properties[name] : undefined;
      const byPattern = patternSchemas.filter(([pattern]) => platformMatches(pattern, name));
      if (known !== undefined || byPattern.length > 0) continue;
      if (schema.additionalProperties === false) tell('additionalProperties', { additionalProperty: name });
    }
    const inside = (inner: unknown, path: string, name: string) => {
      if (isSchema(inner))
        this.at(inner, data[name], `${schemaPath}/${path}`, `${instancePath}/${pointerPart(name)}`);
    };
    for (const name of Object.keys(properties))
      if (Object.hasOwn(data, name)) inside(properties[name], `properties/${pointerPart(name)}`, name);
    for (const name of names) {
      let isKnown = Object.hasOwn(properties, name);
      for (const [pattern, inner] of patternSchemas) {
        if (!platformMatches(pattern, name)) continue;
        isKnown = true;
        inside(inner, `patternProperties/${pointerPart(pattern)}`, name);
      }
      if (!isKnown) inside(schema.additionalProperties, 'additionalProperties', name);
    }
  }

  #branchErrors(schema: Schema, data: unknown, schemaPath: string, instancePath: string, tell: Tell) {
    for (const [at, inner] of schemasOf(schema.allOf).entries())
      this.at(inner, data, `${schemaPath}/allOf/${at}`, instancePath);
    for (const keyword of ['anyOf', 'oneOf'] as const) {
      const branches = schemasOf(schema[keyword]);
      if (branches.length === 0) continue;
      const mark = this.errors.length;
      let passing = 0;
      for (const [at, inner] of branches.entries()) {
        const before = this.errors.length;
        this.at(inner, data, `${schemaPath}/${keyword}/${at}`, instancePath);
        if (this.errors.length === before) passing += 1;
      }
      if (keyword === 'anyOf' ? passing > 0 : passing === 1) this.errors.length = mark;
      else tell(keyword, {});
    }
    if (isSchema(schema.if)) {
      const holds = this.#holds(schema.if, data);
      const then = holds ? schema.then : schema.else;
      if (isSchema(then)) this.at(then, data, `${schemaPath}/${holds ? 'then' : 'else'}`, instancePath);
    }
    if (isSchema(schema.not) && this.#holds(schema.not, data)) tell('not', {});
  }

  #holds(schema: Schema, data: unknown): boolean {
    const mark = this.errors.length;
    this.at(schema, data, '#', '');
    const holds = this.errors.length === mark;
    this.errors.length = mark;
    return holds;
  }

  #resolve(ref: string): Schema {
    let at: unknown = this.#root;
    for (const part of ref.replace(/^#\/?/, '').split('/').filter(Boolean)) {
      at = Object(at)[part.replaceAll('~1', '/').replaceAll('~0', '~')];
    }
    if (!isSchema(at)) throw new Error(`the schema has nothing at ${ref}`);
    return at;
  }
}

type Tell = (keyword: string, params: Schema) => void;

function numberErrors(schema: Schema, data: number, tell: Tell) {
  const bound = (keyword: string, comparison: string, holds: (limit: number) => boolean) => {
    const limit = schema[keyword];
    if (typeof limit === 'number' && !holds(limit)) tell(keyword, { comparison, limit });
  };
  bound('maximum', '<=', (limit) => data <= limit);
  bound('minimum', '>=', (limit) => data >= limit);
  bound('exclusiveMaximum', '<', (limit) => data < limit);
  bound('exclusiveMinimum', '>', (limit) => data > limit);
  const { multipleOf } = schema;
  if (typeof multipleOf === 'number' && !Number.isInteger(data / multipleOf))
    tell('multipleOf', { multipleOf });
}

function isOfType(data: unknown, type: unknown): boolean {
  if (Array.isArray(type)) return type.some((one) => isOfType(data, one));
  switch (type) {
    case 'integer':
      return Number.isInteger(data);
    case 'number':
      return Number.isFinite(data);
    case 'null':
      return data === null;
    case 'array':
      return Array.isArray(data);
    case 'object':
      return typeof data === 'object' && data !== null && !Array.isArray(data);
    default:
      return typeof data === type;
  }
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function schemasOf(value: unknown): Schema[] {
  return Array.isArray(value) ? value.filter(isSchema) : [];
}
