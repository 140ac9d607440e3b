import { expect, test } from 'vitest';
import { endOf, holdTransaction, setupRuns, success, testServerId } from '../../../runs/testing.ts';
import { getAgent } from '../../../segments/agents/list-agents.ts';
import { lockCurrentSession, openSessions, renewSessions } from '../../agents/agent-sessions.ts';
import type { Tx } from '../../database/connection.ts';
import { inTransaction } from '../../database/transaction.ts';
import { unrestricted } from '../../people/visibility.ts';
import { claimOnce, claimSteps } from './claims.ts';
import { leaseDetails } from './lease-details.ts';

const otherServerId = '0b7e1c52-0000-4000-8000-000000000002';

test('two servers that claim at once give no step twice and leave none', async () => {
  await using t = await setupRuns();
  const other = await t.addAgent('agent-b');
  await t.connect(t.agent, { slots: 40 });
  await t.connect(other, { slots: 40, serverId: otherServerId });
  for (let round = 0; round < 5; round += 1) {
    await t.start({ targets: 30 });
    const claims = await Promise.all([1, 2, 3].flatMap(() => [t.claim(), t.claim(otherServerId)]));
    const claimed = claims.flat();
    // A claim skips steps that the other claim has just locked; only the next claim takes them.
    claimed.push(...(await t.claim()));
    expect(claimed).toHaveLength(30);
    expect(new Set(claimed.map((step) => step.id)).size).toBe(30);
    expect(new Set(claimed.map((step) => step.leaseToken)).size).toBe(30);
    await t.settle(...claimed.map((step) => endOf(step)));
  }
});

test('an agent is leased no more steps than it has slots, and more as steps end', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 3 });
  await t.start({ targets: 5 });
  const first = await t.claim();
  expect(first).toHaveLength(3);
  expect(await t.claim()).toEqual([]);
  await t.settle(...first.slice(0, 2).map((step) => endOf(step)));
  expect(await t.claim()).toHaveLength(2);
});

test('steps are spread over the agents of a segment, oldest run first', async () => {
  await using t = await setupRuns();
  const other = await t.addAgent('agent-b');
  await t.connect(t.agent, { slots: 2 });
  await t.connect(other, { slots: 2 });
  const older = await t.start({ targets: 2 });
  const newer = await t.start({ targets: 3 });
  const claimed = await t.claim();
  expect(claimed.map((step) => step.jobRunId).sort()).toEqual([older, older, newer, newer]);
  expect(claimed.filter((step) => step.agentId === other.agentId)).toHaveLength(2);
});

test('the agent that runs less is leased the next step, however many slots each has free', async () => {
  await using t = await setupRuns();
  const other = await t.addAgent('agent-b');
  await t.connect(t.agent, { slots: 10 });
  await t.connect(other, { slots: 4 });
  const agentsOf = async (targets: number) => {
    await t.start({ targets });
    return (await t.claim()).map((step) => (step.agentId === t.agent.agentId ? 'first' : 'other')).sort();
  };
  expect([await agentsOf(1), await agentsOf(1), await agentsOf(1)]).toEqual([
    ['first'],
    ['other'],
    ['first'],
  ]);
  expect(await agentsOf(3)).toEqual(['first', 'other', 'other']);
});

test('each lease has an epoch above the last, a token of its own and a day for its output', async () => {
  await using t = await setupRuns();
  await t.start();
  const first = await t.claimOne();
  await t.sql`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null
    where id = ${first.id}`;
  const second = await t.claimOne();
  expect(second).toMatchObject({ id: first.id, epoch: first.epoch + 1 });
  expect(second.leaseToken).not.toBe(first.leaseToken);
  const [today] = await t.sql`select (clock_timestamp() at time zone 'UTC')::date::text as day`;
  expect(second.attemptDay).toBe(today?.day);
});

const unfit: [string, string][] = [
  ['is not ready yet', 'update agent_sessions set ready = false'],
  ['drains', 'update agent_sessions set draining = true'],
  ['has gone', 'update agent_sessions set disconnected_at = clock_timestamp()'],
  ['was not heard of for its lease TTL', 'update agent_sessions set expires_at = clock_timestamp()'],
  ['is held by another server', `update agent_sessions set server_id = '${otherServerId}'`],
  ['is disabled', "update agents set state = 'disabled'"],
  ['is drained', 'update agents set drain_requested_at = now()'],
  ['has authenticated elsewhere since', 'update agents set session_number = session_number + 1'],
  ['has not opened the segment key', 'update segment_key_wraps set opened_at = null'],
  ['lacks the newest generation of the segment key', 'update segments set key_generation = 2'],
];

