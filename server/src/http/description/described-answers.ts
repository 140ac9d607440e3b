// What a route may answer: its statuses, and for each its content types with their schemas. The description is made
// from this, and tests compare real answers with it.
import { ErrorBodySchema, type ErrorCode } from '@opsconductor/protocol';
import type { TSchema } from 'typebox';
import { httpStatusOf } from '../../errors.ts';
import type { RouteSpec } from '../route.ts';

/** By content type; empty for an answer without a body. Without a schema, the body may be anything of the type. */
export type DescribedBodies = ReadonlyMap<string, TSchema | undefined>;

export function describedAnswers(route: RouteSpec): ReadonlyMap<number, DescribedBodies> {
  const { status, schema, contentType, others = [] } = route.success;
  const type = contentType ?? (schema === undefined ? undefined : 'application/json');
  const answers = new Map<number, Map<string, TSchema | undefined>>();
  answers.set(status, new Map(type === undefined ? [] : [[type, schema]]));
  for (const other of others) {
    const bodies = answers.get(other.status) ?? new Map<string, TSchema | undefined>();
    const otherType = other.contentType ?? (other.schema === undefined ? undefined : 'application/json');
    if (otherType !== undefined) bodies.set(otherType, other.schema);
    answers.set(other.status, bodies);
  }
  for (const refusal of refusalsOf(route))
    answers.set(refusal, new Map([['application/json', ErrorBodySchema]]));
  return answers;
}

/** Returns the statuses of the errors that the route may answer. */
function refusalsOf(route: RouteSpec): number[] {
  const codes: ErrorCode[] = ['invalid', 'unauthenticated', 'rate_limited', 'internal', 'unavailable'];
  // A page of another site may send anything but a GET, even where no sign-in is needed.
  if (route.permission !== 'public' || route.method !== 'GET') codes.push('forbidden');
  // The body, too, may name what does not exist.
  if (route.params !== undefined || (route.body !== undefined && route.permission !== 'public'))
    codes.push('not_found');
  // Bodies are read even where none is wanted, to say what is wrong with them.
  if (route.method !== 'GET') codes.push('conflict', 'too_large');
  codes.push(...(route.errors ?? []));
  const statuses = codes.map((code) => httpStatusOf[code]);
  return [...statuses, 421, ...(route.method === 'GET' ? [] : [415])];
}
