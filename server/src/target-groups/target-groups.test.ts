import type { CreateTargetRequest, Labels, Permission, Scope } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../auth/authority.ts';
import type { Caller } from '../caller.ts';
import { createCredential } from '../credentials/edit-credentials.ts';
import { blockedBackends, holdTransaction } from '../runs/testing.ts';
import {
  makeFirstAgent,
  makeSegment,
  sealedCredentialRequest,
  setupInstallation,
  type TestInstallation,
  waitUntilBlocked,
} from '../segments/testing.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { lockMembership } from '../store/targets/target-group-members.ts';
import { bulkChangeTargets } from '../targets/bulk-targets.ts';
import { createTarget, deleteTarget, updateTarget } from '../targets/edit-targets.ts';
import { createTargetGroup, deleteTargetGroup, updateTargetGroup } from './edit-target-groups.ts';
import { getTargetGroup, listGroupEntries, listTargetGroups } from './list-target-groups.ts';
import { refreshMembersOfGroup, refreshMembersOfTargets } from './refresh-members.ts';

let t: TestInstallation;
let segmentId: number;
let otherSegmentId: number;
let made = 0;
beforeAll(async () => {
  t = await setupInstallation();
  segmentId = (await makeSegment(t, 'dmz-1')).id;
  otherSegmentId = (await makeSegment(t, 'dmz-2')).id;
});
afterAll(() => t.close());

function unique(name: string): string {
  made += 1;
  return `${name}-${made}`;
}
const makeTarget = (request: Partial<CreateTargetRequest> = {}) =>
  createTarget(t.sql, { segmentId, name: unique('host'), host: '10.0.0.1', ...request }, t.caller);
const makeGroup = (request: Partial<Parameters<typeof createTargetGroup>[1]> = {}) =>
  createTargetGroup(t.sql, { name: unique('group'), ...request }, t.caller);

async function membersOf(groupId: number): Promise<number[]> {
  const rows = await t.sql<{ targetId: number }[]>`
    select target_id from target_group_members where target_group_id = ${groupId} order by target_id`;
  return rows.map((row) => row.targetId);
}

/** Returns a caller with single permissions, each on a scope or everywhere. */
async function somebody(...grants: [Permission, Scope | null][]): Promise<Caller> {
  const name = unique('somebody');
  const [user] = await t.sql<{ id: number }[]>`insert into users (name) values (${name}) returning id`;
  const authority = new Authority(grants.map(([permission, scope]) => ({ role: null, permission, scope })));
  return { ...t.caller, userId: user?.id ?? 0, name, authority };
}

