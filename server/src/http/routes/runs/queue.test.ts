// What the queue reports about itself while agents come, go silent and drain.
import type { ExecutorOverview, ExecutorStatus, WorkerStatus } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { endOf, givenUp } from '../../../runs/testing.ts';
import { makeSegment } from '../../../segments/testing.ts';
import { setDraining } from '../../../store/agents/agent-sessions.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

const queue = async () => (await t.ask('GET', 'executor/status')).body as ExecutorStatus;
const workers = async () => (await t.ask('GET', 'worker/status')).body as WorkerStatus;

/**
 * Sets the agent's last heartbeat to `forS` seconds ago; its session expired `ttlS` seconds after that. Returns the
 * expiry.
 */
async function missHeartbeats(agentId: number, forS: number, ttlS = 20): Promise<string> {
  const [row] = await t.sql<{ at: Date }[]>`
    update agent_sessions set last_heartbeat_at = clock_timestamp() - ${forS} * interval '1 second',
      expires_at = clock_timestamp() - ${forS - ttlS} * interval '1 second'
    where agent_id = ${agentId} returning expires_at as at`;
  return row?.at.toISOString() ?? '';
}

describe('the queue', () => {
  test('is ok while agents take what is there, and counts steps, runs and free slots', async () => {
    expect(await queue()).toMatchObject({ status: 'ok', oldestReadyMs: null, problems: [] });
    await t.start({ targets: 3, steps: 2 });
    expect(await queue()).toEqual({
      status: 'ok',
      steps: { ready: 3, running: 0, held: 0 },
      runs: { queued: 1, running: 0, cancelling: 0 },
      oldestReadyMs: expect.any(Number),
      segments: [
        {
          id: t.segmentId,
          name: 'dmz-1',
          ready: 3,
          running: 0,
          ableAgents: 1,
          freeSlots: 8,
          stuckSince: null,
        },
      ],
      problems: [],
    });
    await t.claim();
    expect(await queue()).toMatchObject({
      status: 'ok',
      steps: { ready: 0, running: 3 },
      segments: [{ running: 3, freeSlots: 5 }],
    });
  });

  test('counts of the steps that are leased in a row the one whose turn it is', async () => {
    await t.start({ targets: 2, steps: 4 });
    const [first, second] = await t.claim();
    if (first === undefined || second === undefined) throw new Error('nothing was leased');
    const { results } = await t.settle(
      endOf(first, { status: 'succeeded', exitCode: 0 }, { wantsNext: true, ahead: 2 }),
    );
    expect(results[0]?.ahead).toHaveLength(2);
    expect(await queue()).toMatchObject({
      steps: { ready: 0, running: 2 },
      segments: [{ ready: 0, running: 2, freeSlots: 6 }],
    });
  });

  test('is ok while all slots are busy: the rest wait their turn', async () => {
    await t.connect(t.agent, { slots: 1 });
    await t.start({ targets: 2 });
    expect(await t.claim()).toHaveLength(1);
    expect(await queue()).toMatchObject({
      status: 'ok',
      segments: [{ ready: 1, running: 1, ableAgents: 1, freeSlots: 0 }],
    });
  });

  test('says since when no agent can take steps whose only agent is silent, even while that one holds leases', async () => {
    await t.connect(t.agent, { slots: 1 });
    await t.start({ targets: 2 });
    await t.claim();
    await t.sql`update job_runs set created_at = clock_timestamp() - interval '1 hour'`;
    const since = await missHeartbeats(t.agent.agentId, 90);
    expect(await queue()).toMatchObject({
      status: 'degraded',
      steps: { ready: 1, running: 1 },
      segments: [{ ready: 1, running: 1, ableAgents: 0, freeSlots: 0, stuckSince: since }],
      problems: [
        `Segment “dmz-1”: 1 step is ready, but no agent has been able to take it since ${since}. Agent agent-a is silent.`,
      ],
    });
  });

  test('says since when steps wait that became ready after the last agent had gone', async () => {
    const gone = await missHeartbeats(t.agent.agentId, 7_200);
    const runId = await t.start({ targets: 2 });
    const [run] = await t.sql<{ at: Date }[]>`select created_at as at from job_runs where id = ${runId}`;
    const { segments, problems } = await queue();
    expect(segments[0]?.stuckSince).toBe(run?.at.toISOString());
    expect(segments[0]?.stuckSince).not.toBe(gone);
    expect(problems[0]).toMatch(/^Segment “dmz-1”: 2 steps are ready, .* Agent agent-a is offline\.$/);
  });

  test('counts a step as ready from the time when it could be taken: from the end of the one before it, and not from a time to come', async () => {
    const runId = await t.start({ steps: 2 });
    const lease = await t.claimOne();
    await t.sql`update job_runs set created_at = clock_timestamp() - interval '1 hour'`;
    await t.settle(endOf(lease));
    await t.sql`update agent_sessions set draining = true`;
    const [second] = await t.sql<{ at: Date }[]>`
      select waits_since as at from job_run_steps where job_run_id = ${runId} and step_number = 2`;
    const hasWaited = async () => {
      const { segments } = await queue();
      return Date.now() - Date.parse(segments[0]?.stuckSince ?? '');
    };
    expect((await queue()).segments[0]?.stuckSince).toBe(second?.at.toISOString());
    await t.sql`update job_run_steps set waits_since = clock_timestamp() + interval '1 hour' where status = 'ready'`;
    expect(await hasWaited()).toBeGreaterThanOrEqual(0);
    await t.sql`update job_run_steps set waits_since = null where status = 'ready'`;
    expect(await hasWaited()).toBeGreaterThanOrEqual(3_600_000);
  });

  test('tells an agent that can take steps from one that drains, has no segment key, or lost its session', async () => {
    await t.start();
    await setDraining(t.sql, t.agent.agentId, t.agent.sessionNumber);
    await t.addAgent('agent-b', { hasSegmentKey: false });
    const third = await t.addAgent('agent-c');
    expect(await queue()).toMatchObject({ status: 'ok', segments: [{ ableAgents: 1, freeSlots: 8 }] });
    await t.connect(third, { ready: false });
    const { segments, problems } = await queue();
    expect(segments).toMatchObject([{ ableAgents: 0, freeSlots: 0 }]);
    expect(problems[0]).toContain(
      '. Agent agent-a is draining, agent-b has no segment key yet, agent-c is still connecting.',
    );
  });

  test('is degraded while the only agent can’t write to its disk, but not while its load is high', async () => {
    await t.start();
    await t.sql`update agent_sessions set busy_reason = 'load'`;
    expect(await queue()).toMatchObject({ status: 'ok', segments: [{ ableAgents: 1 }] });
    await t.sql`update agent_sessions set busy_reason = 'disk'`;
    const { status, problems } = await queue();
    expect(status).toBe('degraded');
    expect(problems[0]).toMatch(
      /^Segment “dmz-1”: 1 step is ready, .* Agent agent-a has no room on its disk or can’t write to it\.$/,
    );
  });

  test('is not stuck for lack of agents if nothing waits', async () => {
    await missHeartbeats(t.agent.agentId, 90);
    expect(await queue()).toMatchObject({ status: 'ok', segments: [{ ableAgents: 0, stuckSince: null }] });
  });

  test('does not take a slot from one agent for what runs on another', async () => {
    await t.start({ targets: 5 });
    expect(await t.claim()).toHaveLength(5);
    await missHeartbeats(t.agent.agentId, 90);
    await t.addAgent('agent-b');
    expect((await queue()).segments).toMatchObject([{ running: 5, ableAgents: 1, freeSlots: 8 }]);
  });
});

