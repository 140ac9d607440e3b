// Imports on a real database: planned, applied once and whole, refused if the targets have changed.
import { type InventoryOptions, limits } from '@opsconductor/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Authority, type Grant } from '../auth/authority.ts';
import {
  makeSegment,
  setupInstallation,
  type TestInstallation,
  waitUntilBlocked,
} from '../segments/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTargetGroup, updateTargetGroup } from '../target-groups/edit-target-groups.ts';
import { createTarget, updateTarget } from '../targets/edit-targets.ts';
import { listTargets } from '../targets/list-targets.ts';
import { applyPlan } from './apply-plan.ts';
import {
  createInventory,
  deleteInventory,
  getInventory,
  listInventories,
  updateInventory,
} from './edit-inventories.ts';
import { getPlan, listPlanHeads, planInventory } from './make-plan.ts';
import { readInventory } from './parse-inventory.ts';
import { putHosts } from './put-hosts.ts';

let t: TestInstallation;
let count = 0;
let segment: { id: number; name: string };
let inventoryId: number;
beforeAll(async () => {
  t = await setupInstallation();
});
afterAll(() => t?.close());
beforeEach(async () => {
  count += 1;
  segment = await makeSegment(t, `segment-${count}`);
  inventoryId = await makeInventory();
});

let inventories = 0;
async function makeInventory(options: InventoryOptions = {}): Promise<number> {
  inventories += 1;
  const request = {
    name: `inventory ${inventories}`,
    format: 'csv' as const,
    segmentId: segment.id,
    options,
  };
  return (await createInventory(t.sql, request, t.caller)).id;
}

const plan = (content: string, adopt: 'none' | 'by_hand' | 'any' = 'none', id = inventoryId) =>
  planInventory(t.sql, id, { files: [{ path: 'hosts.csv', content }], adopt }, t.caller, readInventory);
const apply = (
  planId: string,
  gone: 'keep' | 'deactivate' | 'delete' = 'keep',
  caller = t.caller,
  id = inventoryId,
) => applyPlan(t.sql, id, planId, { gone }, caller);
const bring = async (content: string, gone: 'keep' | 'deactivate' | 'delete' = 'keep') =>
  apply((await plan(content)).id, gone);
const targets = async () =>
  (await listTargets(t.sql, { segmentId: segment.id, limit: 200 }, unrestricted)).items;
const names = async () => (await targets()).map(({ name, isActive }) => (isActive ? name : `(${name})`));
const granted = (...grants: Partial<Grant>[]) => ({
  ...t.caller,
  name: 'eve',
  authority: new Authority(grants.map((grant) => ({ role: null, permission: null, scope: null, ...grant }))),
});