describe('the members of a group', () => {
  it('are the listed and the selected, minus the excluded', async () => {
    const label = unique('app');
    const [listed, selected, excluded] = [
      await makeTarget(),
      await makeTarget({ labels: { [label]: '' } }),
      await makeTarget({ labels: { [label]: '' } }),
    ];
    const group = await makeGroup({
      selector: label,
      targetIds: [listed.id],
      excludedTargetIds: [excluded.id],
    });
    expect(group).toMatchObject({ memberCount: 2, listedCount: 1, excludedCount: 1, isWhole: true });
    expect(await membersOf(group.id)).toEqual([listed.id, selected.id]);
    const entries = await listGroupEntries(t.sql, group.id, {}, unrestricted);
    expect(entries.items.map((entry) => [entry.targetId, entry.excluded])).toEqual([
      [listed.id, false],
      [excluded.id, true],
    ]);
  });

  it('follow a target that is created, changed and deleted', async () => {
    const label = unique('app');
    const group = await makeGroup({ selector: `${label}=a os=linux` });
    const target = await makeTarget({ labels: { [label]: 'a' } });
    expect(target.groups).toEqual([{ id: group.id, name: group.name }]);
    const { name, host } = target;
    for (const [change, isIn] of [
      [{ labels: { [label]: 'b' } }, false],
      [{ labels: { [label]: 'a' } }, true],
      [{ operatingSystem: 'windows' }, false],
      [{ operatingSystem: 'linux', isActive: false }, true],
    ] as const) {
      const after = await updateTarget(t.sql, target.id, { name, host, ...change }, t.caller);
      expect(after.groups.length, JSON.stringify(change)).toBe(isIn ? 1 : 0);
    }
    await deleteTarget(t.sql, target.id, t.caller);
    expect(await membersOf(group.id)).toEqual([]);
  });

  it('follow the group’s selector and lists, which stay if a change leaves them out', async () => {
    const label = unique('app');
    const [a, b] = [
      await makeTarget({ labels: { [label]: 'a' } }),
      await makeTarget({ labels: { [label]: 'b' } }),
    ];
    const { id, name } = await makeGroup({ selector: `${label}=a` });
    const change = (request: object) => updateTargetGroup(t.sql, id, { name, ...request }, t.caller);
    await change({ description: 'x' });
    expect(await membersOf(id)).toEqual([a.id]);
    await change({ selector: `${label}=b` });
    expect(await membersOf(id)).toEqual([b.id]);
    await change({ targetIds: [a.id], excludedTargetIds: [b.id] });
    expect(await membersOf(id)).toEqual([a.id]);
    await change({ selector: null, excludedTargetIds: [] });
    expect(await membersOf(id)).toEqual([a.id]);
  });

  it('stay as somebody else has left them, if a change expects other ones', async () => {
    const [a, b] = [await makeTarget(), await makeTarget()];
    const { id } = await makeGroup({ targetIds: [b.id, a.id] });
    const change = (request: object) => updateTargetGroup(t.sql, id, request, t.caller);
    await change({
      targetIds: [a.id],
      expected: { targetIds: [b.id, a.id], excludedTargetIds: [], credentials: [] },
    });
    await expect(
      change({
        targetIds: [],
        description: 'x',
        expected: { targetIds: [a.id, b.id], description: '', priority: 3 },
      }),
    ).rejects.toMatchObject({
      code: 'conflict',
      details: [
        { path: 'expected.targetIds', message: `Is [${a.id}] by now.` },
        { path: 'expected.priority', message: 'Is 0 by now.' },
      ],
    });
    expect(await membersOf(id)).toEqual([a.id]);
  });

  it('of a group that selects another follow that one, through all groups in between', async () => {
    const label = unique('app');
    const inner = await makeGroup({ selector: label });
    const middle = await makeGroup({ selector: `group:${inner.name} os=linux` });
    const outer = await makeGroup({ selector: `group:${middle.name}` });
    const target = await makeTarget({ labels: { [label]: '' } });
    expect(await membersOf(outer.id)).toEqual([target.id]);
    const listed = await makeTarget();
    await updateTargetGroup(t.sql, inner.id, { name: inner.name, targetIds: [listed.id] }, t.caller);
    expect(await membersOf(outer.id)).toEqual([target.id, listed.id]);
    await updateTargetGroup(t.sql, inner.id, { name: inner.name, excludedTargetIds: [target.id] }, t.caller);
    expect(await membersOf(outer.id)).toEqual([listed.id]);
  });

  it('are right if a target and the group’s selector change at the same time, whichever is first', async () => {
    const label = unique('app');
    const group = await makeGroup({ selector: `${label}=a` });
    const { id, name, host } = await makeTarget();
    const relabelled = (labels: Labels) => updateTarget(t.sql, id, { name, host, labels }, t.caller);
    const reselected = (selector: string) =>
      updateTargetGroup(t.sql, group.id, { name: group.name, selector }, t.caller);
    // The first change is made but not committed when the second one comes.
    const commitLabel = await holdTransaction(t.sql, async (tx) => {
      await lockMembership(tx);
      await tx`update targets set labels = ${tx.json({ [label]: 'b' })} where id = ${id}`;
      await refreshMembersOfTargets(tx, [id], t.caller);
    });
    const selecting = reselected(`${label}=b`);
    await Promise.race([selecting, blockedBackends(t.sql, 1)]);
    await commitLabel();
    await selecting;
    expect(await membersOf(group.id)).toEqual([id]);
    const commitSelector = await holdTransaction(t.sql, async (tx) => {
      await lockMembership(tx);
      await tx`update target_groups set selector = ${`${label}=c`} where id = ${group.id}`;
      await refreshMembersOfGroup(tx, group, t.caller);
    });
    const labelling = relabelled({ [label]: 'c' });
    await Promise.race([labelling, blockedBackends(t.sql, 1)]);
    await commitSelector();
    await labelling;
    expect(await membersOf(group.id)).toEqual([id]);
  });

  it('are right if two groups, one of which selects the other, and a target change at once', async () => {
    const label = unique('app');
    const inner = await makeGroup({ selector: label });
    const outer = await makeGroup({ selector: `group:${inner.name}` });
    const { id, name, host } = await makeTarget({ labels: { [label]: '' } });
    const excluded = { name: inner.name, excludedTargetIds: [id] };
    await Promise.all([
      updateTarget(t.sql, id, { name, host, operatingSystem: 'windows' }, t.caller),
      updateTargetGroup(t.sql, inner.id, excluded, t.caller),
      updateTargetGroup(
        t.sql,
        outer.id,
        { name: outer.name, selector: `group:${inner.name} os=windows` },
        t.caller,
      ),
    ]);
    expect(await membersOf(outer.id)).toEqual([]);
    await updateTargetGroup(t.sql, inner.id, { name: inner.name, excludedTargetIds: [] }, t.caller);
    expect(await membersOf(outer.id)).toEqual([id]);
  });
});

