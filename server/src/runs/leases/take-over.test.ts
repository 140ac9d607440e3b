import type { JournalAttempt } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { lockCurrentSession } from '../../store/agents/agent-sessions.ts';
import type { Tx } from '../../store/database/connection.ts';
import { orphanAttempts, takeOverOrphans } from '../../store/queue/attempts/detached-attempts.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { Sweeper } from '../ends/sweeper.ts';
import {
  blockedBackends,
  endOf,
  givenUp,
  growRun,
  holdTransaction,
  refuseToWrite,
  setupRuns,
  type TestAgent,
  type TestRuns,
  testServerId,
} from '../testing.ts';
import { markLeased } from './mark-leased.ts';
import { resumeAgent } from './resume-agent.ts';

const capabilities = ['take_over'];

/** Starts a run whose command goes on without its agent, `lease.agentId`, and adds another agent of the segment. */
async function setup({ others = true } = {}) {
  const t = await setupRuns();
  const holder = await t.connect(t.agent, { capabilities });
  const runId = await t.start();
  const lease = await t.claimOne();
  const other = await t.connect(await t.addAgent('agent-b'), others ? { capabilities } : {});
  const { id: step, epoch, agentId, sessionNumber } = lease;
  await markLeased(t.sql, [lease], [{ step, epoch, agentId, sessionNumber, survives: true }]);
  const log = createLog({ level: 'silent', plain: false });
  const sweeper = new Sweeper({ sql: t.sql, serverId: testServerId, log, publish: () => undefined });
  const sweep = async () => {
    // After a longer gap, a sweep would only extend leases.
    await t.sql`update cluster_clock set touched_at = clock_timestamp()`;
    await sweeper.sweep();
  };
  const takeOver = () => takeOverOrphans(t.sql, testServerId, 10);
  return Object.assign(t, { runId, lease, holder, other, sweep, takeOver });
}

async function silence(t: TestRuns, { agentId }: TestAgent): Promise<void> {
  await t.sql`
    update agent_sessions set last_heartbeat_at = clock_timestamp() - interval '10 minutes',
      expires_at = clock_timestamp() - interval '9 minutes' where agent_id = ${agentId}`;
}

async function resumed(t: TestRuns, agent: TestAgent, attempts: JournalAttempt[], journalIntact = true) {
  const { agentId, sessionNumber } = agent;
  const about = { version: '0.1.0', platform: 'linux-x64', hostname: null };
  const session = { agentId, sessionNumber, slots: 8, draining: false, capabilities };
  const answer = await resumeAgent(t.sql, { ...session, ...about, journalIntact, attempts });
  if (answer === undefined) throw new Error('another session is newer');
  return answer;
}

function journaled(lease: ClaimedStep): JournalAttempt {
  const { id: step, epoch, leaseToken } = lease;
  return { step, epoch, leaseToken, state: 'running', lastSeq: 0, survives: true };
}

test('a command whose agent is silent goes to another agent, and the first one can write nothing any more', async () => {
  await using t = await setup();
  await t.sweep();
  expect(await t.takeOver()).toEqual([]);
  await silence(t, t.holder);
  await t.sweep();
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
  const [taken] = await t.takeOver();
  expect(taken).toMatchObject({
    ...{ id: t.lease.id, epoch: 1, leaseToken: t.lease.leaseToken },
    ...{ agentId: t.other.agentId, agentName: 'agent-b', collector: 1 },
  });
  expect(await t.takeOver()).toEqual([]);

  const back = await t.connect(t.agent, { capabilities, ready: false });
  expect((await resumed(t, back, [journaled(t.lease)])).verdicts).toEqual([
    { step: t.lease.id, epoch: 1, verdict: 'forget', taken: true, ackedSeq: 0 },
  ]);
  const late = await t.settle(endOf({ ...t.lease, sessionNumber: back.sessionNumber }));
  expect(late.results).toMatchObject([{ result: 'superseded' }]);
  const { results } = await t.settle(endOf({ ...t.lease, ...t.other }));
  expect(results).toMatchObject([{ result: 'settled' }]);
  expect(await t.run(t.runId)).toMatchObject({ status: 'succeeded' });
});