test('in numbers: segments by health, and steps that are held', async () => {
  const overview = async () => (await t.ask('GET', 'executor/overview')).body as ExecutorOverview;
  const none = { healthy: 0, degraded: 0, offline: 0, no_agent: 0 };
  await makeSegment(t, 'empty');
  expect(await overview()).toEqual({ segments: { ...none, healthy: 1, no_agent: 1 }, heldSteps: 0 });
  await t.addAgent('agent-b');
  await missHeartbeats(t.agent.agentId, 90);
  expect((await overview()).segments).toEqual({ ...none, degraded: 1, no_agent: 1 });
  await t.sql`update agent_sessions set expires_at = clock_timestamp()`;
  expect((await overview()).segments).toEqual({ ...none, offline: 1, no_agent: 1 });
  await t.start({ targets: 3 });
  await t.sql`alter table job_run_steps disable trigger user`;
  await t.sql`update job_run_steps set status = 'held' where id in (select id from job_run_steps limit 2)`;
  expect((await overview()).heldSteps).toBe(2);
});

describe('the agents', () => {
  test('are counted by state, and their leases are counted until they are settled', async () => {
    const second = await t.addAgent('agent-b');
    const third = await t.addAgent('agent-c');
    await t.start({ targets: 3 });
    const held = await t.claim();
    const slotsInUse = (agentId: number) => held.filter((step) => step.agentId === agentId).length;
    expect([t.agent, second, third].map(({ agentId }) => slotsInUse(agentId))).toEqual([1, 1, 1]);
    expect(await workers()).toMatchObject({
      connected: 3,
      silent: 0,
      offline: 0,
      slots: 24,
      slotsInUse: 3,
      freeSlots: 21,
    });
    await missHeartbeats(t.agent.agentId, 90);
    await setDraining(t.sql, third.agentId, third.sessionNumber);
    expect(await workers()).toMatchObject({
      connected: 2,
      silent: 1,
      offline: 0,
      slots: 24,
      slotsInUse: 3,
      freeSlots: 7,
    });
    await missHeartbeats(t.agent.agentId, 7_200);
    expect(await workers()).toMatchObject({
      connected: 2,
      silent: 0,
      offline: 1,
      slots: 24,
      slotsInUse: 3,
      freeSlots: 7,
      agents: [
        {
          id: t.agent.agentId,
          name: 'agent-a',
          segmentName: 'dmz-1',
          state: 'offline',
          slots: 8,
          slotsInUse: 1,
        },
        { name: 'agent-b', state: 'connected', slotsInUse: 1 },
        { name: 'agent-c', state: 'draining', slotsInUse: 1 },
      ],
    });
    for (const step of held.filter((one) => one.agentId === t.agent.agentId)) await t.settle(givenUp(step));
    expect(await workers()).toMatchObject({ offline: 1, slots: 16, slotsInUse: 2, freeSlots: 7 });
  });
});

test('both need the permission to read', async () => {
  for (const path of ['executor/status', 'executor/overview', 'worker/status'])
    expect((await t.app.request('GET', `/api/v1/${path}`)).status).toBe(401);
});
