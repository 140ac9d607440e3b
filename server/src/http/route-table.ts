// The table of routes in the order they are matched, checked for mistakes of ours when the server starts.
import assert from 'node:assert/strict';
import { requireSchema } from '../schema-problems.ts';
import type { RouteSpec } from './route.ts';

/** Literal segments before parameters, so that `jobs/health` is not a job named health. */
export function orderRoutes(routes: readonly RouteSpec[]): RouteSpec[] {
  return [...routes].sort((a, b) => compare(sortKey(a.path), sortKey(b.path)));
}

/** Throws for a route that is there twice, or whose path parameters and schema differ. */
export function checkRoutes(routes: readonly RouteSpec[]): void {
  const seen = new Set<string>();
  for (const route of routes) {
    const name = `${route.method} ${route.path}`;
    const shape = `${route.method} ${route.path.replaceAll(/:\w+/g, ':')}`;
    assert(!seen.has(shape), `${name} is in the table twice`);
    seen.add(shape);
    const declared = Object.keys((route.params as { properties?: object } | undefined)?.properties ?? {});
    assert.deepEqual(
      declared.sort(),
      parametersOf(route.path).sort(),
      `${name}: params differ from the path`,
    );
    assert(route.method !== 'GET' || route.body === undefined, `${name}: a GET has no body`);
  }
}

/**
 * Throws for a schema that isn't one. For the tests to call: to compile all of them would be most of a server's start,
 * which compiles each when it is first asked.
 */
export function checkSchemas(routes: readonly RouteSpec[]): void {
  for (const route of routes) {
    // What a handler checks by itself may be of one shape or another, whose defaults the validator could not fill.
    const body = route.checksBody === true || route.takesFile === true ? undefined : route.body;
    for (const schema of [route.params, route.query, body]) if (schema !== undefined) requireSchema(schema);
  }
}

/** Methods of each path, for 405. */
export function methodsByPath(routes: readonly RouteSpec[]): Map<string, string[]> {
  const methods = new Map<string, string[]>();
  for (const route of routes) {
    const list = methods.get(route.path) ?? [];
    list.push(route.method, ...(route.method === 'GET' ? ['HEAD'] : []));
    methods.set(route.path, list);
  }
  return methods;
}

export function parametersOf(path: string): string[] {
  return [...path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? '');
}

function sortKey(path: string): string {
  return path.replaceAll(/:\w+/g, '\uffff');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