test('a command doesn’t go to an agent that could not have begun it', async () => {
  await using t = await setup();
  await t.sql`update job_run_steps set needs = '{become}' where id = ${t.lease.id}`;
  const able = await t.connect(await t.addAgent('agent-c'), { capabilities: [...capabilities, 'become'] });
  await silence(t, t.holder);
  await t.sweep();
  expect(await t.takeOver()).toMatchObject([{ id: t.lease.id, agentId: able.agentId }]);
});

test('an agent that comes back before anybody took over its command goes on with it', async () => {
  await using t = await setup();
  await silence(t, t.holder);
  await t.sweep();
  const back = await t.connect(t.agent, { capabilities, ready: false });
  expect((await resumed(t, back, [journaled(t.lease)])).verdicts).toMatchObject([{ verdict: 'continue' }]);
  expect(await t.takeOver()).toEqual([]);
  await t.sweep();
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', sessionNumber: back.sessionNumber }]);
});

test('an agent that has lost its journal may take over its own command', async () => {
  await using t = await setup({ others: false });
  const back = await t.connect(t.agent, { capabilities, ready: false });
  expect((await resumed(t, back, [], false)).ends).toEqual([]);
  expect(await t.takeOver()).toMatchObject([{ agentId: back.agentId, sessionNumber: back.sessionNumber }]);
});

test('if no agent can take over a command, or none has in time, it becomes unknown', async () => {
  await using t = await setup({ others: false });
  await silence(t, t.holder);
  await t.sweep();
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'unknown', reason: 'agent_silent' }]);

  await using late = await setup();
  const back = await late.connect(late.agent, { capabilities, ready: false });
  await resumed(late, back, [], false);
  await late.sql`update detached_attempts set orphaned_at = clock_timestamp() - interval '2 minutes'`;
  await late.sweep();
  expect(await late.steps(late.runId)).toMatchObject([{ status: 'unknown', reason: 'agent_restarted' }]);
});

test('a command that brings down every agent that takes it over is given away a limited number of times', async () => {
  await using t = await setup();
  await t.sql`update detached_attempts set collector = 5`;
  await silence(t, t.holder);
  await t.sweep();
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'unknown', reason: 'agent_silent' }]);
});

test('a command whose step can’t be written keeps others from neither waiting for another agent nor ending', async () => {
  await using t = await setup();
  const [other, plain] = [await t.start(), await t.start()];
  const leases = await t.claim();
  const { agentId, sessionNumber } = t.holder;
  await t.sql`update job_run_steps set agent_id = ${agentId}, session_number = ${sessionNumber}`;
  const second = leases.find(({ jobRunId }) => jobRunId === other);
  const begun = { step: second?.id ?? 0, epoch: 1, agentId, sessionNumber, survives: true };
  await markLeased(t.sql, leases, [begun]);
  await refuseToWrite(t.sql, t.lease.id);
  await silence(t, t.holder);
  await expect(t.sweep()).rejects.toThrow('can not be written');
  expect(await t.steps(plain)).toMatchObject([{ status: 'unknown' }]);
  expect(await t.takeOver()).toMatchObject([{ id: second?.id }]);
});

test('a command that turns out not to survive its agent is not given away', async () => {
  await using t = await setup();
  const { id: step, epoch, agentId, sessionNumber } = t.lease;
  await markLeased(t.sql, [], [{ step, epoch, agentId, sessionNumber, survives: false }]);
  await silence(t, t.holder);
  await t.sweep();
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'unknown', reason: 'agent_silent' }]);
});

test('only the agent that has a command can say that the command ends with its agent', async () => {
  await using t = await setup();
  const { id: step, epoch } = t.lease;
  await markLeased(t.sql, [], [{ step, epoch, ...t.other, survives: false }]);
  await silence(t, t.holder);
  await t.sweep();
  expect(await t.takeOver()).toMatchObject([{ agentId: t.other.agentId }]);
});

test('a command that its former agent returns late, or that is given up for that agent, stays with the one that took it over', async () => {
  await using t = await setup();
  await silence(t, t.holder);
  await t.sweep();
  const { id: stepId, epoch, leaseToken, agentId, sessionNumber } = t.lease;
  await t.takeOver();
  const former = { agentId, sessionNumber };
  const late = await orphanAttempts(t.sql, [{ stepId, epoch, leaseToken, ...former }], { expected: true });
  expect(late).toEqual(new Set());
  await t.settle({ ...givenUp(t.lease), source: { kind: 'server', heldBy: former } });
  const { sessionNumber: others } = t.other;
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', sessionNumber: others }]);
});

