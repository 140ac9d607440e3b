// Imports on a real database: planned, applied once and whole, refused if the targets have changed.
import { limits } from '@opsconductor/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { waitUntilBlocked } from '../segments/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTargetGroup, updateTargetGroup } from '../target-groups/edit-target-groups.ts';
import { createTarget, updateTarget } from '../targets/edit-targets.ts';
import { createInventory, deleteInventory, getInventory } from './edit-inventories.ts';
import { getPlan, listPlanHeads, planInventory } from './make-plan.ts';
import { putHosts } from './put-hosts.ts';
import { readInventory } from './read-inventory.ts';
import { setupImports, type TestImports } from './testing.ts';

let t: TestImports;
beforeAll(async () => {
  t = await setupImports();
});
afterAll(() => t?.close());
beforeEach(() => t.renew());

describe('an import', () => {
  it('changes nothing when it is planned, and everything when it is applied', async () => {
    const planned = await t.plan(
      'name,host,port,os,label:env\na,10.0.0.1,2222,linux,prod\nb,10.0.0.2,,windows,\n',
    );
    expect(planned).toMatchObject({
      counts: { create: 2, update: 0, unchanged: 0, gone: 0, conflict: 0 },
      createdBy: 'ada',
      appliedAt: null,
      gone: null,
    });
    expect(await t.names()).toEqual([]);
    const applied = await t.apply(planned.id);
    expect(applied).toMatchObject({ gone: 'keep', appliedAt: expect.any(String) });
    expect(await t.targets()).toMatchObject([
      { name: 'a', host: '10.0.0.1', port: 2222, labels: { env: 'prod' }, operatingSystem: 'linux' },
      { name: 'b', host: '10.0.0.2', port: null, labels: {}, operatingSystem: 'windows' },
    ]);
    expect(await getInventory(t.sql, t.inventoryId, unrestricted)).toMatchObject({
      targetCount: 2,
      lastAppliedAt: expect.any(String),
    });
    const again = await t.plan(
      'name,host,port,os,label:env\na,10.0.0.1,2222,linux,prod\nb,10.0.0.2,,windows,\n',
    );
    expect(again.counts).toMatchObject({ create: 0, update: 0, unchanged: 2 });
  });

  it('lists its items by page, action and search', async () => {
    await t.bring('name\na\nb\nold\n');
    const { id } = await t.plan('name,label:x\na,1\nb,\nc,\nd,\n');
    const page = (query: Parameters<typeof getPlan>[3]) => getPlan(t.sql, t.inventoryId, id, query, t.caller);
    const first = await page({ limit: 3 });
    expect(first.items.map(({ name, action }) => `${action} ${name}`)).toEqual([
      'update a',
      'unchanged b',
      'create c',
    ]);
    const rest = await page({ limit: 3, cursor: first.nextCursor ?? '' });
    expect(rest.items.map(({ name, action }) => `${action} ${name}`)).toEqual(['create d', 'gone old']);
    expect(rest.nextCursor).toBeNull();
    expect((await page({ action: 'create' })).items).toHaveLength(2);
    expect((await page({ search: 'OL' })).items).toMatchObject([{ name: 'old', line: null }]);
    expect(first.items[0]).toMatchObject({ file: 'hosts.csv', line: 2, targetId: expect.any(Number) });
  });

  it('is listed with previous ones, newest first, for callers who may import', async () => {
    const first = await t.bring('name,host\na,10.0.0.1\n', 'deactivate');
    const second = await t.plan('name,host\na,10.0.0.2\n');
    const { items } = await listPlanHeads(t.sql, t.inventoryId, t.caller);
    expect(items).toMatchObject([
      { id: second.id, appliedAt: null, gone: null, counts: { update: 1 } },
      { id: first.id, appliedAt: expect.any(String), gone: 'deactivate', counts: { create: 1 } },
    ]);
    expect(items[0]).not.toHaveProperty('findings');
    const scope = { kind: 'segment', id: t.segment.id } as const;
    const reader = t.granted({ role: 'viewer', scope });
    expect(await listPlanHeads(t.sql, t.inventoryId, reader)).toEqual({ items: [] });
    const stranger = t.granted({ role: 'admin', scope: { kind: 'segment', id: 0 } });
    await expect(listPlanHeads(t.sql, t.inventoryId, stranger)).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('swaps the names of two targets', async () => {
    const { id } = await createInventory(
      t.sql,
      { name: `api ${t.count}`, format: 'api', segmentId: t.segment.id },
      t.caller,
    );
    const put = (a: string, b: string) =>
      putHosts(
        t.sql,
        id,
        {
          hosts: [
            { key: '1', name: a, host: '10.0.0.1' },
            { key: '2', name: b, host: '10.0.0.2' },
          ],
          apply: { gone: 'keep' },
        },
        t.caller,
      );
    await put('a', 'b');
    expect((await put('b', 'a')).counts).toMatchObject({ update: 2 });
    expect((await t.targets()).map(({ name, host }) => `${name} ${host}`)).toEqual([
      'a 10.0.0.2',
      'b 10.0.0.1',
    ]);
  });

  it('forgets the accepted host keys and the health of targets that become another machine, and says so beforehand of the keys', async () => {
    await t.bring('name,host\na,10.0.0.1\nb,10.0.0.2\n');
    const [a, b] = await t.targets();
    for (const target of [a, b]) {
      await t.sql`insert into target_host_keys (target_id, fingerprint, key_type, state, accepted_at)
                  values (${target?.id ?? 0}, ${`SHA256:${'k'.repeat(43)}`}, 'ssh-ed25519', 'accepted', now())`;
    }
    await t.sql`update targets set last_contact_at = now(), last_contact_ok = true`;
    const { id, counts, items } = await t.plan('name,host,label:x\na,10.0.0.9,1\nb,10.0.0.2,1\n');
    expect(counts.forgottenHostKeys).toBe(1);
    expect(items.map((item) => item.forgottenHostKeys)).toEqual([1, 0]);
    await t.apply(id);
    expect((await t.targets()).map((target) => target.hostKeys.length)).toEqual([0, 1]);
    expect((await t.targets()).map((target) => target.health)).toEqual(['never', 'ok']);
    const [row] = await t.sql`
      select detail from audit_log where object_id = ${String(a?.id)} and action = 'target.changed'`;
    expect(row?.detail.forgottenHostKeys).toEqual([`SHA256:${'k'.repeat(43)}`]);
  });

  it('writes an audit row for each target that it changes, and for itself', async () => {
    await t.bring('name\na\nb\n');
    await t.bring('name,label:x\na,1\nc,\n', 'delete');
    const rows = await t.sql<{ action: string; segmentId: number }[]>`
      select action, segment_id from audit_log where segment_id = ${t.segment.id} and object_kind in ('target', 'inventory')
      order by id`;
    expect(rows.map((row) => row.action)).toEqual([
      'inventory.created',
      'target.created',
      'target.created',
      'inventory.applied',
      'target.deleted',
      'target.changed',
      'target.created',
      'inventory.applied',
    ]);
  });
});

describe('gone targets', () => {
  beforeEach(() => t.bring('name\na\nb\n'));

  it('stay, are deactivated or deleted, as asked', async () => {
    await t.bring('name\na\n');
    expect(await t.names()).toEqual(['a', 'b']);
    await t.bring('name\na\n', 'deactivate');
    expect(await t.names()).toEqual(['a', '(b)']);
    await t.bring('name\na\nb\n');
    expect(await t.names()).toEqual(['a', 'b']);
    await t.bring('name\na\n', 'delete');
    expect(await t.names()).toEqual(['a']);
  });

  it('are not deleted while open runs have work on them, and then nothing else happens either', async () => {
    const [, b] = await t.targets();
    const { id } = await t.plan('name\na\nnew\n');
    const [job] = await t.sql<{ id: number }[]>`
      insert into jobs (name, step_types, step_count, data_key) values (${`job ${t.count}`}, '{ssh.exec}', 1, 'x')
      returning id`;
    await t.sql`insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
                values (${job?.id ?? 0}, 1, '\\x00', '\\x00', '{a}', '{ssh.exec}')`;
    const [run] = await t.sql<{ id: number }[]>`
      insert into job_runs (job_id, job_version, status, data_key, targets_total, total_steps, start_by)
      values (${job?.id ?? 0}, 1, 'running', 'x', 1, 1, now() + interval '1 hour') returning id`;
    await t.sql`insert into job_run_targets (job_run_id, target_id, segment_id, target_name)
                values (${run?.id ?? 0}, ${b?.id ?? 0}, ${t.segment.id}, 'b')`;
    await expect(t.apply(id, 'delete')).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'b' }] });
    expect(await t.names()).toEqual(['a', 'b']);
    await t.apply(id, 'deactivate');
    expect(await t.names()).toEqual(['a', '(b)', 'new']);
  });
});

