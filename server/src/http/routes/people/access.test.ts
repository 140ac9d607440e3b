// What may this user do, and why? The answers are compared with the model of rights and with what the routes do.
import { type Access, type Permission, permissions, reachesInto, roles } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  enter,
  holds,
  holdsSomewhere,
  makeWorld,
  type Persona,
  type Place,
  type ScopeKey,
  type World,
} from '../../authorization/authorization-world.ts';

let world: World;
let administrator: string;
const everybody: { persona: Persona; id: number; token: string }[] = [];

beforeAll(async () => {
  world = await makeWorld();
  administrator = await enter(world, { name: 'root', grants: [{ role: 'admin', scope: null }] });
  for (const persona of personas(world)) everybody.push({ persona, ...(await add(persona)) });
});
afterAll(() => world?.close());

function personas({ alfa }: World): Persona[] {
  const scopes: (ScopeKey | null)[] = [
    null,
    `category:${alfa.categoryId}`,
    `segment:${alfa.segmentId}`,
    `target_group:${alfa.groupId}`,
  ];
  const granted = scopes.flatMap((scope) =>
    roles.map((role): Persona => ({ name: `${role} ${scope ?? 'everywhere'}`, grants: [{ role, scope }] })),
  );
  return [...granted, { name: 'nobody', grants: [] }];
}

async function add(persona: Persona): Promise<{ id: number; token: string }> {
  const token = await enter(world, persona);
  const rows = await world.t.sql<{ id: number }[]>`select id from users where name = ${persona.name}`;
  return { id: rows[0]?.id ?? 0, token };
}

