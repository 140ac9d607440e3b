import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noteClose } from '../../store/agents/agent-lifecycle.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import {
  makeFirstAgent,
  makeSegment,
  openSession,
  setupInstallation,
  type TestInstallation,
} from '../testing.ts';
import { getAgent, listAgents } from './list-agents.ts';

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
  return getAgent(t.sql, agentId, unrestricted);
}

/** Adds one target run with one step of this agent, in an open or ended run. */
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
                               agent_id, session_number, lease_token, epoch, leased_at)
    values (${runId}, ${target?.id ?? 0}, ${segmentId}, 1, 'ssh.exec', 300, ${step.status}, ${agentId}, 1, 'lease', 1, now())
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

  it('is silent after its session expires, and offline once its attempts are unknown', async () => {
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

  it('is the decided one, connected or not', async () => {
    await openSession(t, agentId);
    for (const state of ['quarantined', 'disabled'] as const) {
      await t.sql`update agents set state = ${state} where id = ${agentId}`;
      expect((await theAgent()).state).toBe(state);
    }
    await t.sql`update agents set state = 'revoked' where id = ${agentId}`;
    expect((await theAgent()).state).toBe('revoked');
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

  it('no longer counts an attempt whose late result arrived', async () => {
    const before = (await theAgent()).unknownSteps;
    const stepId = await stepOf({ status: 'running', targetsUnknown: 1 }, { status: 'unknown' });
    expect((await theAgent()).unknownSteps).toBe(before + 1);
    await t.sql`update job_run_step_attempts set late_status = 'succeeded' where job_run_step_id = ${stepId}`;
    expect((await theAgent()).unknownSteps).toBe(before);
  });
});

describe('the list of agents', () => {
  const names = async (query: Parameters<typeof listAgents>[1]) =>
    (await listAgents(t.sql, query, unrestricted)).items.map(({ name }) => name);

  it('is paged by segment and name, and filtered by segment, state, label and search', async () => {
    const other = await makeSegment(t, 'zone');
    const made: Record<string, number> = {};
    for (const name of ['web-b', 'web-a', 'db-a']) {
      made[name] = (await makeFirstAgent(t, name === 'db-a' ? other.id : segmentId, name)).enrolled.agentId;
    }
    await t.sql`update agents set labels = '{"rack": "7", "spare": ""}', hostname = 'rack-7.example'
                 where id = ${made['web-a'] ?? 0}`;
    const first = await listAgents(t.sql, { limit: 2 }, unrestricted);
    expect(first.items.map(({ name }) => name)).toEqual(['agents-a', 'web-a']);
    expect(await names({ limit: 2, cursor: first.nextCursor ?? '' })).toEqual(['web-b', 'db-a']);
    expect(await names({ segmentId: other.id })).toEqual(['db-a']);
    expect(await names({ segmentIds: `${other.id},${segmentId}` })).toHaveLength(4);
    expect(await names({ segmentIds: `${other.id}` })).toEqual(['db-a']);
    expect(await names({ segmentIds: `${other.id}`, segmentId })).toEqual([]);
    expect(await names({ label: 'spare' })).toEqual(['web-a']);
    expect(await names({ label: 'rack=7' })).toEqual(['web-a']);
    expect(await names({ label: 'rack=8' })).toEqual([]);
    expect(await names({ search: 'RACK-7' })).toEqual(['web-a']);
    expect(await names({ search: '%' })).toEqual([]);
    await t.sql`update agents set state = 'revoked' where id = ${made['web-b'] ?? 0}`;
    expect(await names({ search: 'web' })).toEqual(['web-a']);
    expect(await names({ state: 'revoked' })).toEqual(['web-b']);
    await expect(names({ cursor: 'x' })).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('how an agent’s last connection ended', () => {
  const closeOf = async () => (await getAgent(t.sql, agentId, unrestricted)).lastClose;
  const end = { code: 4000, reason: 'resume/slots: must be integer', address: '192.0.2.9' };

  it('is shown with code, reason, address and the time it first ended like this', async () => {
    expect(await closeOf()).toBeNull();
    await noteClose(t.sql, { agentId, ...end });
    const first = await closeOf();
    expect(first).toMatchObject(end);
    expect(first?.since).toBe(first?.at);
  });

  it('is written at each change, and for equal ends once a minute', async () => {
    const version = async () =>
      (await t.sql`select xmin::text, last_close_at from agents where id = ${agentId}`)[0];
    const before = await version();
    await noteClose(t.sql, { agentId, ...end });
    expect(await version()).toEqual(before);
    await t.sql`update agents set last_close_at = last_close_at - interval '61 seconds',
                  last_close_since = last_close_since - interval '5 minutes' where id = ${agentId}`;
    await noteClose(t.sql, { agentId, ...end });
    const again = await closeOf();
    expect(Date.parse(again?.at ?? '') - Date.parse(again?.since ?? '')).toBeGreaterThan(299_000);
    // It was connected since: that this connection ended is news, however equal its end.
    await openSession(t, agentId);
    await noteClose(t.sql, { agentId, ...end });
    const afterConnected = await closeOf();
    expect(Date.parse(afterConnected?.at ?? '')).toBeGreaterThan(Date.parse(again?.at ?? ''));
    expect(afterConnected?.since).toBe(again?.since);
    // The same end an hour later is not part of the same trouble.
    await t.sql`update agents set last_close_at = last_close_at - interval '1 hour',
                  last_close_since = last_close_since - interval '1 hour' where id = ${agentId}`;
    await noteClose(t.sql, { agentId, ...end });
    const anHourLater = await closeOf();
    expect(anHourLater?.since).toBe(anHourLater?.at);
    await noteClose(t.sql, { agentId, ...end, code: 4010, reason: 'no heartbeat' });
    const changed = await closeOf();
    expect(changed).toMatchObject({ code: 4010, reason: 'no heartbeat' });
    expect(changed?.since).toBe(changed?.at);
  });
});

describe('an agent on a server’s own machine', () => {
  it('is one that connects over loopback and names the same host', async () => {
    await t.sql`
      insert into server_master_keys (server_id, host, active_id, key_ids) values (gen_random_uuid(), 'Ops-1', 'k', '{k}')`;
    const seen = async (hostname: string | null, address: string | null) => {
      await t.sql`update agents set hostname = ${hostname}, address = ${address} where id = ${agentId}`;
      return (await theAgent()).onServerMachine;
    };
    expect(await seen('ops-1', '127.0.0.1')).toBe(true);
    expect(await seen('ops-1', '::1')).toBe(true);
    expect(await seen('ops-1', '10.0.0.7')).toBe(false);
    expect(await seen('ops-2', '127.0.0.1')).toBe(false);
    expect(await seen(null, null)).toBe(false);
  });
});
