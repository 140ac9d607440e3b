import { afterAll, beforeEach, expect, it } from 'vitest';
import { Authority } from '../auth/authority.ts';
import type { Caller } from '../caller.ts';
import { makeSegment, setupInstallation, type TestInstallation } from '../segments/testing.ts';
import { labelsInUse } from '../store/people/place-names.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTargetGroup } from '../target-groups/edit-target-groups.ts';
import { bulkChangeTargets } from './bulk-targets.ts';
import { createTarget } from './edit-targets.ts';
import { listTargets } from './list-targets.ts';

let t: TestInstallation;
let ids: number[];
let segmentId: number;
beforeEach(async () => {
  await t?.close();
  t = await setupInstallation();
  segmentId = (await makeSegment(t, 'dmz')).id;
  const names = ['a', 'b', 'c', 'd'];
  ids = [];
  for (const name of names) {
    const labels: Record<string, string> =
      name === 'd' ? {} : { env: name === 'a' ? 'prod' : 'stage', old: '' };
    const more = { labels, isActive: name !== 'c' };
    ids.push((await createTarget(t.sql, { segmentId, name, host: 'h.example', ...more }, t.caller)).id);
  }
});
afterAll(() => t.close());

const bulk = (request: Parameters<typeof bulkChangeTargets>[1], caller = t.caller) =>
  bulkChangeTargets(t.sql, request, caller);
const targets = async (selector = 'name:*') => (await listTargets(t.sql, { selector }, unrestricted)).items;
const namesOf = async (selector: string) => (await targets(selector)).map((target) => target.name);

it('labels are set and unset on all selected targets, active or not', async () => {
  const request = {
    selection: { selector: 'env' },
    setLabels: { env: 'prod', new: 'x' },
    unsetLabels: ['old'],
  };
  expect(await bulk({ ...request, dryRun: true })).toEqual({
    selected: 3,
    changed: 3,
    dryRun: true,
    targets: ['a', 'b', 'c'],
  });
  expect(await namesOf('new')).toEqual([]);
  expect(await bulk(request)).toMatchObject({ selected: 3, changed: 3, dryRun: false });
  expect(await namesOf('env=prod new=x !old')).toEqual(['a', 'b', 'c']);
  expect(await bulk(request)).toMatchObject({ selected: 3, changed: 0, targets: [] });
});

it('only targets that differ count as changed, and only they are audited', async () => {
  const activate = {
    selection: { selector: 'name:*', exclude: { targetIds: [ids[1] ?? 0] } },
    isActive: true,
  };
  expect(await bulk(activate)).toMatchObject({ selected: 3, changed: 1, targets: ['c'] });
  const rows = await t.sql<{ detail: object }[]>`
    select detail from audit_log where action = 'targets.changed'`;
  expect(rows).toMatchObject([{ detail: { isActive: true, count: 1, targetIds: [ids[2]] } }]);
  expect((await targets()).every((target) => target.isActive)).toBe(true);
});

it('targets are added to a group and removed from it, even if its selector would bring them back', async () => {
  const group = await createTargetGroup(t.sql, { name: 'g', selector: 'env=stage' }, t.caller);
  const all = { selection: { targetIds: ids } };
  expect(await bulk({ ...all, addToGroupId: group.id })).toMatchObject({ changed: 4 });
  expect(await namesOf('group:g')).toEqual(['a', 'b', 'c', 'd']);
  expect(
    await bulk({ selection: { selector: 'name:a or name:b' }, removeFromGroupId: group.id }),
  ).toMatchObject({
    changed: 2,
  });
  expect(await namesOf('group:g')).toEqual(['c', 'd']);
  const entries = await t.sql`
    select t.name, e.excluded from target_group_entries e join targets t on t.id = e.target_id order by t.name`;
  expect(entries).toEqual([
    { name: 'b', excluded: true },
    { name: 'c', excluded: false },
    { name: 'd', excluded: false },
  ]);
});

it('targets are added to a group without a selector, and removed from it', async () => {
  const group = await createTargetGroup(t.sql, { name: 'listed' }, t.caller);
  const some = { selection: { selector: 'name:a or name:b' } };
  expect(await bulk({ ...some, addToGroupId: group.id })).toMatchObject({ changed: 2 });
  expect(await namesOf('group:listed')).toEqual(['a', 'b']);
  expect(await bulk({ selection: { selector: 'name:a' }, removeFromGroupId: group.id })).toMatchObject({
    changed: 1,
  });
  expect(await namesOf('group:listed')).toEqual(['b']);
});

it('changed labels change group memberships', async () => {
  await createTargetGroup(t.sql, { name: 'g', selector: 'env=prod' }, t.caller);
  await bulk({ selection: { selector: 'env=stage' }, setLabels: { env: 'prod' } });
  expect(await namesOf('group:g')).toEqual(['a', 'b', 'c']);
});

