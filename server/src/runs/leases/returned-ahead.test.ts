// Steps that were leased to an agent ahead of their turn and come back, are given up, or are cancelled.
import type { RunChange } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { takeOverOrphans } from '../../store/queue/attempts/detached-attempts.ts';
import { leasedAhead, leaseOf, more, resumeOf, statusesOf } from '../ahead-testing.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { Sweeper } from '../ends/sweeper.ts';
import { endOf, failure, setupRuns, success, testServerId } from '../testing.ts';
import { markLeased } from './mark-leased.ts';
import { resumeAgent } from './resume-agent.ts';
import { returnLeases } from './return-leases.ts';

const capabilities = ['take_over'];

test('what is handed back before its turn waits for the step before it, and then for a claim', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  const [news] = await returnLeases(t.sql, [leaseOf(third)]);
  // What follows it goes back with it.
  expect(await statusesOf(t, runId)).toEqual([
    ...['succeeded', 'running', 'pending'],
    ...['pending', 'pending', 'pending'],
  ]);
  expect(news?.segments).toEqual([]);
  expect(await t.claim()).toEqual([]);
  await t.settle(endOf(next));
  expect(await t.claimOne()).toMatchObject({ id: third.id, epoch: 2 });
});

test('steps that an agent hands back with the one whose turn it is wait for that one', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  await returnLeases(t.sql, [fourth, next, third].map(leaseOf));
  expect(await statusesOf(t, runId)).toEqual([
    ...['succeeded', 'ready', 'pending'],
    ...['pending', 'pending', 'pending'],
  ]);
  expect(await t.claim()).toMatchObject([{ id: next.id, epoch: 2 }]);
});

test('what a server of the version before takes back after a failure is skipped, and nobody runs it', async () => {
  await using t = await setupRuns();
  const { runId, next, third, fourth } = await leasedAhead(t);
  // Such a server ends the step and its target run, and closes only what is pending.
  await t.sql`update job_run_steps set status = 'failed' where id = ${next.id}`;
  await t.sql`update job_run_steps set status = 'skipped' where job_run_id = ${runId} and status = 'pending'`;
  await t.sql`update job_run_targets set status = 'failed' where job_run_id = ${runId}`;
  await t.sql`
    update job_run_steps set status = 'ready', agent_id = null, session_number = null, lease_token = null
    where id in (${third.id}, ${fourth.id})`;
  expect((await t.steps(runId)).slice(2, 4)).toMatchObject([
    { status: 'skipped', reason: 'predecessor' },
    { status: 'skipped', reason: 'predecessor' },
  ]);
});

test('what such a server takes back while the step before it runs waits for that', async () => {
  await using t = await setupRuns();
  const { runId, third, fourth } = await leasedAhead(t);
  await t.sql`update job_run_steps set status = 'ready' where id in (${third.id}, ${fourth.id})`;
  expect((await statusesOf(t, runId)).slice(1, 4)).toEqual(['running', 'pending', 'pending']);
});

test('an agent that comes back without what it was leased ahead goes on with the step that it has', async () => {
  await using t = await setupRuns();
  const { runId, next } = await leasedAhead(t);
  const again = await t.connect(t.agent, { ready: false });
  const resumed = await resumeAgent(t.sql, resumeOf(again, [{ step: next, state: 'running' }]));
  expect(resumed?.verdicts).toMatchObject([{ step: next.id, verdict: 'continue' }]);
  expect((await statusesOf(t, runId)).slice(1, 4)).toEqual(['running', 'pending', 'pending']);
});

test('in a cancelled run, a step that its agent had gone on with is waited for', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  await cancelRun(t.sql, runId, t.caller, { force: false });
  await t.settle(endOf(next, success, more));
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  await t.settle(endOf(third, { status: 'cancelled', reason: 'cancelled' }));
  expect(await statusesOf(t, runId)).toEqual([
    ...['succeeded', 'succeeded', 'cancelled'],
    ...['cancelled', 'cancelled', 'cancelled'],
  ]);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 6 });
});

test('in a cancelled run, what is handed back before its turn ends with the step before it', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t);
  await cancelRun(t.sql, runId, t.caller, { force: false });
  await returnLeases(t.sql, [leaseOf(third)]);
  expect(await t.run(runId)).toMatchObject({ status: 'cancelling' });
  await t.settle(endOf(next, { status: 'cancelled', reason: 'cancelled' }));
  expect(await t.run(runId)).toMatchObject({ status: 'cancelled', completedSteps: 6 });
});

