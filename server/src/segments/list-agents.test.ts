import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unrestricted } from '../store/visibility.ts';
import { listAgents } from './list-agents.ts';
import {
  makeFirstAgent,
  makeSegment,
  openSession,
  setupInstallation,
  type TestInstallation,
} from './testing.ts';

let t: TestInstallation;
let agentId: number;
let segmentId: number;
beforeAll(async () => {
  t = await setupInstallation();
  segmentId = (await makeSegment(t, 'agents')).id;
  agentId = (await makeFirstAgent(t, segmentId, 'agents-a')).enrolled.agentId;
});
afterAll(() => t.close());

async function theAgent() {
  const agent = (await listAgents(t.sql, unrestricted)).find((item) => item.id === agentId);
  if (agent === undefined) throw new Error('the agent is not listed');
  return agent;
}

/** One target run with one step of this agent, in an open or ended run. */
async function stepOf(run: { status: string; targetsUnknown: number }, step: { status: string }) {
  const name = `job ${Math.random()}`;
  const [job] = await t.sql<{ id: number }[]>`
    insert into jobs (name, step_types, step_count, data_key) values (${name}, '{ssh.exec}', 1, 'x') returning id`;
  const jobId = job?.id ?? 0;
  await t.sql`insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
              values (${jobId}, 1, '\\x00', '\\x00', '{a}', '{ssh.exec}')`;
  const [made] = await t.sql<{ id: number }[]>`
    insert into job_runs (job_id, job_version, status, data_key, targets_total, targets_unknown, total_steps, start_by)
    values (${jobId}, 1, ${run.status}, 'x', 2, ${run.targetsUnknown}, 2, now()) returning id`;
  const runId = made?.id ?? 0;
  const [target] = await t.sql<{ id: number }[]>`
    insert into job_run_targets (job_run_id, segment_id, target_name) values (${runId}, ${segmentId}, 'x') returning id`;
  const [row] = await t.sql<{ id: number }[]>`
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status,
                               agent_id, session_number, lease_token, epoch)
    values (${runId}, ${target?.id ?? 0}, ${segmentId}, 1, 'ssh.exec', 300, ${step.status}, ${agentId}, 1, 'lease', 1)
    returning id`;
  const stepId = row?.id ?? 0;
  if (step.status === 'unknown' || step.status === 'held') {
    await t.sql`
      insert into job_run_step_attempts
        (job_run_step_id, epoch, job_run_id, agent_id, lease_token, attempt_day, leased_at, status, output_state)
      values (${stepId}, 1, ${runId}, ${agentId}, 'lease', current_date, now(), 'unknown', 'gapped')`;
  }
  return stepId;
}

describe('an agent’s state', () => {
  it('is offline before it ever connected', async () => {
    expect(await theAgent()).toMatchObject({
      name: 'agents-a',
      segmentName: 'agents',
      state: 'offline',
      since: null,
      slots: 0,
      lastHeartbeatAt: null,
      hasSegmentKey: true,
      unknownSteps: 0,
      address: '192.0.2.7',
    });
  });

  it('is connected, or draining, while its session lives', async () => {
    await openSession(t, agentId);
    expect(await theAgent()).toMatchObject({ state: 'connected', slots: 8 });
    await openSession(t, agentId, { draining: true });
    expect((await theAgent()).state).toBe('draining');
  });

  it('is silent after its session expired, and offline once its attempts are unknown', async () => {
    await openSession(t, agentId, { expiresInS: -1 });
    expect((await theAgent()).state).toBe('silent');
    await t.sql`update agent_sessions set last_heartbeat_at = clock_timestamp() - interval '301 seconds'`;
    expect((await theAgent()).state).toBe('offline');
  });

  it('is offline at once when it said goodbye', async () => {
    await openSession(t, agentId);
    await t.sql`update agent_sessions set disconnected_at = clock_timestamp(), clean_shutdown = true`;
    const agent = await theAgent();
    expect(agent.state).toBe('offline');
    expect(agent.since).not.toBeNull();
  });

  it('is what was decided about it, connected or not', async () => {
    await openSession(t, agentId);
    for (const state of ['quarantined', 'disabled'] as const) {
      await t.sql`update agents set state = ${state} where id = ${agentId}`;
      expect((await theAgent()).state).toBe(state);
    }
    await t.sql`update agents set state = 'revoked' where id = ${agentId}`;
    expect((await theAgent()).state).toBe('disabled');
    await t.sql`update agents set state = 'active' where id = ${agentId}`;
  });
});

describe('what an agent has to do', () => {
  it('counts its live leases, and the unknown attempts that wait in open runs', async () => {
    await openSession(t, agentId);
    await stepOf({ status: 'running', targetsUnknown: 0 }, { status: 'running' });
    await stepOf({ status: 'running', targetsUnknown: 1 }, { status: 'unknown' });
    await stepOf({ status: 'held', targetsUnknown: 0 }, { status: 'held' });
    await stepOf({ status: 'unknown', targetsUnknown: 1 }, { status: 'unknown' });
    expect(await theAgent()).toMatchObject({ slotsInUse: 1, unknownSteps: 2 });
  });

  it('no longer counts an attempt whose late result came', async () => {
    const before = (await theAgent()).unknownSteps;
    const stepId = await stepOf({ status: 'running', targetsUnknown: 1 }, { status: 'unknown' });
    expect((await theAgent()).unknownSteps).toBe(before + 1);
    await t.sql`update job_run_step_attempts set late_status = 'succeeded' where job_run_step_id = ${stepId}`;
    expect((await theAgent()).unknownSteps).toBe(before);
  });
});