test.each(unfit)('an agent that %s is leased nothing', async (_, change) => {
  await using t = await setupRuns();
  const runId = await t.start();
  await t.sql.unsafe(change);
  expect(await t.claim()).toEqual([]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'ready', epoch: 0 }]);
});

test('a second agent is leased nothing until a peer has given it the segment key', async () => {
  await using t = await setupRuns();
  await t.sql`update agent_sessions set draining = true`;
  await t.addAgent('agent-b', { hasSegmentKey: false });
  await t.start();
  expect(await t.claim()).toEqual([]);
});

test('a claim that meets an agent opening a newer session leases it nothing under the old one', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const commit = await holdTransaction(t.sql, (tx) =>
    openSessions(
      tx,
      [{ agentId: t.agent.agentId, sessionNumber: t.agent.sessionNumber + 1, generation: 9, address: '' }],
      { serverId: testServerId, leaseTtlMs: 20_000 },
    ),
  );
  expect(await t.claim()).toEqual([]);
  await commit();
  expect(await t.claim()).toEqual([]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'ready', epoch: 0 }]);
});

test('a claim does not wait for an agent that a resume has locked, which then locks the step that the claim is at', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const { agentId, sessionNumber } = t.agent;
  const [step] = await t.steps(runId);
  await t.sql.begin(async (tx) => {
    expect(await lockCurrentSession(tx as unknown as Tx, { agentId, sessionNumber })).toBe(true);
    expect(await claimSteps(t.sql, testServerId)).toMatchObject({ steps: [], tookAll: false });
    expect(await tx`select id from job_run_steps where id = ${step?.id ?? 0} for update nowait`).toHaveLength(
      1,
    );
  });
  expect(await t.claim()).toHaveLength(1);
});

test('a step of another segment is not leased', async () => {
  await using t = await setupRuns();
  await t.start();
  await t.sql`update job_run_steps set segment_id = segment_id + 1`;
  expect(await t.claim()).toEqual([]);
});