it('all are deleted, or none if an open run uses one of them', async () => {
  const jobId = 1;
  await t.sql`insert into jobs (id, name, step_types, step_count, data_key)
              overriding system value values (${jobId}, 'j', '{}', 1, 'x')`;
  await t.sql`insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
              values (${jobId}, 1, '\\x00', '\\x00', '{a}', '{a}')`;
  const [run] = await t.sql<{ id: number }[]>`
    insert into job_runs (job_id, job_version, data_key, targets_total, total_steps, start_by)
    values (${jobId}, 1, 'x', 1, 1, now() + interval '1 hour') returning id`;
  await t.sql`insert into job_run_targets (job_run_id, target_id, segment_id, target_name)
              values (${run?.id ?? 0}, ${ids[0] ?? 0}, ${segmentId}, 'a')`;
  const request = { selection: { selector: 'env' }, delete: true } as const;
  await expect(bulk(request)).rejects.toMatchObject({ code: 'conflict' });
  expect(await targets()).toHaveLength(4);
  await t.sql`update job_runs set status = 'failed'`;
  expect(await bulk({ ...request, dryRun: true })).toMatchObject({ changed: 3 });
  expect(await bulk(request)).toMatchObject({ changed: 3 });
  expect(await namesOf('name:*')).toEqual(['d']);
});

it('each deleted target is in the audit log with name and host', async () => {
  await t.sql`update targets set host = name || '.example', port = 2222 where id = ${ids[0] ?? 0}`;
  await bulk({ selection: { selector: 'name:a or name:d' }, delete: true });
  const told = await t.sql`
    select object_id, segment_id, detail from audit_log where action = 'target.deleted' order by object_id::bigint`;
  expect(told[0]).toEqual({
    objectId: String(ids[0]),
    segmentId,
    detail: { name: 'a', host: 'a.example', port: 2222, segment: 'dmz', bulk: true },
  });
  expect(told.map(({ detail }) => detail.name)).toEqual(['a', 'd']);
});

it.each([
  [{}, 'Nothing to change'],
  [{ delete: true, isActive: true }, 'Deleted targets can’t also be changed'],
  [{ setLabels: { a: '' }, unsetLabels: ['a'] }, 'both to be set and to be unset'],
  [{ addToGroupId: 1, removeFromGroupId: 1 }, 'choose one'],
] as const)('%j is refused', async (change, message) => {
  const { unsetLabels, ...rest } = { unsetLabels: undefined, ...change };
  const request = {
    selection: { targetIds: ids },
    ...rest,
    ...(unsetLabels && { unsetLabels: [...unsetLabels] }),
  };
  await expect(bulk(request)).rejects.toThrow(message);
});

it('a target can’t have more than 64 labels', async () => {
  const labels = (prefix: string) =>
    Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`${prefix}${n}`, '']));
  const selection = { targetIds: ids };
  await bulk({ selection, setLabels: labels('a') });
  await expect(bulk({ selection, setLabels: labels('b') })).rejects.toMatchObject({
    code: 'invalid',
    details: [{ path: 'setLabels' }],
  });
  expect(await namesOf('b0')).toEqual([]);
});

it('nothing changes if one of the selected may not be edited, and ids that are not visible are named', async () => {
  const other = (await makeSegment(t, 'lan')).id;
  const foreign = await createTarget(t.sql, { segmentId: other, name: 'x', host: 'h.example' }, t.caller);
  const scope = { kind: 'segment', id: segmentId } as const;
  const admin = { role: 'admin', permission: null, scope } as const;
  const as = (...grants: ConstructorParameters<typeof Authority>[0][number][]): Caller => ({
    ...t.caller,
    authority: new Authority(grants),
  });
  const seesAll = as(admin, { role: 'viewer', permission: null, scope: null });
  const all = { selection: { selector: 'name:*' }, setLabels: { z: '' } };
  await expect(bulk(all, seesAll)).rejects.toMatchObject({
    code: 'forbidden',
    permission: 'targets.edit',
    details: [{ found: 'x' }],
  });
  expect(await namesOf('z')).toEqual([]);
  expect(await bulk(all, as(admin))).toMatchObject({ selected: 4, changed: 4 });
  const byId = { selection: { targetIds: [ids[0] ?? 0, foreign.id] }, setLabels: { z: '' } };
  await expect(bulk(byId, as(admin))).rejects.toMatchObject({
    code: 'not_found',
    details: [{ path: 'selection.targetIds[1]' }],
  });
  const group = await createTargetGroup(t.sql, { name: 'g' }, t.caller);
  const intoGroup = { selection: { targetIds: ids }, addToGroupId: group.id };
  await expect(bulk(intoGroup, as(admin))).rejects.toMatchObject({ permission: 'target_groups.edit' });
});

it('the labels in use on targets that the caller may see are listed with their most used values', async () => {
  expect(await labelsInUse(t.sql, { names: 9, values: 1 }, unrestricted)).toEqual([
    { name: 'env', targets: 3, values: ['stage'] },
    { name: 'old', targets: 3, values: [] },
  ]);
  expect(await labelsInUse(t.sql, { names: 1, values: 9 }, unrestricted)).toEqual([
    { name: 'env', targets: 3, values: ['stage', 'prod'] },
  ]);
  expect(await labelsInUse(t.sql, { names: 9, values: 9 }, new Authority([]).reach('read'))).toEqual([]);
});