test('a forced cancel makes all that was leased unknown, each told whether it had begun', async () => {
  await using t = await setupRuns();
  const { runId, next } = await leasedAhead(t);
  const { agentId, sessionNumber } = t.agent;
  await markLeased(t.sql, [], [{ step: next.id, epoch: 1, agentId, sessionNumber }]);
  await cancelRun(t.sql, runId, t.caller, { force: true });
  expect(await t.steps(runId)).toMatchObject([
    { status: 'succeeded' },
    { status: 'unknown', errorMessage: expect.stringContaining('while the step ran') },
    { status: 'unknown', errorMessage: expect.stringContaining('had been given to its agent') },
    { status: 'unknown' },
    { status: 'cancelled' },
    { status: 'cancelled' },
  ]);
});

test('readers are told that a step which is handed back has no open output', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t, { steps: 4 });
  const told = async () => {
    const events = await t.sql<{ change: RunChange }[]>`
      select change from run_events where job_run_id = ${runId} order by seq`;
    const changes = events.flatMap(({ change }) => change.steps?.filter(({ id }) => id === third.id) ?? []);
    return Object.assign({}, ...changes);
  };
  expect(await told()).toMatchObject({ status: 'running', outputState: 'open' });
  await returnLeases(t.sql, [leaseOf(third)]);
  expect(await told()).toMatchObject({ status: 'pending', outputState: 'complete', agentName: null });
  await t.settle(endOf(next, failure));
  const [, , row] = await t.steps(runId);
  expect(await told()).toMatchObject({ status: row?.status, outputState: row?.outputState });
});

test('a step that is handed back after its agent began the next one is not run beside that, or after the run', async () => {
  await using t = await setupRuns();
  const { runId, next, third } = await leasedAhead(t, { steps: 4 });
  const { agentId, sessionNumber } = t.agent;
  await markLeased(t.sql, [], [{ step: third.id, epoch: 1, agentId, sessionNumber }]);
  await returnLeases(t.sql, [leaseOf(next)]);
  await t.settle(endOf(third));
  expect(await t.claim()).toEqual([]);
  expect((await t.steps(runId)).map(({ status }) => status)).not.toContain('ready');
});

test('a step that is missing from a journal in which the next one has begun is unknown, and not run again', async () => {
  await using t = await setupRuns();
  const { runId, third } = await leasedAhead(t);
  const again = await t.connect(t.agent, { ready: false });
  const resumed = await resumeAgent(t.sql, resumeOf(again, [{ step: third, state: 'finished' }]));
  await t.settle(...(resumed?.ends ?? []));
  expect(await t.claim()).toEqual([]);
  expect(await t.steps(runId)).toMatchObject([
    { status: 'succeeded' },
    { status: 'unknown', errorMessage: expect.stringContaining('no longer knows of it') },
    { status: 'unknown' },
    { status: 'skipped' },
    { status: 'skipped' },
    { status: 'skipped' },
  ]);
});

test('an agent that took over a command is leased nothing that follows what another agent was leased', async () => {
  await using t = await setupRuns();
  const holder = await t.connect(t.agent, { capabilities });
  const { next } = await leasedAhead(t);
  const { id: step, epoch, agentId, sessionNumber } = next;
  await markLeased(t.sql, [next], [{ step, epoch, agentId, sessionNumber, survives: true }]);
  const other = await t.connect(await t.addAgent('agent-b'), { capabilities });
  const log = createLog({ level: 'silent', plain: false });
  const sweeper = new Sweeper({ sql: t.sql, serverId: testServerId, log, publish: () => undefined });
  await t.sql`update cluster_clock set touched_at = clock_timestamp()`;
  await t.sql`
    update agent_sessions set last_heartbeat_at = clock_timestamp() - interval '10 minutes',
      expires_at = clock_timestamp() - interval '9 minutes' where agent_id = ${holder.agentId}`;
  await sweeper.sweep();
  expect(await takeOverOrphans(t.sql, testServerId, 10)).toMatchObject([{ id: next.id }]);
  await sweeper.sweep();
  const { results } = await t.settle(endOf({ ...next, ...other }, success, { wantsNext: true, ahead: 4 }));
  // Nothing can follow, on this agent, what another one has.
  expect(results[0]?.ahead).toBeUndefined();
});
