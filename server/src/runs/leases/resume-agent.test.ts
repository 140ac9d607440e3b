import type { JournalAttempt } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { markStarted, readySessions } from '../../store/agents/agent-sessions.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { decideHeld } from '../ends/decide-held.ts';
import { endOf, givenUp, setupRuns, success, type TestAgent, type TestRuns } from '../testing.ts';
import { type Resume, resumeAgent, resumeAgents } from './resume-agent.ts';

/** The agent connects again and presents these attempts. */
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

test('steps that the agent still runs go on under its new session', async () => {
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

test('the resume of a session that a newer one has replaced takes nothing from the newer one', async () => {
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

test('a lease that an intact journal doesn’t have goes back to ready, because it never began', async () => {
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

test('another lease of the same epoch is not taken for the agent’s', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  const { resumed } = await resume(t, [journaled(lease, 'running', { leaseToken: 'from-before-a-restore' })]);
  expect(resumed.verdicts).toMatchObject([{ verdict: 'forget' }]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'ready' }]);
});

test('nothing is concluded from attempts that are missing in a damaged journal', async () => {
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

test('only leases made after a journal was lost are ever said not to have begun, not those made before', async () => {
  await using t = await setupRuns();
  await t.start();
  const before = await t.claimOne();
  const loss = { journalIntact: false, journalLoss: 'a' };
  const { resumed, agent } = await resume(t, [], loss);
  // A sweep handled it at the same time, and was first.
  await t.settle(givenUp(before), ...resumed.ends);
  t.agent.sessionNumber = agent.sessionNumber;
  await t.start();
  const since = await t.claimOne();
  // The answer to its resume was lost, and with it the lease: it reports the same loss again.
  await resume(t, [], loss);
  await t.settle(givenUp(since));
  const { ends } = (await resume(t, [])).resumed;
  expect(ends.map(({ stepId, outcome }) => [stepId, outcome.reason])).toEqual([[since.id, 'lease_expired']]);
});

test('a lease from before a journal was lost doesn’t become ready, even if the next journal is intact and its end was never settled', async () => {
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

test('a step that had begun doesn’t become ready, although an intact journal lacks it', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await markStarted(t.sql, [{ step: lease.id, ...lease }]);
  const { resumed } = await resume(t, []);
  expect(resumed.ends).toMatchObject([{ stepId: lease.id, outcome: { status: 'unknown' } }]);
  expect(await t.steps(runId)).toMatchObject([{ status: 'running' }]);
});

test('steps that run in a run that is being cancelled are to be stopped', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await cancelRun(t.sql, runId, t.caller);
  const { resumed } = await resume(t, [journaled(lease, 'running')]);
  expect(resumed.verdicts).toMatchObject([{ verdict: 'cancel' }]);
});

test('in a run that is being cancelled, leases that never began end cancelled, and so does the run', async () => {
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

test('an attempt that was given up is stopped once nobody waits for its end, and waited for until then', async () => {
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
  // The second try of the same step isn't in this journal, because its agent never heard of it.
  expect(attempts.map(({ step }) => first.get(step))).toEqual(['cancel', 'superseded', 'cancel']);
  expect(first.get(other.id)).toBe('cancel');
  await decideHeld(t.sql, open, { decision: 'cancel', note: 'enough' }, t.caller);
  expect((await verdicts()).get(held.id)).toBe('cancel');
  // Attempts that have ended by themselves needn't be stopped, only reported.
  const { resumed } = await resume(t, [journaled(cut, 'finished'), journaled(held, 'interrupted')]);
  expect(resumed.verdicts.map(({ verdict }) => verdict)).toEqual(['superseded', 'superseded']);
});

test('attempts that are settled permanently, or unknown to the server, are to be forgotten', async () => {
  await using t = await setupRuns();
  await t.start();
  const lease = await t.claimOne();
  await t.settle(endOf(lease));
  const stranger = { step: 4711, epoch: 1, leaseToken: 'of-another-installation', lastSeq: 3 };
  const { resumed } = await resume(t, [journaled(lease, 'finished'), { ...stranger, state: 'running' }]);
  expect(resumed.verdicts.map(({ verdict }) => verdict)).toEqual(['forget', 'forget']);
  expect(resumed.attempts).toEqual([]);
});

test('an agent gets steps only after its resume, and none while it drains', async () => {
  await using t = await setupRuns();
  await t.start({ targets: 2 });
  const agent = await t.connect(t.agent, { ready: false });
  expect(await t.claim()).toEqual([]);
  await resumeAgent(t.sql, { ...presented(agent), slots: 1 });
  expect(await t.claim()).toHaveLength(1);
  await resume(t, [], { draining: true });
  expect(await t.claim()).toEqual([]);
});

test('attempts that were given up before they reached their agent are said not to have begun when it is back', async () => {
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
  // Reported once: the next session has nothing to add.
  expect((await resume(t, [])).resumed.ends).toEqual([]);
});

test('nothing is concluded about given-up attempts that the agent had reported on, or that a damaged journal lacks', async () => {
  await using t = await setupRuns();
  await t.start({ targets: 2 });
  const [told, untold] = await t.claim();
  if (told === undefined || untold === undefined) throw new Error('not leased');
  await t.sql`update job_run_steps set output_seq = 1 where id = ${told.id}`;
  await t.settle(givenUp(told), givenUp(untold));
  expect((await resume(t, [], { journalIntact: false })).resumed.ends).toEqual([]);
  expect((await resume(t, [journaled(untold, 'leased')])).resumed.ends).toEqual([]);
});

test('an attempt that an intact journal lacks but that has output becomes unknown and is not begun again', async () => {
  await using t = await setupRuns();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.sql`update job_run_steps set output_seq = 1 where id = ${lease.id}`;
  const { resumed } = await resume(t, []);
  expect(resumed.ends).toMatchObject([{ stepId: lease.id, outcome: { reason: 'agent_restarted' } }]);
  await t.settle(...resumed.ends);
  expect(await t.steps(runId)).toMatchObject([{ status: 'unknown', reason: 'agent_restarted' }]);
});

test('an agent with a given-up attempt is let in with idle agents if it had reported on it, otherwise not', async () => {
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

test('nothing is concluded about an attempt whose output arrived after it was given up', async () => {
  await using t = await setupRuns();
  await t.start();
  await t.settle(givenUp(await t.claimOne()));
  await t.sql`
    insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
    select attempt_day, job_run_step_id, epoch, 1, 1, 0, 1, '', '' from job_run_step_attempts`;
  expect((await resume(t, [])).resumed.ends).toEqual([]);
});

test('a command that survives its agent is known to do so after a resume, too', async () => {
  await using t = await setupRuns();
  await t.start();
  const lease = await t.claimOne();
  const { resumed } = await resume(t, [journaled(lease, 'running', { survives: true })]);
  expect(resumed.attempts).toMatchObject([{ stepId: lease.id, survives: true }]);
});

test('two sessions of one agent that are resumed together each get their own answer', async () => {
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
  // As the database does to the transaction that has waited longest, the first time.
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