describe('a group that selects groups', () => {
  it('is refused if that forms a cycle, or it selects itself', async () => {
    const a = await makeGroup();
    const b = await makeGroup({ selector: `group:${a.name}` });
    const refused = updateTargetGroup(t.sql, a.id, { name: a.name, selector: `!group:${b.name}` }, t.caller);
    await expect(refused).rejects.toMatchObject({ code: 'invalid', details: [{ path: 'selector' }] });
    await expect(refused).rejects.toThrow(`“${a.name}” selects “${b.name}” selects “${a.name}”`);
    const itself = updateTargetGroup(t.sql, a.id, { name: a.name, selector: `group:${a.name}` }, t.caller);
    await expect(itself).rejects.toMatchObject({ code: 'invalid', details: [{ path: 'selector' }] });
    expect((await getTargetGroup(t.sql, a.id, unrestricted)).selector).toBeNull();
  });

  it('is refused if it is nested deeper than eight levels', async () => {
    let { name } = await makeGroup();
    for (let depth = 2; depth <= 8; depth += 1) ({ name } = await makeGroup({ selector: `group:${name}` }));
    await expect(makeGroup({ selector: `group:${name}` })).rejects.toThrow(/deeper than 8/);
  });

  it('names others in full, and only existing ones', async () => {
    await expect(makeGroup({ selector: 'group:gr*' })).rejects.toThrow(/Column 1: .*without \*/);
    await expect(makeGroup({ selector: 'os=linux group:nowhere' })).rejects.toThrow(
      'Column 10: There is no target group “nowhere”',
    );
    await expect(makeGroup({ selector: 'segment:nowhere' })).rejects.toThrow('no segment “nowhere”');
  });

  it('keeps the groups that it selects from being renamed or deleted', async () => {
    const inner = await makeGroup();
    const outer = await makeGroup({ selector: `group:${inner.name}` });
    await expect(deleteTargetGroup(t.sql, inner.id, t.caller)).rejects.toMatchObject({ code: 'conflict' });
    const renamed = updateTargetGroup(t.sql, inner.id, { name: unique('renamed') }, t.caller);
    await expect(renamed).rejects.toThrow(outer.name);
    await deleteTargetGroup(t.sql, outer.id, t.caller);
    await deleteTargetGroup(t.sql, inner.id, t.caller);
    await expect(getTargetGroup(t.sql, inner.id, unrestricted)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('a group is refused', () => {
  it('with a taken name, a target that does not exist, or one both listed and excluded', async () => {
    const { name } = await makeGroup();
    const { id } = await makeTarget();
    await expect(makeGroup({ name })).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'name' }],
    });
    await expect(makeGroup({ targetIds: [id, 999_999] })).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'targetIds[1]' }],
    });
    await expect(makeGroup({ targetIds: [id], excludedTargetIds: [id] })).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'targetIds[0]' }],
    });
  });

  it('with a credential of another segment than it says', async () => {
    await makeFirstAgent(t, segmentId, 'groups-a');
    const sealed = await sealedCredentialRequest(t, segmentId, 'group key');
    const credential = await createCredential(t.sql, sealed, t.caller);
    const group = await makeGroup({ credentials: [{ segmentId, credentialId: credential.id }] });
    expect(group.credentials).toMatchObject([{ segmentName: 'dmz-1', credentialName: 'group key' }]);
    const foreign = makeGroup({ credentials: [{ segmentId: otherSegmentId, credentialId: credential.id }] });
    await expect(foreign).rejects.toMatchObject({ details: [{ path: 'credentials[0].credentialId' }] });
    const twice = makeGroup({
      credentials: [
        { segmentId, credentialId: credential.id.toUpperCase() },
        { segmentId: otherSegmentId, credentialId: credential.id },
      ],
    });
    await expect(twice).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'credentials[1].credentialId' }],
    });
    const reader = await somebody(['read', null], ['target_groups.edit', null]);
    const request = { name: unique('group'), credentials: [{ segmentId, credentialId: credential.id }] };
    await expect(createTargetGroup(t.sql, request, reader)).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'credentials.use',
    });
  });
});

