// A pair in the notation of JSON Schema 2020-12 (`prefixItems`); TypeBox's own tuples still use the older one.
import { type Static, type TSchema, Type } from 'typebox';

export function Pair<A extends TSchema, B extends TSchema>(first: A, second: B) {
  return Type.Unsafe<[Static<A>, Static<B>]>({
    type: 'array',
    prefixItems: [first, second],
    items: false,
    minItems: 2,
    maxItems: 2,
  });
}