describe('an import', () => {
  it('changes nothing when it is planned, and everything when it is applied', async () => {
    const planned = await plan(
      'name,host,port,os,label:env\na,10.0.0.1,2222,linux,prod\nb,10.0.0.2,,windows,\n',
    );
    expect(planned).toMatchObject({
      counts: { create: 2, update: 0, unchanged: 0, gone: 0, conflict: 0 },
      createdBy: 'ada',
      appliedAt: null,
      gone: null,
    });
    expect(await names()).toEqual([]);
    const applied = await apply(planned.id);
    expect(applied).toMatchObject({ gone: 'keep', appliedAt: expect.any(String) });
    expect(await targets()).toMatchObject([
      { name: 'a', host: '10.0.0.1', port: 2222, labels: { env: 'prod' }, operatingSystem: 'linux' },
      { name: 'b', host: '10.0.0.2', port: null, labels: {}, operatingSystem: 'windows' },
    ]);
    expect(await getInventory(t.sql, inventoryId, unrestricted)).toMatchObject({
      targetCount: 2,
      lastAppliedAt: expect.any(String),
    });
    const again = await plan(
      'name,host,port,os,label:env\na,10.0.0.1,2222,linux,prod\nb,10.0.0.2,,windows,\n',
    );
    expect(again.counts).toMatchObject({ create: 0, update: 0, unchanged: 2 });
  });

  it('lists its items by page, action and search', async () => {
    await bring('name\na\nb\nold\n');
    const { id } = await plan('name,label:x\na,1\nb,\nc,\nd,\n');
    const page = (query: Parameters<typeof getPlan>[3]) =>
      getPlan(t.sql, inventoryId, id, query, unrestricted);
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
    const first = await bring('name,host\na,10.0.0.1\n', 'deactivate');
    const second = await plan('name,host\na,10.0.0.2\n');
    const { items } = await listPlanHeads(t.sql, inventoryId, t.caller.authority);
    expect(items).toMatchObject([
      { id: second.id, appliedAt: null, gone: null, counts: { update: 1 } },
      { id: first.id, appliedAt: expect.any(String), gone: 'deactivate', counts: { create: 1 } },
    ]);
    expect(items[0]).not.toHaveProperty('findings');
    const scope = { kind: 'segment', id: segment.id } as const;
    const reader = granted({ role: 'viewer', scope });
    expect(await listPlanHeads(t.sql, inventoryId, reader.authority)).toEqual({ items: [] });
    const stranger = granted({ role: 'admin', scope: { kind: 'segment', id: 0 } });
    await expect(listPlanHeads(t.sql, inventoryId, stranger.authority)).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('swaps the names of two targets', async () => {
    const { id } = await createInventory(
      t.sql,
      { name: `api ${count}`, format: 'api', segmentId: segment.id },
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
    expect((await targets()).map(({ name, host }) => `${name} ${host}`)).toEqual([
      'a 10.0.0.2',
      'b 10.0.0.1',
    ]);
  });

  it('forgets the accepted host keys of targets that become another machine, and says so beforehand', async () => {
    await bring('name,host\na,10.0.0.1\nb,10.0.0.2\n');
    const [a, b] = await targets();
    for (const target of [a, b]) {
      await t.sql`insert into target_host_keys (target_id, fingerprint, key_type, state, accepted_at)
                  values (${target?.id ?? 0}, ${`SHA256:${'k'.repeat(43)}`}, 'ssh-ed25519', 'accepted', now())`;
    }
    const { id, counts, items } = await plan('name,host,label:x\na,10.0.0.9,1\nb,10.0.0.2,1\n');
    expect(counts.forgottenHostKeys).toBe(1);
    expect(items.map((item) => item.forgottenHostKeys)).toEqual([1, 0]);
    await apply(id);
    expect((await targets()).map((target) => target.hostKeys.length)).toEqual([0, 1]);
    const [row] = await t.sql`
      select detail from audit_log where object_id = ${String(a?.id)} and action = 'target.changed'`;
    expect(row?.detail.forgottenHostKeys).toEqual([`SHA256:${'k'.repeat(43)}`]);
  });

  it('writes an audit row for each target that it changes, and for itself', async () => {
    await bring('name\na\nb\n');
    await bring('name,label:x\na,1\nc,\n', 'delete');
    const rows = await t.sql<{ action: string; segmentId: number }[]>`
      select action, segment_id from audit_log where segment_id = ${segment.id} and object_kind in ('target', 'inventory')
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
  beforeEach(() => bring('name\na\nb\n'));

  it('stay, are deactivated or deleted, as asked', async () => {
    await bring('name\na\n');
    expect(await names()).toEqual(['a', 'b']);
    await bring('name\na\n', 'deactivate');
    expect(await names()).toEqual(['a', '(b)']);
    await bring('name\na\nb\n');
    expect(await names()).toEqual(['a', 'b']);
    await bring('name\na\n', 'delete');
    expect(await names()).toEqual(['a']);
  });

  it('are not deleted while open runs have work on them, and then nothing else happens either', async () => {
    const [, b] = await targets();
    const { id } = await plan('name\na\nnew\n');
    const [job] = await t.sql<{ id: number }[]>`
      insert into jobs (name, step_types, step_count, data_key) values (${`job ${count}`}, '{ssh.exec}', 1, 'x')
      returning id`;
    await t.sql`insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
                values (${job?.id ?? 0}, 1, '\\x00', '\\x00', '{a}', '{ssh.exec}')`;
    const [run] = await t.sql<{ id: number }[]>`
      insert into job_runs (job_id, job_version, status, data_key, targets_total, total_steps, start_by)
      values (${job?.id ?? 0}, 1, 'running', 'x', 1, 1, now() + interval '1 hour') returning id`;
    await t.sql`insert into job_run_targets (job_run_id, target_id, segment_id, target_name)
                values (${run?.id ?? 0}, ${b?.id ?? 0}, ${segment.id}, 'b')`;
    await expect(apply(id, 'delete')).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'b' }] });
    expect(await names()).toEqual(['a', 'b']);
    await apply(id, 'deactivate');
    expect(await names()).toEqual(['a', '(b)', 'new']);
  });
});

describe('an outdated plan', () => {
  it('is refused with what changed, and none of it is applied', async () => {
    await bring('name,host\na,10.0.0.1\nb,10.0.0.2\n');
    const { id } = await plan('name,host\na,10.0.0.9\nb,10.0.0.2\nc,10.0.0.3\n');
    const [a] = await targets();
    await updateTarget(t.sql, a?.id ?? 0, { name: 'a', host: '10.0.0.9' }, t.caller);
    await createTarget(t.sql, { segmentId: segment.id, name: 'c', host: 'x' }, t.caller);
    await expect(apply(id)).rejects.toMatchObject({
      code: 'conflict',
      details: [
        { path: `${segment.name}: a`, message: 'It is to be changed (host); now It is unchanged.' },
        { path: `${segment.name}: c`, message: 'It is to be created; now It is in conflict (by_hand).' },
      ],
    });
    expect((await targets()).map(({ name, host }) => `${name} ${host}`)).toEqual([
      'a 10.0.0.9',
      'b 10.0.0.2',
      'c x',
    ]);
  });

  it('is applied once, even by two callers at the same time', async () => {
    const { id } = await plan('name\na\nb\n');
    const results = await Promise.allSettled([apply(id), apply(id)]);
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(results.find((result) => result.status === 'rejected')).toMatchObject({
      reason: { code: 'conflict', message: expect.stringMatching(/was applied at/) },
    });
    expect(await names()).toEqual(['a', 'b']);
  });

  it('is refused after a day', async () => {
    const { id } = await plan('name\na\n');
    await t.sql`update inventory_plans set expires_at = now() where id = ${id}`;
    await expect(apply(id)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/has expired/),
    });
  });

  it('leaves no trace if the server dies in the middle of it, and can be applied afterwards', async () => {
    await bring('name\na\nold\n');
    const { id } = await plan('name,label:x\na,1\nnew,\n');
    // It waits to write to the audit log after what is gone has been deleted.
    const blocker = await t.sql.reserve();
    await blocker`begin`;
    await blocker`lock table audit_log in share mode`;
    const applying = apply(id, 'delete');
    applying.catch(() => {});
    await waitUntilBlocked(t, 1);
    await blocker`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    await expect(applying).rejects.toThrow();
    await blocker`rollback`;
    blocker.release();
    expect((await targets()).map(({ name, labels }) => [name, labels])).toEqual([
      ['a', {}],
      ['old', {}],
    ]);
    await apply(id, 'delete');
    expect(await names()).toEqual(['a', 'new']);
  });
});

describe('targets that already exist', () => {
  it('are in conflict, so that the plan can’t be applied, until they are adopted', async () => {
    await createTarget(
      t.sql,
      { segmentId: segment.id, name: 'a', host: 'a', labels: { mine: '' } },
      t.caller,
    );
    const refused = await plan('name\na\n');
    expect(refused.items).toMatchObject([{ action: 'conflict', conflict: { reason: 'by_hand' } }]);
    await expect(apply(refused.id)).rejects.toMatchObject({ code: 'conflict' });
    const adopting = await plan('name,label:env\na,prod\n', 'by_hand');
    expect(adopting.items).toMatchObject([{ action: 'update', adoptedFrom: 'by hand' }]);
    await apply(adopting.id);
    expect(await targets()).toMatchObject([{ labels: { env: 'prod', mine: '' } }]);
  });

  it('are taken over from another inventory only if the request says so', async () => {
    await bring('name\na\n');
    const other = await makeInventory();
    expect((await plan('name\na\n', 'by_hand', other)).items).toMatchObject([
      { conflict: { reason: 'other_inventory' } },
    ]);
    const { id, items } = await plan('name\na\n', 'any', other);
    expect(items[0]?.adoptedFrom).toMatch(/^inventory /);
    await apply(id, 'keep', t.caller, other);
    expect((await plan('name\nb\n')).counts).toMatchObject({ create: 1, gone: 0 });
  });

  it('count as created by hand once their inventory is deleted', async () => {
    await bring('name\na\n');
    await expect(deleteInventory(t.sql, inventoryId, {}, t.caller)).rejects.toMatchObject({
      code: 'conflict',
    });
    await deleteInventory(t.sql, inventoryId, { targets: 'keep' }, t.caller);
    inventoryId = await makeInventory();
    expect((await plan('name\na\n')).items).toMatchObject([{ conflict: { reason: 'by_hand' } }]);
  });
});

it('moving an inventory is audited in its old segment and in its new one', async () => {
  const other = await makeSegment(t, `segment-to-${count}`);
  const { name } = await getInventory(t.sql, inventoryId, unrestricted);
  const move = (segmentId: number | null) =>
    updateInventory(t.sql, inventoryId, { name, segmentId }, t.caller);
  await move(segment.id);
  const told = async () =>
    (
      await t.sql<{ segmentId: number | null }[]>`
        select segment_id from audit_log where action = 'inventory.changed' and object_id = ${String(inventoryId)}
        order by id`
    ).map((row) => row.segmentId);
  const before = (await told()).length;
  await move(other.id);
  await move(null);
  await move(null);
  expect((await told()).slice(before)).toEqual([segment.id, other.id, other.id, null]);
});

it('an inventory changes in the fields of a request, if they still have the expected values', async () => {
  const { name } = await getInventory(t.sql, inventoryId, unrestricted);
  const update = (request: Parameters<typeof updateInventory>[2]) =>
    updateInventory(t.sql, inventoryId, request, t.caller);
  const options = { groups: 'none' } as const;
  await update({ segmentId: segment.id });
  expect(await update({ options })).toMatchObject({ name, segmentId: segment.id, options });
  const late = update({ options: {}, expected: { options: {}, name } });
  await expect(late).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'expected.options' }] });
  expect(await update({ name: `${name} b`, expected: { options, name } })).toMatchObject({ options });
});