it('the grants on a group that is deleted end with it, each with its row in the audit log', async () => {
  const group = await makeGroup();
  const { userId, name } = await somebody();
  await t.sql`
    insert into role_grants ${t.sql({ userId, role: null, permission: 'run', targetGroupId: group.id })}`;
  await deleteTargetGroup(t.sql, group.id, t.caller);
  const told = await t.sql`
    select action, detail from audit_log
    where object_kind in ('grant', 'target_group') and action like '%.deleted' order by id desc limit 2`;
  expect(told).toMatchObject([
    { action: 'target_group.deleted', detail: { grants: 1 } },
    {
      action: 'grant.deleted',
      detail: {
        subject: { kind: 'user', id: userId, name },
        permission: 'run',
        scope: { kind: 'target_group', id: group.id, name: group.name },
        deletedWith: 'target_group',
      },
    },
  ]);
});

it('a credential that is deleted before a group takes it is reported as missing', async () => {
  const sealed = await sealedCredentialRequest(t, segmentId, 'going');
  const { id: credentialId } = await createCredential(t.sql, sealed, t.caller);
  const { id } = await makeGroup();
  const saved = await inTransaction(t.sql, async (tx) => {
    await tx`delete from credentials where id = ${credentialId}`;
    const saving = updateTargetGroup(
      t.sql,
      id,
      { name: unique('group'), credentials: [{ segmentId, credentialId }] },
      t.caller,
    );
    const result = Promise.allSettled([saving]);
    await waitUntilBlocked(t, 1);
    return { result };
  });
  expect(await saved.result).toMatchObject([
    { status: 'rejected', reason: { code: 'invalid', details: [{ path: 'credentials[0].credentialId' }] } },
  ]);
});

describe('who sees a group', () => {
  it('is shown in full to callers with the right on it, by name to callers who see a member, and to nobody else', async () => {
    const [mine, foreign] = [await makeTarget(), await makeTarget({ segmentId: otherSegmentId })];
    const group = await makeGroup({ targetIds: [mine.id, foreign.id], settings: { port: 2222 } });
    const ofGroup = new Authority([
      { role: 'viewer', permission: null, scope: { kind: 'target_group', id: group.id } },
    ]).reach('read');
    const ofSegment = new Authority([
      { role: 'viewer', permission: null, scope: { kind: 'segment', id: otherSegmentId } },
    ]).reach('read');
    const { id: elsewhere } = await makeSegment(t, unique('elsewhere'));
    const ofElsewhere = new Authority([
      { role: 'viewer', permission: null, scope: { kind: 'segment', id: elsewhere } },
    ]).reach('read');
    expect(await getTargetGroup(t.sql, group.id, ofGroup)).toMatchObject({ isWhole: true, memberCount: 2 });
    expect(await getTargetGroup(t.sql, group.id, ofSegment)).toMatchObject({
      name: group.name,
      isWhole: false,
      memberCount: 1,
      listedCount: 0,
      settings: {},
    });
    await expect(listGroupEntries(t.sql, group.id, {}, ofSegment)).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(getTargetGroup(t.sql, group.id, ofElsewhere)).rejects.toMatchObject({ code: 'not_found' });
    expect((await listTargetGroups(t.sql, {}, ofElsewhere)).items).toEqual([]);
  });
});

