import { signingPublicKeyOf } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '../errors.ts';
import { findSegment } from '../store/agents/segments.ts';
import { encodeCursor } from '../store/database/cursor.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { changeUnknownAfter } from './change-unknown-after.ts';
import { createSegment } from './create-segment.ts';
import { getSegment, healthOf, listSegments } from './list-segments.ts';
import { openRoot, sealRoot } from './segment-root.ts';
import {
  makeFirstAgent,
  makeSegment,
  openSession,
  setupInstallation,
  type TestInstallation,
} from './testing.ts';

let t: TestInstallation;
beforeAll(async () => {
  t = await setupInstallation();
});
afterAll(() => t.close());

describe('creating a segment', () => {
  it('keeps the private half of the root sealed, and it matches the public half', async () => {
    const segment = await makeSegment(t, 'sealed-root');
    const row = await findSegment(t.sql, segment.id);
    expect(row?.rootKeySealed).not.toBeNull();
    const privateKey = openRoot(t.masterKey, row as NonNullable<typeof row>);
    expect(Buffer.from(await signingPublicKeyOf(privateKey))).toEqual(row?.rootKey);
    expect(row?.rootKeySealed?.includes(privateKey)).toBe(false);
  });

  it('seals a root to its segment: another segment’s row does not open it', async () => {
    const sealed = sealRoot(t.masterKey, 7, Buffer.alloc(32, 1));
    expect(() => openRoot(t.masterKey, { id: 8, name: 'other', rootKeySealed: sealed })).toThrow(/altered/);
  });

  it('returns what was stored, and starts without agents and key', async () => {
    const segment = await createSegment(
      t.sql,
      t.masterKey,
      { name: 'fresh', description: 'Branch office, "Zürich" 🏔', unknownAfter: 60 },
      t.caller,
    );
    expect(segment).toMatchObject({
      name: 'fresh',
      description: 'Branch office, "Zürich" 🏔',
      unknownAfter: 60,
      root: 'managed',
      keyGeneration: 0,
      health: 'no_agent',
      targetCount: 0,
      waitingSteps: 0,
    });
    expect(segment.rootFingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
    expect(await getSegment(t.sql, segment.id, unrestricted)).toEqual(segment);
  });

  it('changes how long its agents may be silent, with an audit row that has the previous value', async () => {
    const { id, unknownAfter } = await makeSegment(t, 'patient');
    expect(await changeUnknownAfter(t.sql, id, 900, t.caller)).toMatchObject({ id, unknownAfter: 900 });
    const [row] = await t.sql`
      select detail from audit_log where action = 'segment.unknown_after_changed' and segment_id = ${id}`;
    expect(row?.detail).toEqual({ segment: 'patient', from: unknownAfter, to: 900 });
  });

  it('records nothing if its agents may be silent for as long as before', async () => {
    const { id, unknownAfter } = await makeSegment(t, 'the same');
    await changeUnknownAfter(t.sql, id, unknownAfter, t.caller);
    const rows = await t.sql`
      select detail from audit_log where action = 'segment.unknown_after_changed' and segment_id = ${id}`;
    expect(rows).toEqual([]);
  });

  it('refuses a name that is taken and names the field', async () => {
    await makeSegment(t, 'taken');
    await expect(makeSegment(t, 'taken')).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'name' }],
    });
  });

  it('refuses text that PostgreSQL cannot store, before it gets there', async () => {
    const create = (description: string) =>
      createSegment(t.sql, t.masterKey, { name: 'nul', description }, t.caller);
    for (const description of ['a\0b', 'half a pair: \ud800']) {
      const error = await create(description).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ code: 'invalid', details: [{ path: 'description' }] });
    }
  });

  it('leaves an audit row in the same transaction', async () => {
    const segment = await makeSegment(t, 'audited');
    const rows = await t.sql`
      select action, actor_name, object_id, address from audit_log
       where action = 'segment.created' and object_id = ${String(segment.id)}`;
    expect(rows).toEqual([
      { action: 'segment.created', actorName: 'ada', objectId: String(segment.id), address: '192.0.2.7' },
    ]);
  });
});

