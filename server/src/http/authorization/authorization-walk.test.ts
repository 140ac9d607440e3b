// Calls every route as every persona: each role everywhere, on a category, on a segment and on a target group, without
// any role, and with API tokens that narrow a role. Checks each answer's status, and that no answer contains anything
// its reader may not see.
import { isDeepStrictEqual } from 'node:util';
import { type Permission, roles } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Case, type Needs, type Requirement, routeNeeds } from './authorization-needs.ts';
import {
  enter,
  holds,
  holdsEverywhere,
  holdsSomewhere,
  makeWorld,
  type Persona,
  type ScopeKey,
  type WalkedRun,
  type World,
} from './authorization-world.ts';

let world: World;
let everybody: { persona: Persona; token: string }[];

beforeAll(async () => {
  world = await makeWorld();
  everybody = [];
  for (const persona of personas(world)) everybody.push({ persona, token: await enter(world, persona) });
});
afterAll(() => world?.close());

function personas({ alfa }: World): Persona[] {
  const category: ScopeKey = `category:${alfa.categoryId}`;
  const segment: ScopeKey = `segment:${alfa.segmentId}`;
  const group: ScopeKey = `target_group:${alfa.groupId}`;
  const admin = [{ role: 'admin', scope: null }] as const;
  const granted = [null, category, segment, group].flatMap((scope) =>
    roles.map((role): Persona => ({ name: `${role} ${scope ?? 'everywhere'}`, grants: [{ role, scope }] })),
  );
  const on = (role: (typeof roles)[number], ...scopes: ScopeKey[]) =>
    scopes.map((scope) => ({ role, scope }));
  return [
    ...granted,
    { name: 'nobody', grants: [] },
    { name: 'operator of a category and its segment', grants: on('operator', category, segment) },
    { name: 'operator of a category and its group', grants: on('operator', category, group) },
    { name: 'token for a segment', grants: [...admin], token: { scopes: [segment] } },
    { name: 'token for a category and a group', grants: [...admin], token: { scopes: [category, group] } },
    { name: 'token that reads', grants: [...admin], token: { permissions: ['read'] } },
    {
      name: 'token that edits targets in a segment',
      grants: [...admin],
      token: { permissions: ['read', 'targets.edit'], scopes: [segment] },
    },
    { name: 'token for nothing', grants: [...admin], token: { scopes: [] } },
    {
      name: 'token for a segment, of an operator of a category',
      grants: on('operator', category),
      token: { scopes: [segment] },
    },
    {
      name: 'token that runs in a segment',
      grants: [...admin],
      token: { permissions: ['read', 'run', 'credentials.use'], scopes: [category, segment] },
    },
  ];
}

const nameOf = (route: { method: string; path: string }) =>
  `${route.method} ${route.path.replace('/api/v1/', '')}`;

test('the table lists every route and nothing else', () => {
  expect(Object.keys(routeNeeds).sort()).toEqual(world.services.routes.map(nameOf).sort());
});

test('a route requires what this table says it needs', () => {
  for (const route of world.services.routes) {
    const needs = routeNeeds[nameOf(route)];
    if (needs === undefined) continue;
    expect({ route: nameOf(route), ...declared(needs) }).toEqual({
      route: nameOf(route),
      permission: route.permission,
      scoped: route.scoped === true,
    });
  }
});

function declared(needs: Needs): { permission: string; scoped: boolean } {
  if ('public' in needs) return { permission: 'public', scoped: false };
  if ('self' in needs) return { permission: 'self', scoped: false };
  if ('everywhere' in needs) return { permission: needs.everywhere, scoped: false };
  return { permission: needs.permission, scoped: true };
}