describe('who edits groups, but may not read all targets,', () => {
  it('is told of no others by a selector: neither how many it selects, nor their names', async () => {
    const label = unique('app');
    const own = await makeTarget({ labels: { [label]: '' } });
    const hidden = await makeTarget({ segmentId: otherSegmentId, labels: { [label]: '' } });
    const group = await makeGroup({ targetIds: [own.id] });
    const editor = await somebody(
      ['target_groups.edit', null],
      ['read', { kind: 'segment', id: segmentId }],
      ['read', { kind: 'target_group', id: group.id }],
    );
    const other = await createTargetGroup(t.sql, { name: unique('group'), selector: label }, editor);
    expect(other.memberCount).toBe(1);
    expect(await membersOf(other.id)).toEqual([own.id, hidden.id]);
    await t.sql`insert into role_grants (user_id, permission, target_group_id)
                values (${(await somebody()).userId}, 'run', ${group.id})`;
    const wider = updateTargetGroup(t.sql, group.id, { name: group.name, selector: label }, editor);
    await expect(wider).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringMatching(
        /^This needs the permission run on a target that you may not see, because/,
      ),
    });
  });
});

describe('a caller who adds a target to a group', () => {
  it('must hold what others hold on the group, by label, by list and by selector', async () => {
    const label = unique('app');
    const group = await makeGroup({ selector: `${label}=dev` });
    await t.sql`insert into role_grants (user_id, permission, target_group_id)
                values (${(await somebody()).userId}, 'run', ${group.id})`;
    const segment = { kind: 'segment', id: segmentId } as const;
    const editor = await somebody(['read', segment], ['targets.edit', segment]);
    const runner = await somebody(['read', segment], ['targets.edit', segment], ['run', segment]);
    const target = await makeTarget();
    const { name, host } = target;
    const labels = { [label]: 'dev' };
    const refused = { code: 'forbidden', permission: 'run' };
    await expect(updateTarget(t.sql, target.id, { name, host, labels }, editor)).rejects.toMatchObject(
      refused,
    );
    const create = { segmentId, name: unique('host'), host, labels };
    await expect(createTarget(t.sql, create, editor)).rejects.toMatchObject(refused);
    const bulk = { selection: { targetIds: [target.id] }, setLabels: labels };
    await expect(bulkChangeTargets(t.sql, bulk, editor)).rejects.toMatchObject(refused);
    expect(await membersOf(group.id)).toEqual([]);
    await updateTarget(t.sql, target.id, { name, host, labels }, runner);
    expect(await membersOf(group.id)).toEqual([target.id]);
    // Somebody who edits all groups but may not run anything can't give others the right to run.
    const keeper = await somebody(['read', null], ['target_groups.edit', null]);
    const other = await makeTarget();
    const lists = { name: group.name, targetIds: [other.id] };
    await expect(updateTargetGroup(t.sql, group.id, lists, keeper)).rejects.toMatchObject(refused);
    const wider = { name: group.name, selector: 'name:*' };
    await expect(updateTargetGroup(t.sql, group.id, wider, keeper)).rejects.toMatchObject(refused);
    expect(await membersOf(group.id)).toEqual([target.id]);
  });

  it('gains nothing from a right on that group itself', async () => {
    const label = unique('app');
    const group = await makeGroup({ selector: label });
    const segment = { kind: 'segment', id: segmentId } as const;
    const scope = { kind: 'target_group', id: group.id } as const;
    const runner = await somebody(['read', segment], ['targets.edit', segment], ['run', scope]);
    await t.sql`insert into role_grants (user_id, permission, target_group_id)
                values (${runner.userId}, 'run', ${group.id})`;
    const { id, name, host } = await makeTarget();
    const change = updateTarget(t.sql, id, { name, host, labels: { [label]: '' } }, runner);
    await expect(change).rejects.toMatchObject({ code: 'forbidden', permission: 'run' });
    expect(await membersOf(group.id)).toEqual([]);
  });
});
