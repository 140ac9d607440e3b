import { expect, onTestFinished, test, vi } from 'vitest';
import { cancelRun } from '../../runs/ends/cancel-run.ts';
import { setupGateway } from '../testing.ts';

const waiting = { timeout: 10_000 };
/** Errors with which claims end after the database has committed them, and what happens before. */
const lost = vi.hoisted(() => ({ answers: [] as Error[], before: async () => {} }));

vi.mock(import('../../store/queue/claims/claims.ts'), async (original) => {
  const claims = await original();
  return {
    ...claims,
    async claimSteps(...args) {
      const claim = await claims.claimSteps(...args);
      const error = claim.steps.length > 0 ? lost.answers.shift() : undefined;
      if (error !== undefined) {
        await lost.before();
        throw error;
      }
      return claim;
    },
  };
});

test('steps leased by a claim whose answer was lost go back, and are leased again', async () => {
  await using t = await setupGateway({}, undefined, { claimPollMs: 20 });
  const agent = await t.connectAgent();
  lost.answers.push(new Error('CONNECTION_CLOSED'), new Error('CONNECTION_CLOSED'));
  const runId = await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId, epoch: 3 }]);
  expect((await t.steps(runId))[0]).toMatchObject({ status: 'running', epoch: 3 });
  expect(t.logged.join('')).toContain('taking back leases that no agent was told of');
});

test('leases that agents hold stay theirs after a claim whose answer was lost', async () => {
  await using t = await setupGateway({}, undefined, { claimPollMs: 20 });
  const agent = await t.connectAgent();
  const first = await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: first, epoch: 1 }]);
  lost.answers.push(new Error('CONNECTION_CLOSED'));
  const second = await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: second, epoch: 2 }]);
  expect((await t.steps(first))[0]).toMatchObject({ status: 'running', epoch: 1 });
});

test('a step leased by a claim whose answer was lost never began, even if its run was cancelled by force in between', async () => {
  await using t = await setupGateway({}, undefined, { claimPollMs: 20 });
  await t.connectAgent();
  onTestFinished(() => {
    lost.before = async () => {};
  });
  lost.before = async () => {
    // The claim may be quicker than the answer to the start.
    const [run] = await t.sql<{ id: number }[]>`select id from job_runs`;
    const runId = Number(run?.id);
    await cancelRun(t.sql, runId, t.caller, { force: true });
    expect((await t.steps(runId))[0]).toMatchObject({ status: 'unknown', epoch: 1 });
  };
  lost.answers.push(new Error('CONNECTION_CLOSED'));
  const runId = await t.start();
  await vi.waitFor(async () => {
    const [attempt] = await t.sql`
      select late_status, output_state from job_run_step_attempts order by epoch desc limit 1`;
    expect(attempt).toMatchObject({ lateStatus: 'failed', outputState: 'complete' });
    expect((await t.steps(runId))[0]).toMatchObject({ outputState: 'complete' });
  }, waiting);
});