test('a command given to an agent that never heard of it is not taken for one that never began', async () => {
  await using t = await setup();
  await silence(t, t.holder);
  await t.sweep();
  await t.takeOver();
  await t.settle(givenUp(t.lease));
  const again = await t.connect(t.other, { capabilities, ready: false });
  expect((await resumed(t, again, [])).ends).toEqual([]);
});

test('an attempt that is given up for another agent while one takes it over is left to that one, without a deadlock', async () => {
  await using t = await setup();
  const { id: stepId, epoch, leaseToken, agentId, sessionNumber } = t.lease;
  const { agentId: other, sessionNumber: others } = t.other;
  let orphaning: Promise<Set<number>> | undefined;
  // As a take-over does it: first the step, then what is known of its command.
  await t.sql.begin(async (tx) => {
    await tx`update job_run_steps set agent_id = ${other}, session_number = ${others} where id = ${stepId}`;
    const attempt = { stepId, epoch, leaseToken, agentId, sessionNumber };
    orphaning = orphanAttempts(t.sql, [attempt], { expected: true });
    orphaning.catch(() => undefined);
    await blockedBackends(t.sql, 1);
    await tx`update detached_attempts set collector = collector + 1, orphaned_at = null`;
  });
  expect(await orphaning).toEqual(new Set());
  expect(await t.sql`select orphaned_at from detached_attempts`).toEqual([{ orphanedAt: null }]);
});

test('a take-over does not wait for an agent that a resume has locked, which then locks the command’s step', async () => {
  await using t = await setup();
  await silence(t, t.holder);
  await t.sweep();
  await t.sql.begin(async (tx) => {
    expect(await lockCurrentSession(tx as unknown as Tx, t.other)).toBe(true);
    expect(await t.takeOver()).toEqual([]);
    expect(await tx`select id from job_run_steps where id = ${t.lease.id} for update nowait`).toHaveLength(1);
  });
  expect(await t.takeOver()).toMatchObject([{ agentId: t.other.agentId }]);
});

test('a resume locks the run before the step whose command goes on without its agent, as others do', async () => {
  await using t = await setup();
  await t.sql`update agent_sessions set disconnected_at = now() where agent_id = ${t.other.agentId}`;
  const runId = await t.start({ targets: 2 });
  const [going, unbegun] = await t.claim();
  if (going === undefined || unbegun === undefined) throw new Error('two were to be claimed');
  const { id: step, epoch, agentId, sessionNumber } = going;
  await markLeased(t.sql, [going, unbegun], [{ step, epoch, agentId, sessionNumber, survives: true }]);
  const back = await t.connect(t.agent, { capabilities, ready: false });
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select from job_runs where id = ${runId} for update`,
  );
  const resuming = resumed(t, back, []);
  await blockedBackends(t.sql, 1);
  const free = await t.sql`
    select id from job_run_steps where job_run_id = ${runId} order by id for update skip locked`;
  await release();
  await resuming;
  expect(free).toEqual([{ id: going.id }, { id: unbegun.id }]);
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual(['running', 'ready']);
});

test('many commands that wait for another agent don’t keep other attempts from being given up', async () => {
  await using t = await setup();
  const many = await t.start();
  await growRun(t.sql, many, 500);
  await t.sql`
    update job_run_steps st set status = 'running', epoch = 1, lease_token = st.id::text, agent_id = first.agent_id,
      session_number = 0, attempt_day = first.attempt_day, leased_at = first.leased_at,
      deadline_at = first.deadline_at, output_state = 'open'
    from job_run_steps first where first.id = ${t.lease.id} and st.job_run_id = ${many}`;
  await t.sql`
    insert into detached_attempts (job_run_step_id, epoch, orphaned_at)
    select id, 1, clock_timestamp() from job_run_steps where job_run_id = ${many}`;
  await silence(t, t.holder);
  const last = await t.start();
  const lease = await t.claimOne();
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 s' where id = ${lease.id}`;
  await t.sweep();
  expect(await t.run(last)).toMatchObject({ status: 'unknown' });
  expect(new Set((await t.steps(many)).map(({ status }) => status))).toEqual(new Set(['running']));
});