describe('the numbers', () => {
  const reader = (persona: Persona) => persona.grants.length > 0 && holdsSomewhere(persona, 'read');
  const seenOf = (persona: Persona, run: WalkedRun) =>
    run.targetRuns.filter(({ place }) => holds(persona, 'read', place));

  /** Asks as each reader, and compares some of the numbers in the answer with those from the model of rights. */
  async function compare(path: string, due: (persona: Persona) => object): Promise<string[]> {
    return walk(async ({ persona, token }) => {
      if (!reader(persona)) return [];
      const { text } = await ask(token, 'GET', path);
      const [found, expected] = [JSON.parse(text), due(persona)].map((value) => pick(value, due(persona)));
      return [isDeepStrictEqual(found, expected) ? undefined : `${JSON.stringify(found)} at ${path}`];
    });
  }

  test('of queue and health count only what the reader may see', async () => {
    const { alfa, zeta, shared, open } = world;
    const openOf = (persona: Persona) => open.filter((run) => seenOf(persona, run).length > 0).length;
    const queue = await compare('executor/status', (persona) => ({
      steps: { ready: open.flatMap((run) => seenOf(persona, run)).length, running: 0, held: 0 },
      runs: { queued: openOf(persona), running: 0, cancelling: 0 },
    }));
    const overview = await compare('executor/overview', (persona) => ({
      segments: {
        healthy: [alfa, zeta].filter((side) => holds(persona, 'read', side.segment)).length,
      },
      heldSteps: 0,
    }));
    const health = await compare('jobs/health', (persona) => ({
      jobs: [alfa.category, alfa.deepCategory, zeta.category, zeta.deepCategory, shared.place].filter(
        (place) => holds(persona, 'read', place),
      ).length,
      openRuns: openOf(persona),
    }));
    expect([...queue, ...overview, ...health]).toEqual([]);
  });

  test('and the status of a run come from the target runs that the reader may see', async () => {
    for (const run of world.ended) {
      const wrong = await compare(`runs/${run.id}`, (persona) => {
        const seen = seenOf(persona, run);
        if (seen.length === 0) return { error: { code: 'not_found' } };
        const failed = seen.filter((targetRun) => targetRun === run.targetRuns[1]).length;
        const total = seen.length;
        return {
          status: failed > 0 ? 'failed' : 'succeeded',
          outputState: 'complete',
          targetsTotal: total,
          targetsSucceeded: total - failed,
          targetsFailed: failed,
          totalSteps: total,
          completedSteps: total,
          failedSteps: failed,
        };
      });
      expect(wrong).toEqual([]);
    }
  });

  test('of pages and filters reveal nothing about the rest', async () => {
    const { ended, zeta } = world;
    const idsOf = (runs: readonly WalkedRun[]) => runs.map(({ id }) => ({ id })).reverse();
    const failed = (persona: Persona, run: WalkedRun) =>
      seenOf(persona, run).some((targetRun) => targetRun === run.targetRuns[1]);
    const seen = (persona: Persona) => ended.filter((run) => seenOf(persona, run).length > 0);
    const wrong = [
      await compare('runs?status=failed', (persona) => ({
        items: idsOf(seen(persona).filter((run) => failed(persona, run))),
        nextCursor: null,
      })),
      await compare('runs?status=succeeded', (persona) => ({
        items: idsOf(seen(persona).filter((run) => !failed(persona, run))),
        nextCursor: null,
      })),
      await compare(`runs?status=succeeded,failed&targetId=${zeta.targetId}`, (persona) => ({
        items: idsOf(
          ended.slice(1).filter((run) => holds(persona, 'read', run.targetRuns.at(-1)?.place ?? [])),
        ),
      })),
      await compare('runs?status=succeeded,failed&category=shared%20jobs', (persona) => ({
        items: idsOf(seen(persona).filter((run) => run.jobName === 'shared job')),
      })),
    ];
    expect(wrong.flat()).toEqual([]);
  });
});

/** Returns only those parts of a value that `like` also has. */
function pick(value: unknown, like: unknown): unknown {
  if (Array.isArray(value) && Array.isArray(like)) return value.map((one) => pick(one, like[0]));
  if (typeof like !== 'object' || like === null || typeof value !== 'object' || value === null) return value;
  const source = value as Record<string, unknown>;
  return Object.fromEntries(Object.entries(like).map(([key, one]) => [key, pick(source[key], one)]));
}

interface Answer {
  status: number;
  text: string;
}