describe('groups of an inventory', () => {
  it('become target groups, which are created if missing; a target leaves one when the inventory no longer lists it there', async () => {
    inventoryId = await makeInventory({ groups: 'target_groups' });
    const [web, db] = [`web-${count}`, `db-${count}`];
    await createTargetGroup(t.sql, { name: db }, t.caller);
    const planned = await plan(`name,groups\na,${web}\nb,${web};${db}\n`);
    expect(planned.newGroups).toEqual([web]);
    await apply(planned.id);
    const groupsOf = async () =>
      (await targets()).map(({ groups }) => groups.map(({ name }) => name).join('+'));
    expect(await groupsOf()).toEqual([web, `${db}+${web}`]);
    const [a] = await targets();
    const group = a?.groups[0];
    await updateTargetGroup(
      t.sql,
      group?.id ?? 0,
      { name: web, excludedTargetIds: [a?.id ?? 0], targetIds: [] },
      t.caller,
    );
    const later = await plan(`name,groups\na,${web}\nb,${db}\n`);
    expect(later.counts).toMatchObject({ unchanged: 2, update: 0 });
    await bring(`name,groups\na,${web}\nb,\n`);
    expect(await groupsOf()).toEqual(['', '']);
  });

  it('need the right to edit target groups', async () => {
    inventoryId = await makeInventory({ groups: 'target_groups' });
    const scope = { kind: 'segment', id: segment.id } as const;
    const caller = granted({ role: 'admin', scope });
    const files = [{ path: 'hosts.csv', content: 'name,groups\na,web\n' }];
    await expect(planInventory(t.sql, inventoryId, { files }, caller, readInventory)).rejects.toMatchObject({
      permission: 'target_groups.edit',
    });
  });

  it('give nobody rights that the importer does not hold', async () => {
    const name = `prod-${count}`;
    const group = await createTargetGroup(
      t.sql,
      { name, selector: `env=prod segment:${segment.name}` },
      t.caller,
    );
    await t.sql`insert into role_grants (user_id, role, target_group_id) values (${t.caller.userId}, 'operator', ${group.id})`;
    const scope = { kind: 'segment', id: segment.id } as const;
    const caller = granted({ role: 'viewer', scope }, { permission: 'targets.edit', scope });
    const { id } = await plan('name,label:env\na,prod\n');
    await expect(apply(id, 'keep', caller)).rejects.toMatchObject({ permission: 'run' });
    expect(await names()).toEqual([]);
    await apply(id);
    expect((await targets())[0]?.groups).toEqual([{ id: group.id, name }]);
  });
});

