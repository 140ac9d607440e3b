import type { JournalAttempt } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { markStarted, readySessions } from '../../store/agents/agent-sessions.ts';
import type { ClaimedStep } from '../../store/queue/claims.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { decideHeld } from '../ends/decide-held.ts';
import { endOf, givenUp, setupRuns, success, type TestAgent, type TestRuns } from '../testing.ts';
import { type Resume, resumeAgent, resumeAgents } from './resume-agent.ts';

/** The agent connects anew and presents these attempts. */
async function resume(t: TestRuns, attempts: JournalAttempt[], more: Partial<Resume> = {}) {
  const agent = await t.connect(t.agent, { ready: false });
  const resumed = await resumeAgent(t.sql, { ...presented(agent), attempts, ...more });
  if (resumed === undefined) throw new Error('another session is newer');
  return { agent, resumed };
}

function presented({ agentId, sessionNumber }: TestAgent): Resume {
  const about = { version: '0.1.0', platform: 'linux-x64', hostname: null };
  return { agentId, sessionNumber, slots: 8, draining: false, journalIntact: true, attempts: [], ...about };
}

function journaled(
  lease: ClaimedStep,
  state: JournalAttempt['state'],
  more: Partial<JournalAttempt> = {},
): JournalAttempt {
  return { step: lease.id, epoch: lease.epoch, leaseToken: lease.leaseToken, state, lastSeq: 0, ...more };
}

test('what the agent still runs goes on under its new session', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { agent, resumed } = await resume(t, [journaled(lease, 'running')]);
  expect(resumed.verdicts).toEqual([{ step: lease.id, epoch: 1, verdict: 'continue', ackedSeq: 0 }]);
  expect(resumed.attempts).toMatchObject([{ stepId: lease.id, leaseToken: lease.leaseToken, runId }]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running', sessionNumber: agent.sessionNumber }]);
  const old = await t.settle(endOf(lease));
  expect(old.results).toMatchObject([{ result: 'superseded' }]);
  const { results } = await t.settle(endOf({ ...lease, sessionNumber: agent.sessionNumber }));
  expect(results).toMatchObject([{ result: 'settled' }]);
});

test('the resume of a session that a newer one has replaced takes nothing from that', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  const [kept, absent] = await t.claim();
  if (kept === undefined || absent === undefined) throw new Error('not leased');
  const replaced = await t.connect(t.agent, { ready: false });
  const attempts = [journaled(kept, 'running'), journaled(absent, 'running')];
  const { agent } = await resume(t, attempts);
  const late = { ...presented(replaced), attempts: [journaled(kept, 'running')] };
  expect(await resumeAgent(t.sql, late)).toBeUndefined();
  expect(await t.steps(runId)).toMatchObject([
    { status: 'running', sessionNumber: agent.sessionNumber },
    { status: 'running', sessionNumber: agent.sessionNumber },
  ]);
  const { results } = await t.settle(endOf({ ...kept, sessionNumber: agent.sessionNumber }));
  expect(results).toMatchObject([{ result: 'settled' }]);
});

test('what an intact journal does not have goes back to ready: it never began', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  const [kept, absent] = await t.claim();
  if (kept === undefined || absent === undefined) throw new Error('not leased');
  const { resumed } = await resume(t, [journaled(kept, 'leased')]);
  expect(resumed.ends).toEqual([]);
  expect(resumed.news.segments).toEqual([t.segmentId]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }, { status: 'ready', epoch: 1 }]);
  expect(await t.claimOne()).toMatchObject({ id: absent.id, epoch: 2 });
});

test('another lease under the same number is not taken for the agent’s', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { resumed } = await resume(t, [journaled(lease, 'running', { leaseToken: 'from-before-a-restore' })]);
  expect(resumed.verdicts).toMatchObject([{ verdict: 'forget' }]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'ready' }]);
});

test('nothing is concluded from what a damaged journal does not have', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { resumed } = await resume(t, [], { journalIntact: false });
  expect(await t.steps(runId)).toMatchObject([{ status: 'running', epoch: 1 }]);
  expect(resumed.ends).toMatchObject([
    {
      stepId: lease.id,
      source: { kind: 'server' },
      outcome: { status: 'unknown', reason: 'agent_restarted' },
    },
  ]);
  await t.settle(...resumed.ends);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown', outputState: 'gapped' });
});

test('what was leased before a journal was lost is never said not to have begun; what was leased since can be', async () => {
  await using t = await setupRuns();
  await t.start();
  const before = await t.claimOne();
  const loss = { journalIntact: false, journalLoss: 'a' };
  const { resumed, agent } = await resume(t, [], loss);
  // A sweep had it at the same time, and was first.
  await t.settle(givenUp(before), ...resumed.ends);
  t.agent.sessionNumber = agent.sessionNumber;
  await t.start();
  const since = await t.claimOne();
  // The answer to its resume was lost, and with it the lease: it tells of the same loss again.
  await resume(t, [], loss);
  await t.settle(givenUp(since));
  const { ends } = (await resume(t, [])).resumed;
  expect(ends.map(({ stepId, outcome }) => [stepId, outcome.reason])).toEqual([[since.id, 'lease_expired']]);
});