test('a claim skips steps that another transaction has locked, without waiting', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  const [first, second] = await t.steps(runId);
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select 1 from job_run_steps where id = ${first?.id ?? 0} for update`,
  );
  const claimed = await t.claim();
  await release();
  expect(claimed.map((step) => step.id)).toEqual([second?.id]);
  await t.settle(endOf(claimed[0] ?? (await t.claimOne()), success));
});

test('a claim says whether it may have left steps for lack of slots', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 2 });
  const took = async () => {
    const { steps, tookAll } = await claimSteps(t.sql, testServerId);
    return [steps.length, tookAll];
  };
  expect(await took()).toEqual([0, true]);
  await t.start();
  expect(await took()).toEqual([1, true]);
  await t.start({ targets: 2 });
  expect(await took()).toEqual([1, false]);
  expect(await took()).toEqual([0, false]);
});

test('a claim returns what its leases need, the same as a separate look-up would', async () => {
  await using t = await setupRuns();
  await t.start({ targets: 2 });
  const claimed = await t.claim();
  const details = await leaseDetails(
    t.sql,
    claimed.map((step) => step.id),
  );
  expect(claimed.map((step) => step.details)).toEqual(details.sort((a, b) => a.stepId - b.stepId));
  expect(details).toHaveLength(2);
});

test('a run on many targets does not hold up a run on one', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 2 });
  const many = await t.start({ targets: 5 });
  await t.claim();
  const [first] = await t.steps(many);
  await t.sql`update agent_sessions set slots = 3`;
  const one = await t.start();
  const claimed = await t.claim();
  expect(claimed.map((step) => step.jobRunId)).toEqual([one]);
  expect(first?.status).toBe('running');
});

test('free slots go to the runs with the least in flight', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 3 });
  const busy = await t.start({ targets: 9 });
  await t.claim();
  const idle = await t.start({ targets: 9 });
  const other = await t.start({ targets: 1 });
  await t.sql`update agent_sessions set slots = 8`;
  const counts = new Map<number, number>();
  for (const { jobRunId } of await t.claim()) counts.set(jobRunId, (counts.get(jobRunId) ?? 0) + 1);
  expect(counts).toEqual(
    new Map([
      [busy, 1],
      [idle, 3],
      [other, 1],
    ]),
  );
});

test('a run of higher priority is served first, whatever it has in flight', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 2 });
  const urgent = await t.start({ targets: 4 });
  await t.sql`update job_run_steps set claim_rank = -10`;
  await t.claim();
  await t.start({ targets: 2 });
  await t.sql`update agent_sessions set slots = 3`;
  expect((await t.claim()).map((step) => step.jobRunId)).toEqual([urgent]);
});

test('a step is not leased before its time, and then without a notification', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  const [first, second] = await t.steps(runId);
  await t.sql`update job_run_steps set not_before = clock_timestamp() + interval '1 hour' where id = ${first?.id ?? 0}`;
  expect((await t.claim()).map((step) => step.id)).toEqual([second?.id]);
  expect(await t.claim()).toEqual([]);
  await t.sql`update job_run_steps set not_before = clock_timestamp() where not_before is not null`;
  expect((await t.claim()).map((step) => step.id)).toEqual([first?.id]);
});

test('a claim reads the steps that it may take, not all that are ready', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 4 });
  const [step] = await t.steps(await t.start());
  await t.sql`
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select st.job_run_id, st.target_run_id, st.segment_id, n, 'ssh.exec', 60, 'ready'
    from job_run_steps st, generate_series(2, 20000) n where st.id = ${step?.id ?? 0}`;
  await t.sql`analyze job_run_steps`;
  await inTransaction(t.sql, async (tx) => {
    const read = async () => {
      const [row] = await tx<{ rows: number }[]>`
        select (seq_tup_read + idx_tup_fetch)::int as rows from pg_stat_xact_user_tables
        where relname = 'job_run_steps'`;
      return row?.rows ?? Number.NaN;
    };
    const before = await read();
    expect((await claimOnce(tx, testServerId)).steps).toHaveLength(4);
    expect((await read()) - before).toBeLessThan(100);
  });
});

test('a run behind hundreds of the same priority with endless steps gets its turn', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 512 });
  const first = await t.start();
  // Copies of the run, each with as many ready steps as it will ever need.
  await t.sql`
    with copied as (
      insert into job_runs overriding system value
      select made.* from job_runs r, generate_series(1, 400) n
      cross join lateral jsonb_populate_record(r, jsonb_build_object('id', r.id + n)) made
      where r.id = ${first}
      returning id
    ), targets as (
      insert into job_run_targets overriding system value
      select made.* from job_run_targets tr, copied
      cross join lateral jsonb_populate_record(tr, jsonb_build_object('id', tr.id + copied.id, 'job_run_id', copied.id)) made
      where tr.job_run_id = ${first}
      returning id, job_run_id, segment_id
    )
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select job_run_id, id, segment_id, n, 'ssh.exec', 60, 'ready' from targets, generate_series(1, 20) n`;
  const youngest = first + 400;
  const claimed = new Set<number>();
  for (let round = 0; round < 200 && !claimed.has(youngest); round += 1) {
    for (const { jobRunId } of await t.claim()) claimed.add(jobRunId);
    // Some steps end, and their runs get new ones.
    await t.sql`
      update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null
      where id in (select id from job_run_steps where status = 'running' order by random() limit 64)`;
    await t.sql`update agent_sessions set expires_at = clock_timestamp() + interval '1 minute'`;
  }
  expect(claimed).toContain(youngest);
});

test('an agent that says that it is busy is given nothing until it no longer says so', async () => {
  await using t = await setupRuns();
  await t.start();
  const { agentId, sessionNumber } = t.agent;
  const beat = { agentId, sessionNumber, rssBytes: null, spoolBytes: null, loadAverage: null };
  await renewSessions(t.sql, [{ ...beat, busyReason: 'memory' }], 20_000);
  expect(await t.claim()).toEqual([]);
  expect((await getAgent(t.sql, agentId, unrestricted)).busyReason).toBe('memory');
  await renewSessions(t.sql, [beat], 20_000);
  expect(await t.claim()).toHaveLength(1);
  expect((await getAgent(t.sql, agentId, unrestricted)).busyReason).toBeNull();
});