async function ask(
  token: string,
  method: string,
  path: string,
  json?: unknown,
  contentType = 'application/json',
): Promise<Answer> {
  const body = json === undefined ? {} : { body: JSON.stringify(json) };
  const response = await world.services.app.request(`/api/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': contentType },
    ...body,
  });
  return { status: response.status, text: await response.text() };
}

/** Returns what is wrong with the answers to every persona, one line each; empty if all is right. */
async function walk(
  check: (one: { persona: Persona; token: string }) => Promise<(string | undefined)[]>,
  { atOnce = false } = {},
): Promise<string[]> {
  const wrong: string[] = [];
  const checkOne = async (one: (typeof everybody)[number]) => {
    for (const problem of await check(one)) {
      if (problem !== undefined) wrong.push(`${one.persona.name}: ${problem}`);
    }
  };
  if (atOnce) await Promise.all(everybody.map(checkOne));
  else for (const one of everybody) await checkOne(one);
  return wrong;
}

describe.each(Object.entries(routeNeeds))('%s', (name, needs) => {
  const [method = '', pattern = ''] = name.split(' ');
  const isRefused = ({ status }: Answer) => status === 401 || status === 403;

  if ('public' in needs) {
    test('looks at the request, whoever calls', async () => {
      const body = method === 'GET' ? undefined : {};
      const status = needs.answers ?? 400;
      expect(await ask('a token that nobody has', method, pattern, body)).toMatchObject({ status });
    });
  } else if ('self' in needs || 'everywhere' in needs) {
    test('is open to those with the permission everywhere, and refused to all others', async () => {
      const permission: Permission = 'self' in needs ? 'self' : needs.everywhere;
      const wrong = await walk(async ({ persona, token }) => {
        const answer = await ask(token, method, pattern.replaceAll(/:\w+/g, '999999'), bodyOf(method));
        const may = permission === 'self' ? isUnbounded(persona) : holdsEverywhere(persona, permission);
        return [
          // Parts of a caller's own account are for sessions only.
          (may ? isRefused(answer) && permission !== 'self' : answer.status !== 403)
            ? `${answer.status} ${answer.text}`
            : undefined,
          strayWord(persona, answer),
        ];
      });
      expect(wrong).toEqual([]);
    });
  } else if ('list' in needs) {
    test('lists what its reader may see, and nothing about the rest', async () => {
      const wrong = await walk(async ({ persona, token }) => {
        const answer = await ask(token, method, `${pattern}?${needs.query ?? ''}`);
        const may = holdsSomewhere(persona, needs.permission);
        if (answer.status !== (may ? 200 : 403)) return [`${answer.status} ${answer.text}`];
        const listed = may ? needs.list(world) : [];
        return [
          strayWord(persona, answer),
          ...listed.map(({ text, seen }) => {
            const isSeen = seen.some((place) => holds(persona, needs.permission, place));
            return answer.text.includes(text) === isSeen
              ? undefined
              : `${text} is ${isSeen ? 'missing' : 'there'}`;
          }),
        ];
      });
      expect(wrong).toEqual([]);
    });
  } else {
    test('is answered if the reader may see it, refused if more is needed, and not found for all others', async () => {
      const head = pattern.split('/:')[0] ?? '';
      const check = ({ persona, token }: (typeof everybody)[number]) =>
        Promise.all(
          needs.cases(world).map(async (one) => {
            const path = `${head}${one.path === '' ? '' : '/'}${one.path}`;
            const answer = await ask(token, method, path, one.json ?? bodyOf(method), one.contentType);
            const due = dueTo(persona, needs.permission, one);
            const isDue =
              due === 'allowed' ? ![401, 403, 404].includes(answer.status) : answer.status === due;
            if (!isDue)
              return `${path} ${JSON.stringify(one.json)}: ${answer.status}, not ${due}: ${answer.text}`;
            const stray = strayWord(persona, answer);
            return stray && `${path}: ${stray}`;
          }),
        );
      const wrong = await walk(check, needs);
      expect(wrong).toEqual([]);
    });
  }
});

function bodyOf(method: string): unknown {
  return method === 'GET' ? undefined : {};
}

function isUnbounded({ token }: Persona): boolean {
  return token === undefined;
}

function meets(persona: Persona, permission: Permission, requirement: Requirement): boolean {
  return 'one' in requirement
    ? requirement.one.some((place) => holds(persona, permission, place))
    : requirement.each.every((place) => holds(persona, permission, place));
}

function dueTo(
  persona: Persona,
  permission: Permission,
  { reads = [], needs = [], unseen = undefined }: Case,
): number | 'allowed' {
  if (!holdsSomewhere(persona, permission)) return 403;
  if (!reads.every((place) => meets(persona, 'read', place))) return unseen ?? 404;
  return needs.every(([needed, place]) => meets(persona, needed, place)) ? 'allowed' : 403;
}

/**
 * A reader without rights on zeta must not see its name, except where they wrote it themselves (`found`). A request's id
 * is random, and may contain it.
 */
function strayWord(persona: Persona, { status, text }: Answer): string | undefined {
  const isLimited =
    persona.grants.every(({ scope }) => scope !== null) || persona.token?.scopes !== undefined;
  const told = text.replaceAll(/"(found|requestId)":"[^"]*"/g, '');
  const isTold = isLimited && told.includes('zeta');
  return isTold ? `${status} tells of zeta: ${text}` : undefined;
}