test('what was leased before a journal was lost is not ready again, though the next one is intact and its end was never settled', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 2 });
  const [before, other] = await t.claim();
  if (before === undefined || other === undefined) throw new Error('not leased');
  await t.settle(endOf(other));
  const { agent } = await resume(t, [], { journalIntact: false, journalLoss: 'a' });
  t.agent.sessionNumber = agent.sessionNumber;
  await t.start();
  const since = await t.claimOne();
  // The server was killed before it settled anything, and the agent has begun a new journal.
  const { resumed } = await resume(t, []);
  expect(resumed.ends).toMatchObject([
    { stepId: before.id, outcome: { status: 'unknown', reason: 'agent_restarted' } },
  ]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }, { status: 'succeeded' }]);
  expect(await t.steps(since.jobRunId)).toMatchObject([{ status: 'ready', epoch: 1 }]);
  await t.settle(...resumed.ends);
  expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
});

test('a step that had begun is not ready again, though an intact journal lacks it', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await markStarted(t.sql, [{ step: lease.id, ...lease }]);
  const { resumed } = await resume(t, []);
  expect(resumed.ends).toMatchObject([{ stepId: lease.id, outcome: { status: 'unknown' } }]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }]);
});

test('what runs in a run that is being cancelled is to be stopped', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  const { resumed } = await resume(t, [journaled(lease, 'running')]);
  expect(resumed.verdicts).toMatchObject([{ verdict: 'cancel' }]);
});

test('in a run that is being cancelled what never began ends cancelled, and so does the run', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 2 });
  await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  await resume(t, []);
  expect(await t.steps(runId)).toMatchObject([{ status: 'cancelled' }, { status: 'cancelled' }]);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 2 });
});

test('an attempt that was given up may still bring its output and its outcome, once', async () => {
  await using t = await setupRuns();
  await t.start();
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  const first = await resume(t, [journaled(lease, 'interrupted')]);
  expect(first.resumed.verdicts).toEqual([{ step: lease.id, epoch: 1, verdict: 'superseded', ackedSeq: 0 }]);
  expect(first.resumed.attempts).toMatchObject([{ stepId: lease.id }]);
  await t.settle(endOf({ ...lease, sessionNumber: first.agent.sessionNumber }, success));
  const second = await resume(t, [journaled(lease, 'finished')]);
  expect(second.resumed.verdicts).toMatchObject([{ verdict: 'forget' }]);
  expect(second.resumed.attempts).toEqual([]);
});

test('what was given up is to be stopped once nobody waits for its end, and is waited for until then', async () => {
  await using t = await setupRuns();
  const rules = [{ on_unknown: 'retry', idempotent: true } as const];
  await t.start({ rules });
  const again = await t.claimOne();
  const open = await t.start({ rules: [{ on_unknown: 'hold' }] });
  const held = await t.claimOne();
  const cancelled = await t.start({ targets: 2 });
  const [cut, other] = await t.claim();
  if (cut === undefined || other === undefined) throw new Error('not leased');
  await t.settle(givenUp(again), givenUp(held), givenUp(cut));
  await t.claimOne();
  await cancelRun(t.sql, cancelled, t.caller);
  const attempts = [again, held, cut].map((lease) => journaled(lease, 'running'));
  const verdicts = async () => {
    const { resumed } = await resume(t, [...attempts, journaled(other, 'running')]);
    return new Map(resumed.verdicts.map(({ step, verdict }) => [step, verdict]));
  };
  const first = await verdicts();
  // The second try of the same step is not in this journal, which is of an agent that never heard of it.
  expect(attempts.map(({ step }) => first.get(step))).toEqual(['cancel', 'superseded', 'cancel']);
  expect(first.get(other.id)).toBe('cancel');
  await decideHeld(t.sql, open, { decision: 'cancel', note: 'enough' }, t.caller);
  expect((await verdicts()).get(held.id)).toBe('cancel');
  // What has ended by itself is not to be stopped, but to be told.
  const { resumed } = await resume(t, [journaled(cut, 'finished'), journaled(held, 'interrupted')]);
  expect(resumed.verdicts.map(({ verdict }) => verdict)).toEqual(['superseded', 'superseded']);
});

test('what is settled for good, or was never heard of, is to be forgotten', async () => {
  await using t = await setupRuns();
  await t.start();
  const lease = await t.claimOne();
  await t.settle(endOf(lease));
  const stranger = { step: 4711, epoch: 1, leaseToken: 'of-another-installation', lastSeq: 3 };
  const { resumed } = await resume(t, [journaled(lease, 'finished'), { ...stranger, state: 'running' }]);
  expect(resumed.verdicts.map(({ verdict }) => verdict)).toEqual(['forget', 'forget']);
  expect(resumed.attempts).toEqual([]);
});

