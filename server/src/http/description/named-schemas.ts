// Gives the schemas of the API the names that docs/api.md uses, and describes each of them once. A program that is
// generated from the description then has types with these names, and the description is a quarter of the size.
import * as protocol from '@opsconductor/protocol';
import type { TSchema } from 'typebox';
import { type Json, jsonSchemaOf } from '../json-schema.ts';

const where = '#/components/schemas/';

export class NamedSchemas {
  /** Equal parts of schemas have the same number, whichever schema they are found in. */
  readonly #numbers = new Map<string, number>();
  readonly #named = new Map<number, string>();
  /** Two schemas may be equal: one that a route names itself keeps its own name. */
  readonly #bySchema = new Map<TSchema, string>();
  readonly #used = new Map<string, Json>();

  constructor() {
    const found = Object.entries(protocol).flatMap(([exported, schema]) => {
      if (!/^[A-Z]\w*Schema$/.test(exported) || typeof schema !== 'object') return [];
      const json = jsonSchemaOf(schema as TSchema) as Record<string, Json>;
      if (json.properties === undefined && json.anyOf === undefined) return [];
      const name = schema === protocol.ErrorBodySchema ? 'Error' : exported.replace(/Schema$/, '');
      return [{ name, schema: schema as TSchema, number: this.#visit(json).number }];
    });
    for (const { name, schema, number } of found) {
      this.#bySchema.set(schema, name);
      if (!this.#named.has(number)) this.#named.set(number, name);
    }
  }

  /** Returns the schema as JSON Schema, with references to the named schemas in it, or one if it has a name itself. */
  refer(schema: TSchema): Json {
    const { json, inner } = this.#visit(jsonSchemaOf(schema));
    const name = this.#bySchema.get(schema);
    if (name === undefined || inner === undefined) return json;
    this.#used.set(name, inner);
    return { $ref: where + name };
  }

  /** Returns the named schemas that were referred to, by name. */
  components(): Record<string, Json> {
    return Object.fromEntries([...this.#used].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** @returns `inner`: the same, if it is an object, without a reference in place of all of it. */
  #visit(value: Json): { number: number; json: Json; inner?: Json } {
    if (typeof value !== 'object' || value === null) {
      return { number: this.#number(JSON.stringify(value)), json: value };
    }
    if (Array.isArray(value)) {
      const items = value.map((item) => this.#visit(item));
      return { number: this.#number(listKey(items)), json: items.map(({ json }) => json) };
    }
    const entries = Object.entries(value).map(([name, one]) => [name, this.#visit(one ?? null)] as const);
    const number = this.#number(objectKey(entries));
    const inner = Object.fromEntries(entries.map(([name, { json }]) => [name, json]));
    const name = this.#named.get(number);
    if (name === undefined) return { number, json: inner, inner };
    this.#used.set(name, inner);
    return { number, json: { $ref: where + name }, inner };
  }

  #number(key: string): number {
    const number = this.#numbers.get(key) ?? this.#numbers.size;
    this.#numbers.set(key, number);
    return number;
  }
}

/** Returns the schema with what its references name in their places. */
export function withoutReferences(schema: Json, components: Record<string, Json>): Json {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map((item) => withoutReferences(item, components));
  const name = referredName(schema);
  if (name !== undefined) return withoutReferences(components[name] ?? {}, components);
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, withoutReferences(value ?? null, components)]),
  );
}

/** Returns the name of the schema that this one only refers to. */
export function referredName(schema: Json): string | undefined {
  const reference = (schema as { $ref?: Json } | null)?.$ref;
  return typeof reference === 'string' && reference.startsWith(where)
    ? reference.slice(where.length)
    : undefined;
}

function listKey(items: readonly { number: number }[]): string {
  return `[${items.map(({ number }) => number).join()}]`;
}

function objectKey(entries: readonly (readonly [name: string, { number: number }])[]): string {
  return `{${entries.map(([name, { number }]) => `${JSON.stringify(name)}:${number}`).join()}}`;
}