describe('an outdated plan', () => {
  it('is refused with what changed, and none of it is applied', async () => {
    await t.bring('name,host\na,10.0.0.1\nb,10.0.0.2\n');
    const { id } = await t.plan('name,host\na,10.0.0.9\nb,10.0.0.2\nc,10.0.0.3\n');
    const [a] = await t.targets();
    await updateTarget(t.sql, a?.id ?? 0, { name: 'a', host: '10.0.0.9' }, t.caller);
    await createTarget(t.sql, { segmentId: t.segment.id, name: 'c', host: 'x' }, t.caller);
    await expect(t.apply(id)).rejects.toMatchObject({
      code: 'conflict',
      details: [
        { path: `${t.segment.name}: a`, message: 'It is to be changed (host); now It is unchanged.' },
        { path: `${t.segment.name}: c`, message: 'It is to be created; now It is in conflict (by_hand).' },
      ],
    });
    expect((await t.targets()).map(({ name, host }) => `${name} ${host}`)).toEqual([
      'a 10.0.0.9',
      'b 10.0.0.2',
      'c x',
    ]);
  });

  it('is applied once, even by two callers at the same time', async () => {
    const { id } = await t.plan('name\na\nb\n');
    const results = await Promise.allSettled([t.apply(id), t.apply(id)]);
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(results.find((result) => result.status === 'rejected')).toMatchObject({
      reason: { code: 'conflict', message: expect.stringMatching(/was applied at/) },
    });
    expect(await t.names()).toEqual(['a', 'b']);
  });

  it('is refused after a day', async () => {
    const { id } = await t.plan('name\na\n');
    await t.sql`update inventory_plans set expires_at = now() where id = ${id}`;
    await expect(t.apply(id)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/has expired/),
    });
  });

  it('leaves no trace if the server dies in the middle of it, and can be applied afterwards', async () => {
    await t.bring('name\na\nold\n');
    const { id } = await t.plan('name,label:x\na,1\nnew,\n');
    // It waits to write to the audit log after what is gone has been deleted.
    const blocker = await t.sql.reserve();
    await blocker`begin`;
    await blocker`lock table audit_log in share mode`;
    const applying = t.apply(id, 'delete');
    applying.catch(() => {});
    await waitUntilBlocked(t, 1);
    await blocker`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    await expect(applying).rejects.toThrow();
    await blocker`rollback`;
    blocker.release();
    expect((await t.targets()).map(({ name, labels }) => [name, labels])).toEqual([
      ['a', {}],
      ['old', {}],
    ]);
    await t.apply(id, 'delete');
    expect(await t.names()).toEqual(['a', 'new']);
  });
});

describe('targets that already exist', () => {
  it('are in conflict, so that the plan can’t be applied, until they are adopted', async () => {
    await createTarget(
      t.sql,
      { segmentId: t.segment.id, name: 'a', host: 'a', labels: { mine: '' } },
      t.caller,
    );
    const refused = await t.plan('name\na\n');
    expect(refused.items).toMatchObject([{ action: 'conflict', conflict: { reason: 'by_hand' } }]);
    await expect(t.apply(refused.id)).rejects.toMatchObject({ code: 'conflict' });
    const adopting = await t.plan('name,label:env\na,prod\n', 'by_hand');
    expect(adopting.items).toMatchObject([{ action: 'update', adoptedFrom: 'by hand' }]);
    await t.apply(adopting.id);
    expect(await t.targets()).toMatchObject([{ labels: { env: 'prod', mine: '' } }]);
  });

  it('are taken over from another inventory only if the request says so', async () => {
    await t.bring('name\na\n');
    const other = await t.makeInventory();
    expect((await t.plan('name\na\n', 'by_hand', other)).items).toMatchObject([
      { conflict: { reason: 'other_inventory' } },
    ]);
    const { id, items } = await t.plan('name\na\n', 'any', other);
    expect(items[0]?.adoptedFrom).toMatch(/^inventory /);
    await t.apply(id, 'keep', t.caller, other);
    expect((await t.plan('name\nb\n')).counts).toMatchObject({ create: 1, gone: 0 });
  });

  it('count as created by hand once their inventory is deleted', async () => {
    await t.bring('name\na\n');
    await expect(deleteInventory(t.sql, t.inventoryId, {}, t.caller)).rejects.toMatchObject({
      code: 'conflict',
    });
    await deleteInventory(t.sql, t.inventoryId, { targets: 'keep' }, t.caller);
    t.inventoryId = await t.makeInventory();
    expect((await t.plan('name\na\n')).items).toMatchObject([{ conflict: { reason: 'by_hand' } }]);
  });
});

describe('groups of an inventory', () => {
  it('become target groups, which are created if missing; a target leaves one when the inventory no longer lists it there', async () => {
    t.inventoryId = await t.makeInventory({ groups: 'target_groups' });
    const [web, db] = [`web-${t.count}`, `db-${t.count}`];
    await createTargetGroup(t.sql, { name: db }, t.caller);
    const planned = await t.plan(`name,groups\na,${web}\nb,${web};${db}\n`);
    expect(planned.newGroups).toEqual([web]);
    await t.apply(planned.id);
    const groupsOf = async () =>
      (await t.targets()).map(({ groups }) => groups.map(({ name }) => name).join('+'));
    expect(await groupsOf()).toEqual([web, `${db}+${web}`]);
    const [a] = await t.targets();
    const group = a?.groups[0];
    await updateTargetGroup(
      t.sql,
      group?.id ?? 0,
      { name: web, excludedTargetIds: [a?.id ?? 0], targetIds: [] },
      t.caller,
    );
    const later = await t.plan(`name,groups\na,${web}\nb,${db}\n`);
    expect(later.counts).toMatchObject({ unchanged: 2, update: 0 });
    await t.bring(`name,groups\na,${web}\nb,\n`);
    expect(await groupsOf()).toEqual(['', '']);
  });
});

describe('what can’t be imported', () => {
  it('is reported with file and line, and no plan is made', async () => {
    await expect(t.plan('name,host\na b!,x\nc,\n')).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'hosts.csv:2' }],
    });
    await expect(t.plan('name\n"a')).rejects.toMatchObject({ code: 'invalid' });
    expect(await t.sql`select from inventory_plans where inventory_id = ${t.inventoryId}`).toHaveLength(0);
  });

  it('includes hosts without a segment', async () => {
    const { id } = await createInventory(t.sql, { name: `of none ${t.count}`, format: 'csv' }, t.caller);
    await expect(t.plan('name\na\n', 'none', id)).rejects.toMatchObject({
      details: [{ path: 'hosts.csv:2' }],
    });
  });

  it('is never answered with a plan that is not found, however many put hosts at the same moment', async () => {
    const { id } = await createInventory(
      t.sql,
      { name: `at once ${t.count}`, format: 'api', segmentId: t.segment.id },
      t.caller,
    );
    const put = (n: number) =>
      putHosts(t.sql, id, { hosts: [{ name: 'a', host: `10.0.1.${n}` }], apply: { gone: 'keep' } }, t.caller);
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => put(n)));
    const codes = results.map((one) => (one.status === 'fulfilled' ? 'done' : one.reason.code));
    expect([...new Set(codes)].sort()).toEqual(['conflict', 'done']);
  });

  it('is never an import that was applied, however many planned others before it was answered', async () => {
    const { id } = await createInventory(
      t.sql,
      { name: `crowded ${t.count}`, format: 'api', segmentId: t.segment.id },
      t.caller,
    );
    await t.sql`
      create function others_plan() returns trigger language plpgsql as
        $$ begin delete from inventory_plans where id = new.id; return null; end $$`;
    await t.sql`
      create constraint trigger others_plan after update of applied_at on inventory_plans
        initially deferred for each row execute function others_plan()`;
    try {
      const hosts = [{ name: 'a', host: '10.0.1.1' }];
      expect(await putHosts(t.sql, id, { hosts, apply: { gone: 'keep' } }, t.caller)).toMatchObject({
        appliedAt: expect.any(String),
        items: [{ action: 'create', name: 'a' }],
      });
    } finally {
      await t.sql`drop function others_plan cascade`;
    }
  });

  it('includes files for an inventory of format api, and hosts for one of another format', async () => {
    const api = await createInventory(t.sql, { name: `program ${t.count}`, format: 'api' }, t.caller);
    await expect(t.plan('name\na\n', 'none', api.id)).rejects.toMatchObject({ code: 'invalid' });
    await expect(putHosts(t.sql, t.inventoryId, { hosts: [] }, t.caller)).rejects.toMatchObject({
      code: 'invalid',
    });
  });
});

it('an import of as many hosts as a run may have is planned and applied completely', async () => {
  const rows = Array.from(
    { length: limits.maxTargetsPerRun },
    (_, n) => `h${n},10.0.${n >> 8}.${n & 255},${n % 9}`,
  );
  const files = [{ path: 'hosts.csv', content: `name,host,label:rack\n${rows.join('\n')}` }];
  const planned = await planInventory(t.sql, t.inventoryId, { files }, t.caller, readInventory);
  await t.apply(planned.id);
  expect((await getInventory(t.sql, t.inventoryId, unrestricted)).targetCount).toBe(limits.maxTargetsPerRun);
});
