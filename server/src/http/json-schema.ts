import type { TSchema } from 'typebox';

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json | undefined };

/** Returns a TypeBox schema as JSON Schema 2020-12. TypeBox writes tuples in the older form, with `items` as a list. */
export function jsonSchemaOf(schema: TSchema): Json {
  return modernized(JSON.parse(JSON.stringify(schema)) as Json);
}

function modernized(value: Json): Json {
  if (Array.isArray(value)) return value.map(modernized);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, inner]) => [name, modernized(inner ?? null)] as const);
  const { additionalItems, ...rest } = Object.fromEntries(entries) as Record<string, Json>;
  if (rest.type !== 'array' || !Array.isArray(rest.items))
    return additionalItems === undefined ? rest : { ...rest, additionalItems };
  const { items, ...others } = rest;
  return { ...others, prefixItems: items, items: additionalItems ?? true };
}
