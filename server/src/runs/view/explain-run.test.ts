import type { RunExplanation, Wait } from '@opsconductor/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import { writeTargetSilence } from '../../store/queue/silent-targets.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { endOf, failure, givenUp, setupRuns, type TestRuns } from '../testing.ts';
import { explainRun } from './explain-run.ts';

type Scope = ConstructorParameters<typeof Authority>[0][number]['scope'];
const viewer = (...scopes: Scope[]) =>
  new Authority(scopes.map((scope) => ({ role: 'viewer', permission: null, scope })));
const everyone = viewer(null);

let t: TestRuns;
beforeEach(async () => {
  t = await setupRuns();
});
afterEach(() => t[Symbol.asyncDispose]());

async function waitsOf(runId: number, who = everyone): Promise<Wait[]> {
  return (await explainRun(t.sql, runId, who)).waits;
}

async function theWait(runId: number, who = everyone): Promise<Wait> {
  const waits = await waitsOf(runId, who);
  if (waits[0] === undefined || waits.length > 1)
    throw new Error(`${waits.length} waits: ${JSON.stringify(waits)}`);
  return waits[0];
}

/** Makes a reader of a group with this target. */
async function readerOf(targetId: number | undefined): Promise<Authority> {
  const [group] = await t.sql<{ id: number }[]>`
    insert into target_groups (name) values (${`group of ${targetId}`}) returning id`;
  const id = group?.id ?? 0;
  await t.sql`insert into target_group_members (target_group_id, target_id) values (${id}, ${targetId ?? 0})`;
  return viewer({ kind: 'target_group', id });
}

const targetsOf = async (runId: number) =>
  (
    await t.sql<{ targetId: number }[]>`
    select target_id from job_run_targets where job_run_id = ${runId} order by id`
  ).map((row) => row.targetId);

test('ready steps wait for what their segment’s agents lack, and start as soon as it is there', async () => {
  const runId = await t.start({ targets: 7 });
  const agent = t.sql`agents where id = ${t.agent.agentId}`;
  const session = t.sql`update agent_sessions set`;
  const changes: [string, RegExp, () => Promise<unknown>, () => Promise<unknown>][] = [
    [
      'agents_draining',
      /^The only agent in segment “.*” is draining\.$/,
      () => t.sql`update agents set drain_requested_at = now()`,
      () => t.sql`update agents set drain_requested_at = null`,
    ],
    [
      'agents_busy',
      /^The only agent in segment “.*” is busy\.$/,
      () => t.sql`${session} busy_reason = 'disk'`,
      () => t.sql`${session} busy_reason = null`,
    ],
    [
      'no_segment_key',
      /without the segment key/,
      () => t.sql`update segment_key_wraps set opened_at = null`,
      () => t.sql`update segment_key_wraps set opened_at = now()`,
    ],
    [
      'agents_starting',
      /connecting/,
      () => t.sql`${session} ready = false`,
      () => t.sql`${session} ready = true`,
    ],
    [
      'agents_silent',
      /silent/,
      () => t.sql`${session} expires_at = clock_timestamp() - interval '1 s'`,
      () => t.sql`${session} expires_at = clock_timestamp() + interval '1 h'`,
    ],
    [
      'agents_offline',
      /offline/,
      () => t.sql`${session} disconnected_at = now(), clean_shutdown = true`,
      () => t.sql`${session} disconnected_at = null, clean_shutdown = false`,
    ],
    [
      'agents_disabled',
      /disabled/,
      () => t.sql`update agents set state = 'disabled'`,
      () => t.sql`update agents set state = 'active'`,
    ],
  ];
  expect(await t.sql`select from ${agent}`).toHaveLength(1);
  const adviceOn: Record<string, RegExp> = {
    no_segment_key: /are lost and there is no recovery key, revoke them/,
  };
  for (const [code, message, make, mend] of changes) {
    await make();
    const wait = await theWait(runId);
    expect(wait).toMatchObject({ code, targets: 7, message: expect.stringMatching(message) });
    if (adviceOn[code] !== undefined) expect(wait.advice).toMatch(adviceOn[code]);
    expect(wait.examples).toHaveLength(5);
    expect(await t.claim(), code).toEqual([]);
    const stranger = await theWait(runId, await readerOf((await targetsOf(runId))[changes.length % 7]));
    expect(stranger).toMatchObject({ code: 'no_able_agent', targets: 1, since: null });
    await t.sql`delete from target_groups`;
    await mend();
  }
  expect(await theWait(runId)).toMatchObject({ code: 'starts_now' });
  const { agentId } = await t.addAgent('another');
  await t.sql`update agents set state = 'disabled' where id = ${agentId}`;
  await t.sql`${session} disconnected_at = now(), clean_shutdown = true`;
  expect(await theWait(runId)).toMatchObject({
    message: expect.stringMatching(/: 1 offline, 1 disabled/),
    advice: expect.stringMatching(/^Start or enable an agent/),
  });
  await t.sql`${session} disconnected_at = null, clean_shutdown = false`;
  expect(await t.claim()).toHaveLength(7);
  expect(await theWait(runId)).toMatchObject({ code: 'leased', agentName: t.agent.name, targets: 7 });
});

