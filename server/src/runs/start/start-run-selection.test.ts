// What a run is started on, and what a preview says about it: the same targets, and the same reasons against it.
import type { Permission, Scope, TargetSelection } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import type { Caller } from '../../caller.ts';
import { createJob } from '../../jobs/create-job.ts';
import { makeSegment } from '../../segments/testing.ts';
import { closeSession } from '../../store/agents/agent-sessions.ts';
import { createTargetGroup } from '../../target-groups/edit-target-groups.ts';
import { createTarget, updateTarget } from '../../targets/edit-targets.ts';
import { previewSelection } from '../../targets/selection/preview-selection.ts';
import { setupRuns, type TestRuns } from '../testing.ts';
import { seeRun } from '../view/seen-run.ts';
import { startRun } from './start-run.ts';

let t: TestRuns;
let jobId: number;
let lan: number;
let credentialId: string;
const ids: Record<string, number> = {};
let groupId: number;

beforeAll(async () => {
  t = await setupRuns();
  const steps = [{ name: 'only', type: 'ssh.exec', config: { command: 'true' } }];
  jobId = (await createJob(t, { name: 'job', steps }, t.caller)).id;
  const [row] = await t.sql<{ id: string }[]>`select id from credentials`;
  credentialId = row?.id ?? '';
  lan = (await makeSegment(t, 'lan')).id;
  await make('a', { labels: { env: 'prod' } });
  await make('b', { labels: { env: 'prod', canary: '' } });
  await make('c', { labels: { env: 'stage' } });
  await make('off', { labels: { env: 'prod' }, isActive: false });
  await make('bare', { labels: { bad: '' }, credentialId: null });
  await make('win', { labels: { bad: '' }, settings: { protocol: 'winrm' } });
  await make('lan', { segmentId: lan, labels: { bad: '' }, credentialId: null });
  const group = { name: 'stage', selector: 'env=stage', targetIds: [ids.a ?? 0] };
  groupId = (await createTargetGroup(t.sql, group, t.caller)).id;
});
afterAll(() => t[Symbol.asyncDispose]());

async function make(name: string, more: object): Promise<void> {
  const fields = { segmentId: t.segmentId, name, host: `${name}.example`, credentialId };
  ids[name] = (await createTarget(t.sql, { ...fields, ...more }, t.caller)).id;
}
const idOf = (name: string) => ids[name] ?? 0;
const segment = (): Scope => ({ kind: 'segment', id: t.segmentId });

function somebody(...grants: [Permission, Scope | null][]): Caller {
  const authority = new Authority(grants.map(([permission, scope]) => ({ role: null, permission, scope })));
  return { ...t.caller, authority };
}

const start = (selection: TargetSelection, caller = t.caller) => startRun(t, { jobId, selection }, caller);
const preview = (selection: TargetSelection, caller = t.caller) =>
  previewSelection(t.sql, { ...selection, jobId }, caller.authority);

async function targetsOf(runId: number): Promise<string[]> {
  const rows = await t.sql<{ targetName: string }[]>`
    select target_name from job_run_targets where job_run_id = ${runId} order by id`;
  return rows.map((row) => row.targetName);
}