describe('rights', () => {
  const segmentScope = () => ({ kind: 'segment', id: segment.id }) as const;

  it('are needed in every segment that the file names', async () => {
    const other = await makeSegment(t, `other-${count}`);
    const hidden = await makeSegment(t, `hidden-${count}`);
    const scope = { kind: 'segment', id: other.id } as const;
    const caller = granted({ role: 'admin', scope: segmentScope() }, { role: 'viewer', scope });
    const planAs = (name: string) =>
      planInventory(
        t.sql,
        inventoryId,
        { files: [{ path: 'f', content: `name,segment\na,${name}\n` }] },
        caller,
        readInventory,
      );
    expect((await planAs(segment.name)).counts.create).toBe(1);
    await expect(planAs(other.name)).rejects.toMatchObject({
      permission: 'targets.edit',
      message: expect.stringContaining(other.name),
    });
    for (const name of [hidden.name, 'nowhere']) {
      await expect(planAs(name)).rejects.toMatchObject({
        code: 'invalid',
        details: [{ path: 'f:2', message: `There is no segment “${name}”.` }],
      });
    }
  });

  it('are needed in each segment where the inventory has targets, and plans that also concern other segments are not visible', async () => {
    const hidden = await makeSegment(t, `secret-${count}`);
    const { id } = await plan(`name,segment\na,${hidden.name}\nb,${segment.name}\n`);
    const caller = granted({ role: 'admin', scope: segmentScope() });
    const reaches = caller.authority.reach('targets.edit');
    await expect(getPlan(t.sql, inventoryId, id, {}, reaches)).rejects.toMatchObject({ code: 'not_found' });
    await expect(apply(id, 'keep', caller)).rejects.toMatchObject({ code: 'not_found' });
    await apply(id);
    const files = [{ path: 'f', content: 'name\nb\n' }];
    const refused = planInventory(t.sql, inventoryId, { files }, caller, readInventory);
    await expect(refused).rejects.toMatchObject({ permission: 'targets.edit' });
    await expect(refused).rejects.not.toMatchObject({ message: expect.stringContaining(hidden.name) });
  });

  it('decide which inventories are visible, and how many of their targets are counted', async () => {
    await bring('name\na\nb\n');
    const reach = (scope: Grant['scope']) => granted({ role: 'viewer', scope }).authority.reach('read');
    const seen = await listInventories(t.sql, {}, reach(segmentScope()));
    expect(seen.items).toMatchObject([{ id: inventoryId, targetCount: 2 }]);
    const elsewhere = await makeSegment(t, `elsewhere-${count}`);
    const scope = { kind: 'segment', id: elsewhere.id } as const;
    expect((await listInventories(t.sql, {}, reach(scope))).items).toEqual([]);
    const everywhere = await createInventory(t.sql, { name: `all ${count}`, format: 'csv' }, t.caller);
    await expect(getInventory(t.sql, everywhere.id, reach(segmentScope()))).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('are needed to create and change an inventory', async () => {
    const caller = granted({ role: 'viewer' }, { permission: 'targets.edit', scope: segmentScope() });
    const request = { name: `eve ${count}`, format: 'csv' as const };
    await expect(createInventory(t.sql, request, caller)).rejects.toMatchObject({
      permission: 'targets.edit',
    });
    const own = await createInventory(t.sql, { ...request, segmentId: segment.id }, caller);
    const change = (segmentId: number | null) =>
      updateInventory(t.sql, own.id, { name: own.name, segmentId }, caller);
    await expect(change(null)).rejects.toMatchObject({ permission: 'targets.edit' });
    expect((await change(segment.id)).segmentId).toBe(segment.id);
  });
});

describe('what can’t be imported', () => {
  it('is reported with file and line, and no plan is made', async () => {
    await expect(plan('name,host\na b!,x\nc,\n')).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'hosts.csv:2' }],
    });
    await expect(plan('name\n"a')).rejects.toMatchObject({ code: 'invalid' });
    expect(await t.sql`select from inventory_plans where inventory_id = ${inventoryId}`).toHaveLength(0);
  });

  it('includes hosts without a segment', async () => {
    const { id } = await createInventory(t.sql, { name: `of none ${count}`, format: 'csv' }, t.caller);
    await expect(plan('name\na\n', 'none', id)).rejects.toMatchObject({ details: [{ path: 'hosts.csv:2' }] });
  });

  it('includes files for an inventory of format api, and hosts for one of another format', async () => {
    const api = await createInventory(t.sql, { name: `program ${count}`, format: 'api' }, t.caller);
    await expect(plan('name\na\n', 'none', api.id)).rejects.toMatchObject({ code: 'invalid' });
    await expect(putHosts(t.sql, inventoryId, { hosts: [] }, t.caller)).rejects.toMatchObject({
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
  const planned = await planInventory(t.sql, inventoryId, { files }, t.caller, readInventory);
  await apply(planned.id);
  expect((await getInventory(t.sql, inventoryId, unrestricted)).targetCount).toBe(limits.maxTargetsPerRun);
});