test('full agents are told with their slots, and runs of higher priority by name to readers who may see them', async () => {
  await t.connect(t.agent, { slots: 1 });
  const first = await t.start();
  await t.claimOne();
  const low = await t.start();
  expect(await theWait(low)).toMatchObject({
    code: 'no_free_slot',
    message: expect.stringContaining('busy (1 of 1)'),
    runs: [],
  });
  const high = await t.start({ job: { priority: 5 } });
  expect(await theWait(low)).toMatchObject({ code: 'behind_priority', runs: [high] });
  expect(await theWait(high)).toMatchObject({ code: 'no_free_slot' });
  const stranger = await theWait(low, await readerOf((await targetsOf(low))[0]));
  expect(stranger).toMatchObject({ code: 'behind_priority', runs: [] });
  expect(stranger.message).not.toMatch(/\d+ of \d+/);
  expect(first).toBeLessThan(low);
});

test('a lock names its holder only to readers who may see the target that holds it', async () => {
  const locks = [{ name: 'database', mode: 'exclusive' as const }];
  const holder = await t.start({ job: { locks } });
  const lease = await t.claimOne();
  const runId = await t.start({ targets: 2, job: { locks } });
  expect(await t.claim()).toEqual([]);
  const wait = await theWait(runId);
  expect(wait).toMatchObject({
    code: 'lock',
    message: `Lock “database” is held by run ${holder}.`,
    lockName: 'database',
    targets: 2,
    runs: [holder],
  });
  expect(wait.since).not.toBeNull();
  const stranger = await theWait(runId, await readerOf((await targetsOf(runId))[0]));
  expect(stranger).toMatchObject({
    message: 'Lock “database” is held by a run that you may not see.',
    targets: 1,
    runs: [],
    since: null,
  });
  await t.settle(endOf(lease));
  expect((await waitsOf(runId)).map(({ code }) => code)).toEqual(['lock', 'starts_now']);
  expect((await waitsOf(runId))[0]?.message).toMatch(/is free now/);
  await t.claimOne();
  expect((await waitsOf(runId)).map(({ code, message }) => [code, message])).toEqual(
    expect.arrayContaining([['lock', 'Lock “database” is held by other targets of this run.']]),
  );
});

test('what a strategy keeps back is told with its numbers, except to readers of a part', async () => {
  const strategy = { max_parallel: 1, batches: [2, 1] };
  const runId = await t.start({ targets: 4, job: { strategy } });
  const lease = await t.claimOne();
  const kept = async (who = everyone) => (await waitsOf(runId, who)).find(({ code }) => code !== 'leased');
  expect(await kept()).toMatchObject({
    code: 'max_parallel',
    message: 'One target runs at a time (max_parallel): the next begins when one ends.',
    targets: 3,
    segmentId: null,
  });
  await t.settle(endOf(lease));
  await t.claimOne();
  expect(await kept()).toMatchObject({
    code: 'batch',
    message: 'Batch 1 is open: the next begins when one more target has ended.',
    targets: 2,
  });
  expect(await kept(await readerOf((await targetsOf(runId))[3]))).toMatchObject({
    code: 'strategy',
    message: 'The run’s strategy lets its targets begin bit by bit.',
    targets: 1,
  });
});

test('a host that waits for a decision keeps its place, and explain says that others wait for that', async () => {
  const strategy = { max_parallel: 1, batches: [2, 1] };
  const runId = await t.start({ targets: 3, rules: [{ on_unknown: 'hold' }], job: { strategy } });
  await t.settle(givenUp(await t.claimOne()));
  expect(await t.claim()).toEqual([]);
  expect((await waitsOf(runId)).find(({ code }) => code === 'max_parallel')).toMatchObject({
    message:
      'One target runs at a time (max_parallel): the next begins when one ends. One that waits for a decision counts as running.',
    advice: expect.stringMatching(/^Decide/),
    targets: 2,
  });
});