async function get(path: string, token = administrator): Promise<{ status: number; body: Access }> {
  const reply = await world.services.app.request(`/api/v1/${path}`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  return { status: reply.status, body: (await reply.json()) as Access };
}

async function answerOf(userId: number, query: string): Promise<NonNullable<Access['answer']>> {
  const { status, body } = await get(`users/${userId}/access?${query}`);
  expect([query, status]).toEqual([query, 200]);
  if (body.answer === null) throw new Error('no answer');
  return body.answer;
}

/** Returns each kind of thing on both sides, with the scopes that it lies in. */
function things({ alfa, zeta }: World): { query: string; place: Place; kinds: ScopeKey[] }[] {
  return [alfa, zeta].flatMap((side) => [
    { query: `job=${side.jobId}`, place: side.category, kinds: ['category:0'] },
    { query: `job=${side.deepJobId}`, place: side.deepCategory, kinds: ['category:0'] },
    { query: `category=${side.categoryId}`, place: side.category, kinds: ['category:0'] },
    { query: `target=${side.targetId}`, place: side.target, kinds: ['segment:0', 'target_group:0'] },
    { query: `target=${side.bareTargetId}`, place: side.bareTarget, kinds: ['segment:0', 'target_group:0'] },
    { query: `segment=${side.segmentId}`, place: side.segment, kinds: ['segment:0'] },
    {
      query: `targetGroup=${side.groupId}`,
      place: [`target_group:${side.groupId}`],
      kinds: ['target_group:0'],
    },
  ]);
}

/** Returns the first thing for each query word. */
function oneOfEachKind(all: ReturnType<typeof things>): ReturnType<typeof things> {
  const words = all.map(({ query }) => query.split('=')[0]);
  return all.filter((_, at) => words.indexOf(words[at]) === at);
}

test('the answer for every role, scope, permission and thing is what the model of rights says', async () => {
  for (const { persona, id } of everybody) {
    for (const permission of permissions.filter((one) => one !== 'self')) {
      // A persona who has the permission nowhere has it on nothing, so one thing of each kind is enough.
      const asked = holdsSomewhere(persona, permission) ? things(world) : oneOfEachKind(things(world));
      for (const { query, place, kinds } of asked) {
        const means = kinds.some((key) => reachesInto(permission, key.split(':')[0] as 'segment'));
        // Names of segments and groups can also be seen through the targets in them, which has its own test.
        if (!means || (permission === 'read' && /^(segment|targetGroup)=/.test(query))) continue;
        const needed: Permission[] =
          permission === 'run' && query.startsWith('target=') ? ['run', 'credentials.use'] : [permission];
        const expected = needed.every((one) => holds(persona, one, place));
        const { isAllowed, needs } = await answerOf(id, `permission=${permission}&${query}`);
        const told = [persona.name, permission, query, isAllowed];
        expect(told).toEqual([persona.name, permission, query, expected]);
        for (const need of needs) {
          expect(need.grants.length > 0).toBe(need.isHeld);
          expect(need.missing === null).toBe(need.isHeld);
        }
      }
    }
  }
});

test('what it says about reading is what the routes do', async () => {
  const paths: [string, string][] = [world.alfa, world.zeta].flatMap((side): [string, string][] => [
    [`job=${side.jobId}`, `jobs/${side.jobId}`],
    [`target=${side.targetId}`, `targets/${side.targetId}`],
  ]);
  for (const run of world.ended) paths.push([`run=${run.id}`, `runs/${run.id}`]);
  for (const { persona, id, token } of everybody) {
    for (const [query, path] of paths) {
      const { isAllowed } = await answerOf(id, `permission=read&${query}`);
      const { status } = await get(path, token);
      const isSeen = status === 200;
      expect([persona.name, path, isSeen]).toEqual([persona.name, path, isAllowed]);
    }
  }
});

describe('the reasons', () => {
  test('name the grant and, for a grant of a group, the group it comes through', async () => {
    const { alfa, t } = world;
    const { id } = await add({
      name: 'alma',
      grants: [{ role: 'viewer', scope: `segment:${alfa.segmentId}` }],
    });
    const groups = await t.sql<{ id: number }[]>`insert into user_groups (name) values ('ops') returning id`;
    const userGroupId = groups[0]?.id ?? 0;
    await t.sql`insert into user_group_members (user_group_id, user_id) values (${userGroupId}, ${id})`;
    await t.sql`insert into role_grants ${t.sql({ userGroupId, permission: 'run', categoryId: alfa.categoryId })}`;
    const { body } = await get(`users/${id}/access`);
    expect(body.user).toEqual({ id, name: 'alma', kind: 'person', isActive: true });
    expect(body.answer).toBeNull();
    expect(body.permissions).toMatchObject([
      {
        permission: 'read',
        everywhere: false,
        grants: [
          {
            through: { kind: 'user', id, name: 'alma' },
            role: 'viewer',
            scope: { kind: 'segment', id: alfa.segmentId, name: 'alfa' },
          },
        ],
      },
      {
        permission: 'run',
        everywhere: false,
        grants: [
          {
            through: { kind: 'user_group', id: userGroupId, name: 'ops' },
            role: null,
            scope: { kind: 'category', id: alfa.categoryId, name: 'alfa jobs' },
          },
        ],
      },
    ]);
  });

  test('say what is missing to run a given job on a given target', async () => {
    const { alfa } = world;
    const { id } = await add({
      name: 'bea',
      grants: [{ role: 'operator', scope: `category:${alfa.categoryId}` }],
    });
    const query = `permission=run&job=${alfa.jobId}&target=${alfa.targetId}`;
    const without = await answerOf(id, query);
    expect(without.needs.map(({ permission, on, isHeld }) => [permission, on?.name, isHeld])).toEqual([
      ['run', 'alfa job', true],
      ['run', 'alfa-host', false],
      ['credentials.use', 'alfa-host', false],
    ]);
    expect(without.summary).toBe(
      'bea may not: run on job “alfa job” and on target “alfa-host”. ' +
        'Missing: run on segment “alfa” or a target group that it is in, or everywhere. ' +
        'Missing: credentials.use on segment “alfa” or a target group that it is in, or everywhere.',
    );
    await world.t
      .sql`insert into role_grants ${world.t.sql({ userId: id, role: 'operator', targetGroupId: alfa.groupId })}`;
    expect(await answerOf(id, query)).toMatchObject({ isAllowed: true });
  });

  test('for a permission without scopes require it everywhere', async () => {
    const [admin, local] = ['admin everywhere', `admin segment:${world.alfa.segmentId}`].map(
      (name) => everybody.find(({ persona }) => persona.name === name)?.id ?? 0,
    );
    expect(await answerOf(admin ?? 0, 'permission=people.edit')).toMatchObject({ isAllowed: true });
    expect(await answerOf(local ?? 0, 'permission=people.edit')).toMatchObject({
      isAllowed: false,
      needs: [{ on: null, missing: 'Missing: people.edit, granted everywhere.' }],
    });
  });

  test('for a run that two grants cover only together name both', async () => {
    const { alfa, zeta, t } = world;
    const { id } = await add({
      name: 'cy',
      grants: [alfa, zeta].map((side) => ({ role: 'operator', scope: `segment:${side.segmentId}` })),
    });
    const both = world.ended.at(-1);
    const answer = await answerOf(id, `permission=run&run=${both?.id}`);
    expect(answer).toMatchObject({ isAllowed: true, needs: [{ grants: [{}, {}] }] });
    await t.sql`delete from role_grants where user_id = ${id} and segment_id = ${zeta.segmentId}`;
    expect(await answerOf(id, `permission=run&run=${both?.id}`)).toMatchObject({ isAllowed: false });
    expect(await answerOf(id, `permission=read&run=${both?.id}`)).toMatchObject({ isAllowed: true });
  });

  test('for an inactive user list no grants that count', async () => {
    const { id } = await add({ name: 'di', grants: [{ role: 'admin', scope: null }] });
    await world.t.sql`update users set is_active = false where id = ${id}`;
    expect(await answerOf(id, `permission=run&job=${world.alfa.jobId}`)).toMatchObject({
      isAllowed: false,
      summary: 'di is not active and may do nothing.',
    });
  });
});

describe('a caller who asks', () => {
  test('about themselves is told the same, and nothing about what they may not see', async () => {
    const { alfa, zeta } = world;
    const viewer = everybody.find(({ persona }) => persona.name === `viewer category:${alfa.categoryId}`);
    const ask = (query: string) => get(`me/access?${query}`, viewer?.token);
    expect((await ask(`permission=run&job=${alfa.jobId}`)).body.answer).toMatchObject({ isAllowed: false });
    expect((await ask('')).body).toEqual((await get(`users/${viewer?.id}/access`)).body);
    for (const query of [
      `job=${zeta.jobId}`,
      `target=${alfa.targetId}`,
      `segment=${alfa.segmentId}`,
      'job=99999',
    ]) {
      expect([query, (await ask(`permission=run&${query}`)).status]).toEqual([query, 404]);
    }
  });

  test('a question that makes no sense is answered so', async () => {
    const { id } = everybody[0] ?? { id: 0 };
    const { alfa } = world;
    for (const query of [
      `permission=jobs.edit&target=${alfa.targetId}`,
      `permission=segments.edit&targetGroup=${alfa.groupId}`,
      `permission=people.edit&job=${alfa.jobId}`,
      `job=${alfa.jobId}`,
      'permission=self',
    ]) {
      expect([query, (await get(`users/${id}/access?${query}`)).status]).toEqual([query, 400]);
    }
    expect((await get('users/99999/access')).status).toBe(404);
  });
});