describe('the health of a segment', () => {
  it('depends on its active agents', () => {
    const health = (
      activeAgents: number,
      connectedAgents: number,
      drainingAgents: number,
      barredAgents = 0,
    ) => healthOf({ activeAgents, barredAgents, connectedAgents, drainingAgents });
    expect(health(0, 0, 0)).toBe('no_agent');
    expect(health(0, 0, 0, 1)).toBe('offline');
    expect(health(2, 0, 0)).toBe('offline');
    expect(health(2, 1, 0)).toBe('degraded');
    expect(health(1, 1, 1)).toBe('degraded');
    expect(health(2, 2, 0)).toBe('healthy');
  });

  it('follows the sessions by the database’s clock', async () => {
    const segment = await makeSegment(t, 'health');
    const health = async () => (await getSegment(t.sql, segment.id, unrestricted)).health;
    expect(await health()).toBe('no_agent');
    const { enrolled } = await makeFirstAgent(t, segment.id, 'health-a');
    expect(await health()).toBe('offline');
    await openSession(t, enrolled.agentId);
    expect(await health()).toBe('healthy');
    await openSession(t, enrolled.agentId, { draining: true });
    expect(await health()).toBe('degraded');
    await openSession(t, enrolled.agentId, { expiresInS: -1 });
    expect(await health()).toBe('offline');
    await openSession(t, enrolled.agentId);
    await t.sql`update agents set state = 'quarantined' where id = ${enrolled.agentId}`;
    expect(await health()).toBe('offline');
    await t.sql`update agents set state = 'revoked' where id = ${enrolled.agentId}`;
    expect(await health()).toBe('no_agent');
  });

  it('is also in the list, which is sorted by name', async () => {
    const names = (await listSegments(t.sql, unrestricted)).items.map((segment) => segment.name);
    expect(names).toEqual([...names].sort());
    expect(names).toContain('health');
  });

  it('is found by a part of its name, and listed page by page', async () => {
    for (const name of ['zone-a1', 'zone-a2', 'zone-b1', 'zone-b2']) await makeSegment(t, name);
    const find = async (query: Parameters<typeof listSegments>[2]) => {
      const { items, nextCursor } = await listSegments(t.sql, unrestricted, query);
      return { names: items.map(({ name }) => name), cursor: nextCursor ?? undefined };
    };
    expect(await find({ search: 'ONE-A' })).toEqual({ names: ['zone-a1', 'zone-a2'], cursor: undefined });
    const first = await find({ search: 'zone', limit: 3 });
    expect(first.names).toHaveLength(3);
    const rest = await find({ search: 'zone', limit: 3, cursor: first.cursor ?? '' });
    expect(rest.cursor).toBeUndefined();
    expect([...first.names, ...rest.names]).toEqual((await find({ search: 'zone' })).names);
    expect(await find({ limit: 200, search: 'zone%' })).toEqual({ names: [], cursor: undefined });
  });

  it('is also found by its agents: their names, hostnames, addresses, states and labels', async () => {
    const [near, far] = [await makeSegment(t, 'floor-1'), await makeSegment(t, 'floor-2')];
    const { agentId } = (await makeFirstAgent(t, near.id, 'lathe-a')).enrolled;
    await makeFirstAgent(t, far.id, 'press-a');
    await t.sql`update agents set hostname = 'bench.example', address = '198.51.100.9', state = 'disabled',
                  labels = '{"rack": "r7", "spare": ""}' where id = ${agentId}`;
    const find = async (query: Parameters<typeof listSegments>[2]) =>
      (await listSegments(t.sql, unrestricted, query)).items.map(({ name }) => name);
    for (const search of ['LATHE', 'bench.ex', '100.9', 'disabl', 'rack=r7', 'spare', 'oor-1']) {
      expect(await find({ search, searchIn: 'agents' }), search).toEqual(['floor-1']);
    }
    expect(await find({ search: 'lathe' })).toEqual([]);
    expect(await find({ search: 'spare=', searchIn: 'agents' })).toEqual([]);
    await t.sql`update agents set state = 'revoked' where id = ${agentId}`;
    expect(await find({ search: 'lathe', searchIn: 'agents' })).toEqual([]);
    expect(await find({ search: 'lathe', searchIn: 'all_agents' })).toEqual(['floor-1']);
    const [targetGroup] = await t.sql<{ id: number }[]>`
      with one as (insert into targets (segment_id, name, host) values (${far.id}, 'press', 'press') returning id),
           many as (insert into target_groups (name) values ('presses') returning id)
      insert into target_group_members (target_group_id, target_id)
      select many.id, one.id from many, one returning target_group_id as id`;
    const reach = { everywhere: false, categoryIds: [], segmentIds: [near.id] };
    const member = [{ ...reach, targetGroupIds: [targetGroup?.id ?? 0] }];
    const namedBy = async (search: string) =>
      (await listSegments(t.sql, member, { search, searchIn: 'agents', limit: 10 })).named;
    expect(await namedBy('floor')).toEqual([{ id: far.id, name: 'floor-2' }]);
    expect(await namedBy('press-a')).toEqual([]);
  });

  it('is found by its name alone page by page, if its targets are all that may be seen of it', async () => {
    const { id: open } = await makeSegment(t, 'hall-open');
    const [group] = await t.sql<
      { id: number }[]
    >`insert into target_groups (name) values ('halls') returning id`;
    for (const name of ['hall-1', 'hall-2', 'hall-3', 'hall-4', 'hall-5']) {
      const { id } = await makeSegment(t, name);
      await t.sql`
        with one as (insert into targets (segment_id, name, host) values (${id}, ${name}, ${name}) returning id)
        insert into target_group_members (target_group_id, target_id) select ${group?.id ?? 0}, id from one`;
    }
    const reaches = [
      { everywhere: false, categoryIds: [], segmentIds: [open], targetGroupIds: [group?.id ?? 0] },
    ];
    const pages: { items: string[]; named: string[] }[] = [];
    let namedCursor: string | undefined;
    do {
      const query = { limit: 2, ...(namedCursor === undefined ? {} : { namedCursor }) };
      const page = await listSegments(t.sql, reaches, { ...query, search: 'hall' });
      const names = (of: readonly { name: string }[]) => of.map(({ name }) => name);
      pages.push({ items: names(page.items), named: names(page.named) });
      expect(page.nextCursor).toBeNull();
      namedCursor = page.nextNamedCursor ?? undefined;
    } while (namedCursor !== undefined);
    expect(pages).toEqual([
      { items: ['hall-open'], named: ['hall-1', 'hall-2'] },
      { items: [], named: ['hall-3', 'hall-4'] },
      { items: [], named: ['hall-5'] },
    ]);
    const whole = await listSegments(t.sql, reaches, { search: 'hall' });
    expect([whole.named.length, whole.nextNamedCursor]).toEqual([5, null]);
    const both = { cursor: encodeCursor(['hall-1']), namedCursor: encodeCursor(['hall-1']) };
    await expect(listSegments(t.sql, reaches, both)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'query.namedCursor' }],
    });
    await expect(listSegments(t.sql, reaches, { namedCursor: 'nonsense' })).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'query.namedCursor' }],
    });
  });
});

it('an unknown segment is not found', async () => {
  await expect(getSegment(t.sql, 999_999, unrestricted)).rejects.toMatchObject({ code: 'not_found' });
});