describe('a run', () => {
  it.each([
    ['ids, in their order', () => ({ targetIds: [idOf('c'), idOf('a')] }), ['c', 'a']],
    ['a group', () => ({ groupIds: [groupId] }), ['a', 'c']],
    ['a selector, without the inactive', () => ({ selector: 'env=prod' }), ['a', 'b']],
    [
      'all of these together, each once',
      () => ({ targetIds: [idOf('b')], groupIds: [groupId], selector: 'env' }),
      ['b', 'a', 'c'],
    ],
    [
      'less what is excluded, by id, group or selector',
      () => ({
        targetIds: [idOf('b')],
        selector: 'env',
        exclude: { targetIds: [idOf('c')], selector: 'canary' },
      }),
      ['a'],
    ],
    ['less a group', () => ({ selector: 'env', exclude: { groupIds: [groupId] } }), ['b']],
  ])('is started on %s', async (_, selection, names) => {
    const { runId } = await start(selection());
    expect(await targetsOf(runId)).toEqual(names);
    expect((await preview(selection())).items.map((item) => item.name)).toEqual(names);
  });

  it('keeps how it was asked for, and tells only readers of the job', async () => {
    const selection = { groupIds: [groupId], selector: 'env=prod', exclude: { selector: 'canary' } };
    const { runId } = await start(selection);
    await t.sql`update target_groups set name = 'renamed' where id = ${groupId}`;
    const { run } = await seeRun(t.sql, runId, t.caller.authority);
    expect(run.selection).toEqual({
      targets: 0,
      groups: [{ id: groupId, name: 'stage' }],
      selector: 'env=prod',
      exclude: { targets: 0, groups: [], selector: 'canary' },
      selected: 2,
    });
    await t.sql`update target_groups set name = 'stage' where id = ${groupId}`;
    const reader = somebody(['read', segment()]);
    expect((await seeRun(t.sql, runId, reader.authority)).run).toMatchObject({
      selection: null,
      targetsTotal: 2,
    });
  });

  it('takes the targets that were selected when it started, whatever changes afterwards', async () => {
    const { runId } = await start({ selector: 'env=stage' });
    const change = { name: 'c', host: 'c.example', labels: { env: 'prod' } };
    await updateTarget(t.sql, idOf('c'), change, t.caller);
    expect(await targetsOf(runId)).toEqual(['c']);
    await updateTarget(t.sql, idOf('c'), { ...change, labels: { env: 'stage' } }, t.caller);
  });

  it.each([
    [{}, 'invalid', 'Nothing is selected'],
    [{ exclude: { selector: 'env' } }, 'invalid', 'Nothing is selected'],
    [{ selector: 'env=nowhere' }, 'invalid', 'No target is selected'],
    [{ selector: 'env=' }, 'invalid', 'Column 5'],
    [{ selector: 'env', exclude: { selector: 'group:canray' } }, 'invalid', 'no target group “canray”'],
    [{ groupIds: [999_999] }, 'not_found', 'Target group 999999 not found'],
    [{ targetIds: [999_999] }, 'not_found', 'Target 999999 not found'],
    [{ selector: 'env', exclude: { targetIds: [999_999] } }, 'not_found', 'Target 999999 not found'],
  ] as const)('of %j is refused', async (selection, code, message) => {
    const refused = start(structuredClone(selection) as TargetSelection);
    await expect(refused).rejects.toMatchObject({ code });
    await expect(refused).rejects.toThrow(message);
  });

  it('is refused as a whole for targets that it can’t run on, each reported with its place', async () => {
    const names = ['a', 'bare', 'win', 'lan', 'off'];
    const refused = start({ targetIds: names.map(idOf) });
    await expect(refused).rejects.toMatchObject({
      code: 'invalid',
      details: [
        { path: 'targetIds[1]', found: 'bare', message: expect.stringContaining('no credential') },
        { path: 'targetIds[2]', found: 'win', message: expect.stringContaining('WinRM') },
        { path: 'targetIds[3]', found: 'lan', message: expect.stringContaining('never had an agent') },
        { path: 'targetIds[4]', found: 'off', message: expect.stringContaining('inactive') },
      ],
    });
    await expect(start({ selector: 'bad or env=prod' })).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('a preview', () => {
  it('counts by segment, and tells which targets can’t be run on and why', async () => {
    const seen = await preview({ selector: 'bad or env=prod', targetIds: [idOf('off')] });
    expect(seen).toMatchObject({
      total: 6,
      runnable: 2,
      segments: [
        { name: 'dmz-1', count: 5, runnable: 2 },
        { name: 'lan', count: 1, runnable: 0 },
      ],
      problems: [
        { problem: 'inactive', count: 1, targets: ['off'] },
        { problem: 'no_agent', count: 1, targets: ['lan'] },
        { problem: 'no_credential', count: 1, targets: ['bare'] },
        { problem: 'protocol', count: 1, targets: ['win'] },
      ],
      notes: [],
    });
    expect(seen.items.map(({ name, problem }) => [name, problem])).toContainEqual(['win', 'protocol']);
  });

  it('says that a run would wait in a segment whose agents are away, but not in one that has none', async () => {
    const waiting = async () =>
      (await preview({ selector: 'bad or env=prod' })).segments.map((one) => [one.name, one.waitsForAgent]);
    const { agentId, sessionNumber } = t.agent;
    expect(await waiting()).toEqual([
      ['dmz-1', undefined],
      ['lan', undefined],
    ]);
    await closeSession(t.sql, agentId, sessionNumber, true);
    expect(await waiting()).toEqual([
      ['dmz-1', true],
      ['lan', undefined],
    ]);
    await t.connect(t.agent);
    expect((await waiting())[0]).toEqual(['dmz-1', undefined]);
  });

  it('comes in pages, and notes labels that no target has', async () => {
    const first = await preview({ selector: 'env !canray' });
    expect(first.notes).toEqual(['No target has the label canray.']);
    const pageOf = (cursor?: string) =>
      previewSelection(t.sql, { selector: 'env', limit: 2, ...(cursor && { cursor }) }, t.caller.authority);
    const one = await pageOf();
    const two = await pageOf(one.nextCursor ?? '');
    expect([...one.items, ...two.items].map((item) => item.name)).toEqual(['a', 'b', 'c']);
    expect(two.nextCursor).toBeNull();
  });

  it('of a job that may not be read is not found', async () => {
    const reader = somebody(['read', segment()]);
    await expect(preview({ selector: 'env' }, reader)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('people who may run', () => {
  const category: Scope = { kind: 'category', id: 1 };
  const ofJob = [
    ['read', category],
    ['run', category],
  ] as [Permission, Scope | null][];

  it('select from what they see, and are refused completely if they may not run or use credentials on a target', async () => {
    const everything = somebody(
      ...ofJob,
      ['read', segment()],
      ['run', segment()],
      ['credentials.use', segment()],
    );
    expect(
      await targetsOf(
        (await start({ selector: 'env or segment:*', exclude: { selector: 'bad' } }, everything)).runId,
      ),
    ).toEqual(['a', 'b', 'c']);
    const group: Scope = { kind: 'target_group', id: groupId };
    const ofGroup = somebody(...ofJob, ['read', segment()], ['run', group], ['credentials.use', segment()]);
    expect(await targetsOf((await start({ groupIds: [groupId] }, ofGroup)).runId)).toEqual(['a', 'c']);
    const refused = start({ selector: 'env' }, ofGroup);
    await expect(refused).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'run',
      details: [{ path: 'selector', found: 'b' }],
    });
    expect(await preview({ selector: 'env' }, ofGroup)).toMatchObject({
      total: 3,
      runnable: 2,
      problems: [{ problem: 'run_forbidden', targets: ['b'] }],
    });
    const withoutCredentials = somebody(...ofJob, ['read', segment()], ['run', segment()]);
    const byId = start({ targetIds: [idOf('a')] }, withoutCredentials);
    await expect(byId).rejects.toMatchObject({
      permission: 'credentials.use',
      details: [{ path: 'targetIds[0]' }],
    });
  });

  it('are refused if a jump host on the way is not theirs to use, wherever it is named', async () => {
    const jumps = { jump_hosts: ['hop', 'way-on'] };
    await make('hop', {});
    await make('way-on', {});
    const settings = { settings: jumps, credentialId };
    await updateTarget(t.sql, idOf('way-on'), { name: 'way-on', host: 'w.example', ...settings }, t.caller);
    await make('behind', { settings: jumps });
    await make('by group', { labels: { way: 'group' } });
    await make('direct', { settings: { jump_hosts: [] }, labels: { way: 'group' } });
    const byGroup = { name: 'by group', selector: 'way=group', settings: jumps };
    await createTargetGroup(t.sql, byGroup, t.caller);
    const runs: [Permission, Scope | null][] = [...ofJob, ['read', segment()], ['run', segment()]];
    const on = async (...names: string[]): Promise<[Permission, Scope]> => {
      const group = { name: names.join(' and '), targetIds: names.map(idOf) };
      const { id } = await createTargetGroup(t.sql, group, t.caller);
      return ['credentials.use', { kind: 'target_group', id }];
    };
    const names = ['behind', 'by group', 'direct', 'way-on'];
    const targetIds = names.map(idOf);
    const [own, hop] = [await on(...names), await on('hop')];
    const withoutHop = somebody(...runs, own);
    await expect(start({ targetIds }, withoutHop)).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'credentials.use',
      details: ['behind', 'by group', 'way-on'].map((name) => ({
        found: name,
        message: expect.stringContaining(`jump host “hop”, which is on the way to target “${name}”`),
      })),
    });
    expect(await preview({ targetIds }, withoutHop)).toMatchObject({
      runnable: 1,
      problems: [{ problem: 'credential_forbidden', targets: ['behind', 'by group', 'way-on'] }],
    });
    const { runId } = await start({ targetIds }, somebody(...runs, own, hop));
    expect(await targetsOf(runId)).toHaveLength(4);
    // A target named in its own list of jump hosts is reached only through those before it.
    const ofWayOn = somebody(...runs, await on('way-on'), hop);
    expect(await preview({ targetIds: [idOf('way-on')] }, ofWayOn)).toMatchObject({ runnable: 1 });
  });

  it('find no target, group or job that they don’t see', async () => {
    const elsewhere: Scope = { kind: 'segment', id: lan };
    const ofLan = somebody(...ofJob, ['read', elsewhere], ['run', elsewhere], ['credentials.use', elsewhere]);
    const unseen: [TargetSelection, string][] = [
      [{ targetIds: [idOf('lan'), idOf('a')] }, 'targetIds[1]'],
      [{ groupIds: [groupId] }, 'groupIds[0]'],
    ];
    for (const [selection, path] of unseen) {
      const refused = start(selection, ofLan);
      await expect(refused).rejects.toMatchObject({ code: 'not_found', details: [{ path }] });
    }
    await expect(start({ selector: 'env' }, ofLan)).rejects.toThrow('No target is selected');
    const withoutJob = somebody(['read', segment()], ['run', segment()], ['credentials.use', segment()]);
    await expect(start({ targetIds: [idOf('a')] }, withoutJob)).rejects.toMatchObject({ code: 'not_found' });
    const reader = somebody(['read', null], ['run', segment()], ['credentials.use', segment()]);
    await expect(start({ targetIds: [idOf('a')] }, reader)).rejects.toThrow('run on category “general”');
  });
});

it('only people who may edit the job may loosen its limits, and all violations are reported at once', async () => {
  const steps = [{ name: 'only', type: 'ssh.exec', config: { command: 'true' } }];
  const bounded = { name: 'bounded', steps, priority: 1, timeout: 60, strategy: { max_parallel: 1 } };
  const { id } = await createJob(t, bounded, t.caller);
  const runner: [Permission, Scope | null][] = [
    ['read', null],
    ['run', null],
    ['credentials.use', null],
  ];
  const begin = (more: object, ...grants: [Permission, Scope | null][]) =>
    startRun(
      t,
      { jobId: id, selection: { targetIds: [idOf('a')] }, ...more },
      somebody(...runner, ...grants),
    );
  const loose = { priority: 2, timeoutS: 61, strategy: { max_parallel: 2 } };
  await expect(begin(loose)).rejects.toMatchObject({
    code: 'forbidden',
    details: [{ path: 'priority' }, { path: 'strategy' }, { path: 'timeout' }],
  });
  await begin({ priority: 0, timeoutS: 59 });
  const { runId } = await begin(loose, ['jobs.edit', null]);
  const [row] = await t.sql`select priority, timeout_s from job_runs where id = ${runId}`;
  expect(row).toEqual({ priority: 2, timeoutS: 61 });
});
