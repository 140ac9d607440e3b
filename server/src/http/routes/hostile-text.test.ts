// Every route is sent texts and numbers that no database, file or header can store, in every place where it takes text
// or numbers. It must refuse or accept them, and never fail unexpectedly.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { routeNeeds } from '../authorization/authorization-needs.ts';
import { enter, makeWorld, type World } from '../authorization/authorization-world.ts';
import type { RouteSpec } from '../route.ts';

const texts = ['\0', 'a\0b', '\ud800', '\u202e', '__proto__', '%', "'; --", 'x'.repeat(70_000), ''];
const numbers = [-1, 0, 1.5, 1e308, 2 ** 53, 2 ** 31];
const others = [null, [], {}, true, [[[[[[[[{}]]]]]]]]];
const inPaths = [
  '%00',
  '%ED%A0%80',
  '%FF',
  '-1',
  '1e3',
  '9'.repeat(40),
  'x'.repeat(3_000),
  '__proto__',
  '%2e%2e',
];

let world: World;
const tokens: string[] = [];
let sent = 0;
beforeAll(async () => {
  world = await makeWorld();
  // Each user has a rate limit of their own.
  for (let n = 0; n < 30; n += 1) {
    tokens.push(await enter(world, { name: `everything ${n}`, grants: [{ role: 'admin', scope: null }] }));
  }
});
afterAll(() => world?.close());

interface Sent {
  method: string;
  path: string;
  json?: unknown;
}

function nameOf({ method, path }: RouteSpec): string {
  return `${method} ${path.replace('/api/v1/', '')}`;
}

/** Valid requests of the route, from the walk over all routes. */
function goodRequests(route: RouteSpec): Sent[] {
  const name = nameOf(route);
  const needs = routeNeeds[name];
  const path = name.split(' ')[1] ?? '';
  if (needs === undefined || !('cases' in needs)) return [{ method: route.method, path }];
  const [base = ''] = path.split(':');
  return needs.cases(world).map(({ path: rest, json }) => ({
    method: route.method,
    path: base + rest,
    ...(json === undefined ? {} : { json }),
  }));
}

function* hostilePaths(route: RouteSpec): Generator<Sent> {
  const { method } = route;
  const path = route.path.replace('/api/v1/', '');
  if (!path.includes(':')) return;
  for (const text of inPaths) yield { method, path: path.replaceAll(/:\w+/g, text), ...bodyFor(method) };
}

function bodyFor(method: string): { json?: unknown } {
  return method === 'GET' || method === 'DELETE' ? {} : { json: {} };
}

function* hostileQueries(route: RouteSpec): Generator<Sent> {
  const names = Object.keys((route.query as { properties?: object } | undefined)?.properties ?? {});
  const [good] = goodRequests(route);
  if (good === undefined) return;
  for (const name of names) {
    for (const text of [
      '%00',
      'a%00b',
      '%ED%A0%80',
      '%5C',
      "'",
      '__proto__',
      '-1',
      '1e400',
      'x'.repeat(3_000),
      '',
    ]) {
      const sign = good.path.includes('?') ? '&' : '?';
      yield { ...good, path: `${good.path}${sign}${name}=${text}` };
    }
  }
}

function* hostileBodies(route: RouteSpec): Generator<Sent> {
  for (const good of goodRequests(route).slice(0, 1)) {
    if (good.json === undefined) continue;
    for (const json of spoiled(good.json)) yield { ...good, json };
  }
}

/** Yields the value with one thing in it replaced, for each thing in it, and with an additional name. */
function* spoiled(value: unknown): Generator<unknown> {
  if (typeof value === 'string') yield* [...texts, ...others];
  else if (typeof value === 'number') yield* [...numbers, '1', null];
  else if (Array.isArray(value)) {
    yield* ['x', null, Array.from({ length: 13_000 }, () => value[0] ?? 1)];
    for (const [at, one] of value.entries()) {
      for (const bad of spoiled(one)) yield value.with(at, bad);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const name of ['__proto__', 'a\0b', 'constructor']) yield { ...value, [`${name}`]: 'x' };
    for (const [name, one] of Object.entries(value)) {
      for (const bad of spoiled(one)) yield { ...value, [name]: bad };
    }
  }
}

/** Returns what is wrong with the answer; undefined if nothing is. */
async function surprise({ method, path, json }: Sent): Promise<string | undefined> {
  sent += 1;
  const token = tokens[sent % tokens.length];
  const response = await world.services.app.request(`/api/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  });
  const { status } = response;
  // A live stream does not end by itself.
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) await response.body?.cancel();
  else await response.text();
  if (status < 500 || status === 503) return undefined;
  return `${status}: ${method} ${path.slice(0, 100)} ${JSON.stringify(json)?.slice(0, 200) ?? ''}`;
}

test('no route fails unexpectedly, whatever its path, query or body contains', async () => {
  const wrong: string[] = [];
  for (const route of world.services.routes) {
    // Routes that change the caller or end their session would make every later request fail.
    if (/^\/api\/v1\/(me|session|auth)\b/.test(route.path)) continue;
    for (const walk of [hostilePaths, hostileQueries, hostileBodies]) {
      for (const request of walk(route)) {
        const problem = await surprise(request);
        if (problem !== undefined) wrong.push(problem);
      }
    }
  }
  expect(wrong).toEqual([]);
  // The valid requests come from the walk; without them nothing would have been sent.
  expect(sent).toBeGreaterThan(3_000);
}, 240_000);