test('held, retried, unheard and stopping steps say until or since when', async () => {
  const rules = [{ on_unknown: 'hold' as const }];
  const runId = await t.start({ targets: 2, rules });
  const [held, running] = await t.claim();
  if (held === undefined || running === undefined) throw new Error('two steps were to be claimed');
  await t.settle(givenUp(held));
  await t.sql`update job_run_steps set started_at = now() where id = ${running.id}`;
  const [decision] = await waitsOf(runId);
  expect(decision).toMatchObject({ code: 'decision', targets: 1, agentName: t.agent.name });
  const [attempt] = await t.sql<{ settledAt: Date }[]>`
    select settled_at from job_run_step_attempts where job_run_step_id = ${held.id}`;
  expect(decision?.since).toBe(attempt?.settledAt.toISOString());
  expect(decision?.until).not.toBeNull();
  await t.sql`update agent_sessions set disconnected_at = now()`;
  expect((await waitsOf(runId)).map(({ code }) => code).sort()).toEqual(['agent_unheard', 'decision']);
  await t.sql`update agent_sessions set disconnected_at = null`;
  await cancelRun(t.sql, runId, t.caller, { force: false });
  expect((await waitsOf(runId)).map(({ code }) => code)).toContain('stopping');

  const again = await t.start({ rules: [{ retry: { attempts: 2, delay: 60, on: ['exit_code'] } }] });
  const lease = await t.claimOne();
  await t.settle(endOf(lease, failure));
  const [retry] = await waitsOf(again);
  expect(retry).toMatchObject({ code: 'retry', targets: 1 });
  expect(Date.parse(retry?.until ?? '')).toBeGreaterThan(Date.now());
});

test('a running step whose target does not answer its agent says since when and until when, until it answers', async () => {
  const runId = await t.start({});
  const { id: stepId, epoch, leaseToken } = await t.claimOne();
  const silence = { stepId, epoch, leaseToken, agentId: t.agent.agentId, silentMs: 40_000, leftMs: 600_000 };
  // Not begun yet, so its agent does not watch anything.
  await writeTargetSilence(t.sql, silence);
  expect((await waitsOf(runId)).map(({ code }) => code)).toEqual(['leased']);
  await t.sql`update job_run_steps set started_at = now() where id = ${stepId}`;
  const [wait] = await waitsOf(runId);
  expect(wait).toMatchObject({
    code: 'target_silent',
    message: expect.stringContaining('does not answer agent'),
    advice: expect.stringContaining('cancel'),
    agentName: t.agent.name,
    targets: 1,
  });
  const { at } = await explainRun(t.sql, runId, everyone);
  expect(Date.parse(at) - Date.parse(wait?.since ?? '')).toBeGreaterThanOrEqual(40_000);
  expect(Date.parse(wait?.until ?? '')).toBeGreaterThan(Date.parse(at));
  for (const foreign of [{ epoch: epoch + 1 }, { agentId: 0 }])
    await writeTargetSilence(t.sql, { ...silence, ...foreign, silentMs: undefined });
  expect((await waitsOf(runId)).map(({ code }) => code)).toEqual(['target_silent']);
  await writeTargetSilence(t.sql, { ...silence, silentMs: undefined });
  expect(await waitsOf(runId)).toEqual([]);
  await writeTargetSilence(t.sql, { ...silence, leaseToken: 'of another lease' });
  expect(await waitsOf(runId)).toEqual([]);
});

test('a run’s own limits are told while they apply, and only to readers of the whole run', async () => {
  const runId = await t.start({ targets: 2, job: { timeout: 600 } });
  const part = await readerOf((await targetsOf(runId))[0]);
  const times = ({ startBy, timeoutAt }: RunExplanation) => [startBy !== null, timeoutAt !== null];
  expect(times(await explainRun(t.sql, runId, everyone))).toEqual([true, false]);
  const leases = await t.claim();
  await t.sql`update job_runs set started_at = now() where id = ${runId}`;
  expect(times(await explainRun(t.sql, runId, everyone))).toEqual([false, true]);
  expect(times(await explainRun(t.sql, runId, part))).toEqual([false, false]);
  await t.settle(...leases.map((lease) => endOf(lease)));
  expect(await explainRun(t.sql, runId, everyone)).toMatchObject({
    waits: [],
    startBy: null,
    timeoutAt: null,
  });
  await expect(explainRun(t.sql, runId, viewer())).rejects.toMatchObject({ code: 'not_found' });
});