test('an agent is given steps only after its resume, and none while it drains', async () => {
  await using t = await setupRuns();
  await t.start({ targets: 2 });
  const agent = await t.connect(t.agent, { ready: false });
  expect(await t.claim()).toEqual([]);
  await resumeAgent(t.sql, { ...presented(agent), slots: 1 });
  expect(await t.claim()).toHaveLength(1);
  await resume(t, [], { draining: true });
  expect(await t.claim()).toEqual([]);
});

test('what was given up before it reached its agent is told not to have begun, when the agent is back', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.settle(givenUp(lease));
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', outputState: 'gapped' }]);
  const { resumed } = await resume(t, []);
  expect(resumed.ends).toMatchObject([
    { stepId: lease.id, outcome: { status: 'failed', reason: 'lease_expired' } },
  ]);
  await t.settle(...resumed.ends);
  const [attempt] = await t.sql`select late_status, output_state from job_run_step_attempts`;
  expect(attempt).toEqual({ lateStatus: 'failed', outputState: 'complete' });
  // Told once: the next session has nothing to add.
  expect((await resume(t, [])).resumed.ends).toEqual([]);
});

test('of what was given up after it was heard of, or is not known to a damaged journal, nothing is concluded', async () => {
  await using t = await setupRuns();
  await t.start({ targets: 2 });
  const [told, untold] = await t.claim();
  if (told === undefined || untold === undefined) throw new Error('not leased');
  await t.sql`update job_run_steps set output_seq = 1 where id = ${told.id}`;
  await t.settle(givenUp(told), givenUp(untold));
  expect((await resume(t, [], { journalIntact: false })).resumed.ends).toEqual([]);
  expect((await resume(t, [journaled(untold, 'leased')])).resumed.ends).toEqual([]);
});

test('what an intact journal does not have, and of which there is output, is unknown and not begun again', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.sql`update job_run_steps set output_seq = 1 where id = ${lease.id}`;
  const { resumed } = await resume(t, []);
  expect(resumed.ends).toMatchObject([{ stepId: lease.id, outcome: { reason: 'agent_restarted' } }]);
  await t.settle(...resumed.ends);
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', reason: 'agent_restarted' }]);
});

test('who has an attempt that was given up and heard of is let in with those that hold nothing, who was never heard of is not', async () => {
  await using t = await setupRuns();
  await t.start();
  await t.sql`update job_run_steps set output_seq = 1 where id = ${(await t.claimOne()).id}`;
  const isLetIn = async () => {
    const session = presented(await t.connect(t.agent, { ready: false }));
    return (await readySessions(t.sql, [session], { onlyIdle: true })).size === 1;
  };
  const [step] = await t.sql<
    ClaimedStep[]
  >`select id, epoch, lease_token, agent_id, session_number from job_run_steps`;
  if (step === undefined) throw new Error('no step');
  expect(await isLetIn()).toBe(false);
  await t.settle(givenUp(step));
  expect(await isLetIn()).toBe(true);
  await t.sql`update job_run_step_attempts set output_seq = 0`;
  expect(await isLetIn()).toBe(false);
});

test('nothing is concluded of what output has come since it was given up', async () => {
  await using t = await setupRuns();
  await t.start();
  await t.settle(givenUp(await t.claimOne()));
  await t.sql`
    insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
    select attempt_day, job_run_step_id, epoch, 1, 1, 0, 1, '', '' from job_run_step_attempts`;
  expect((await resume(t, [])).resumed.ends).toEqual([]);
});

test('what goes on without its agent is known to do so after a resume, too', async () => {
  await using t = await setupRuns();
  await t.start();
  const lease = await t.claimOne();
  const { resumed } = await resume(t, [journaled(lease, 'running', { survives: true })]);
  expect(resumed.attempts).toMatchObject([{ stepId: lease.id, survives: true }]);
});

test('of two sessions of an agent that are resumed together each is answered for itself', async () => {
  await using t = await setupRuns();
  await t.start();
  const lease = await t.claimOne();
  await t.settle(endOf(lease));
  const older = await t.connect(t.agent, { ready: false });
  const newer = await t.connect(t.agent, { ready: false });
  const resumes = [presented(older), { ...presented(newer), attempts: [journaled(lease, 'finished')] }];
  const [idle, told] = await resumeAgents(t.sql, resumes);
  expect(idle?.verdicts).toEqual([]);
  expect(told?.verdicts).toMatchObject([{ step: lease.id, verdict: 'forget', settled: true }]);
});

test('agents that come back while the database breaks a deadlock with others are let in all the same', async () => {
  await using t = await setupRuns();
  const agent = await t.connect(t.agent, { ready: false });
  // As the database does to who has waited longest, the first time.
  await t.sql.unsafe(`
    create sequence tries;
    create function break_deadlock() returns trigger language plpgsql as $$
    begin
      if nextval('tries') = 1 then raise exception 'deadlock detected' using errcode = 'deadlock_detected'; end if;
      return new;
    end $$;
    create trigger broken before update on agents for each row execute function break_deadlock()`);
  expect(await resumeAgents(t.sql, [presented(agent)])).toMatchObject([{ verdicts: [] }]);
});
