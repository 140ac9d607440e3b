// The table of routes in the order in which they are matched, checked for programming mistakes when the server starts.
import assert from 'node:assert/strict';
import { requireSchema } from '../validation/schema-problems.ts';
import type { RouteSpec } from './route.ts';

/** Sorts literal segments before parameters, so that `jobs/health` is not taken for a job named health. */
export function orderRoutes(routes: readonly RouteSpec[]): RouteSpec[] {
  return [...routes].sort((a, b) => compare(sortKey(a.path), sortKey(b.path)));
}

/** Throws for a duplicate route, and for one whose path parameters differ from its schema. */
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
 * Throws for an invalid schema. Only tests call it: compiling all schemas would take most of a server's start, so the
 * server compiles each on first use.
 */
export function checkSchemas(routes: readonly RouteSpec[]): void {
  for (const route of routes) {
    // A body that the handler checks itself may have one of several shapes, whose defaults the validator could not fill
    // in.
    const body = route.checksBody === true || route.takesFile === true ? undefined : route.body;
    for (const schema of [route.params, route.query, body]) if (schema !== undefined) requireSchema(schema);
  }
}

/** Returns the methods of each path, for 405. */
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
