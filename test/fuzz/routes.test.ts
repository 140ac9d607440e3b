// Every route gets slightly wrong requests, generated from a seed: none stops the server, and none is answered with
// 500. `npm run fuzz -- --mutations 500` tries more of them.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { routeNeeds } from '../../server/src/http/authorization/authorization-needs.ts';
import { enter, makeWorld, type World } from '../../server/src/http/authorization/authorization-world.ts';
import type { RouteSpec } from '../../server/src/http/route.ts';
import { Prng } from '../faults/prng.ts';
import { mutated, type Schema, sampleOf } from './mutate.ts';
import { fuzzSettings } from './settings.ts';

const { seed, mutations } = fuzzSettings(process.env);
const isLong = mutations > 10;
/** Slightly fewer requests than one caller may make at once. */
const perToken = 1_500;

let world: World;
let sent = 0;
let token = '';
const answers = new Map<number, number>();
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world?.close());

interface Sent {
  method: string;
  path: string;
  body?: string | Uint8Array<ArrayBuffer>;
  headers?: Record<string, string>;
}

const nameOf = ({ method, path }: RouteSpec) => `${method} ${path.replace('/api/v1/', '')}`;

function goodRequest(route: RouteSpec, random: Prng): { path: string; json?: unknown } {
  const name = nameOf(route);
  const needs = routeNeeds[name];
  const path = name.split(' ')[1] ?? '';
  const body = route.body === undefined ? {} : { json: sampleOf(route.body as Schema, random) };
  const plain = { path: path.replaceAll(/:\w+/g, () => String(random.between(1, 5))), ...body };
  if (needs === undefined || !('cases' in needs)) return plain;
  const [base = ''] = path.split(':');
  const cases = needs.cases(world);
  if (cases.length === 0) return plain;
  const { path: rest, json } = random.pick(cases);
  return { path: base + rest, ...(json === undefined ? {} : { json }) };
}

function hostileRequest(route: RouteSpec, random: Prng): Sent {
  const good = goodRequest(route, random);
  const { method } = route;
  const query = hostileQuery(route, random);
  const path = random.chance(0.15) ? hostilePath(good.path, random) : good.path;
  const whole = query === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`;
  if (good.json === undefined || method === 'GET') return { method, path: whole };
  const json = JSON.stringify(mutated(good.json, route.body as Schema | undefined, random)) ?? '';
  return { method, path: whole, ...hostileBody(json, random) };
}

function hostileQuery(route: RouteSpec, random: Prng): string {
  const named = Object.entries((route.query as Schema | undefined)?.properties ?? {});
  return named
    .filter(() => random.chance(0.4))
    .map(([name, schema]) => `${name}=${spelled(mutated(sampleOf(schema, random), schema, random))}`)
    .join('&');
}

/** Encodes a value for a URL; anything that isn't valid UTF-8 as its bytes. */
function spelled(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return encodeURIComponent(text.slice(0, 3_000).toWellFormed());
}

function hostilePath(path: string, random: Prng): string {
  const parts = path.split('/');
  const at = random.between(0, parts.length - 1);
  const odd = [
    '%00',
    '%FF',
    '%2e%2e',
    '-1',
    '0',
    '9'.repeat(40),
    'x'.repeat(3_000),
    '__proto__',
    '%ED%A0%80',
    '',
    '1e3',
  ];
  return parts.with(at, random.pick(odd)).join('/');
}

function hostileBody(json: string, random: Prng): Pick<Sent, 'body' | 'headers'> {
  const headers = { 'Content-Type': 'application/json' };
  if (random.chance(0.85)) return { body: json, headers };
  const bytes = Buffer.from(json);
  return random.pick<Pick<Sent, 'body' | 'headers'>>([
    { body: json.slice(0, random.between(0, json.length)), headers },
    { body: json, headers: { 'Content-Type': 'application/yaml' } },
    { body: json, headers: { 'Content-Type': 'text/plain' } },
    { body: json, headers: { ...headers, 'Content-Encoding': 'gzip' } },
    { body: new Uint8Array([...bytes.subarray(0, 5_000), 0xff, 0xfe, 0x80]), headers },
    { body: '['.repeat(20_000), headers },
    { body: `{"a":`.repeat(5_000), headers: { 'Content-Type': 'application/yaml' } },
    { body: '- &a [*a, *a]', headers: { 'Content-Type': 'application/yaml' } },
  ]);
}

/** Returns what is wrong with the answer; `undefined` if nothing is. */
async function surprise({ method, path, body, headers }: Sent): Promise<string | undefined> {
  if (sent % perToken === 0) {
    token = await enter(world, { name: `everything ${sent}`, grants: [{ role: 'admin', scope: null }] });
  }
  sent += 1;
  const response = await world.services.app.request(`/api/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...headers },
    ...(body === undefined ? {} : { body }),
  });
  const { status } = response;
  answers.set(status, (answers.get(status) ?? 0) + 1);
  // A stream never ends by itself.
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) await response.body?.cancel();
  else await response.arrayBuffer();
  if (status < 500 || status === 503) return undefined;
  return `${status}: ${method} ${path.slice(0, 300)} ${String(body).slice(0, 2_000)}`;
}

test(`no route is surprised by ${mutations} slightly wrong requests (seed ${seed})`, async () => {
  const wrong: string[] = [];
  for (const route of world.services.routes) {
    // After a request that changes the caller or ends the world, there could be no further one.
    if (/^\/api\/v1\/(me|session|auth)\b/.test(route.path)) continue;
    // It waits for an agent, and there is none: all its requests are sent at once, and none in the suite.
    const waits = route.path.endsWith('/targets/:id/test');
    if (waits && !isLong) continue;
    const random = new Prng(seed, nameOf(route));
    const tried = Array.from({ length: mutations }, () => () => surprise(hostileRequest(route, random)));
    const problems = waits ? await Promise.all(tried.map((each) => each())) : await inTurn(tried);
    for (const [n, problem] of problems.entries())
      if (problem !== undefined) wrong.push(`${nameOf(route)}, mutation ${n}: ${problem}`);
    if (isLong) await renewed();
  }
  if (mutations > 10)
    process.stdout.write(`${sent} requests: ${JSON.stringify(Object.fromEntries(answers))}\n`);
  expect(wrong).toEqual([]);
  expect(sent).toBeGreaterThan(mutations * 100);
}, 3_600_000);

async function inTurn<T>(tried: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  for (const each of tried) results.push(await each());
  return results;
}

/** What many requests leave behind must not affect the next route. */
async function renewed(): Promise<void> {
  await world.close();
  world = await makeWorld();
  token = await enter(world, { name: 'everything anew', grants: [{ role: 'admin', scope: null }] });
}
