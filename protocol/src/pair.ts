// A pair in the notation of JSON Schema 2020-12 (`prefixItems`); TypeBox's own tuples still use the older one.
import { type Static, type TSchema, Type } from 'typebox';

/** A schema of arrays with exactly these two items, in this order (JSON Schema 2020-12, section 10.3.1.1 of the core). */
export function Pair<A extends TSchema, B extends TSchema>(first: A, second: B) {
  return Type.Unsafe<[Static<A>, Static<B>]>({
    type: 'array',
    prefixItems: [first, second],
    items: false,
    minItems: 2,
    maxItems: 2,
  });
}
