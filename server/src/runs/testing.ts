// For the tests of runs, gateway and store: a segment with agents, targets and jobs in a database of its own, whose
// steps are moved by the functions that the gateway calls.
import { randomUUID } from 'node:crypto';
import type { JobDefinition, StepDefinition, StepOutcome, StepStatus } from '@opsconductor/protocol';
import type { KeyPair } from '@opsconductor/protocol/sealing';
import { createCredential } from '../credentials/edit-credentials.ts';
import { createJob } from '../jobs/create-job.ts';
import { enrollAgent } from '../segments/enrollment/enroll-agent.ts';
import {
  type AgentKeys,
  enrollRequest,
  makeAgentKeys,
  makeFirstAgent,
  makeSegment,
  makeToken,
  sealedCredentialRequest,
  setupInstallation,
  type TestInstallation,
  testOrigin,
  testSessionMs,
} from '../segments/testing.ts';
import { lockAgent, openSessions, readySessions } from '../store/agents/agent-sessions.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import type { TestDatabase } from '../store/database/testing.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { type ClaimedStep, claimSteps } from '../store/queue/claims/claims.ts';
import { createTarget } from '../targets/edit-targets.ts';
import type { AttemptEnd } from './progress/attempt-end.ts';
import { settleAttempts } from './progress/settle-attempts.ts';
import { startRun } from './start/start-run.ts';

export const testServerId = '0b7e1c52-0000-4000-8000-000000000001';
export const success: StepOutcome = { status: 'succeeded', exitCode: 0, executionTimeMs: 12 };
export const failure: StepOutcome = { status: 'failed', exitCode: 3, reason: 'exit_code' };

export interface TestAgent {
  agentId: number;
  name: string;
  sessionNumber: number;
}

export interface StepNow {
  id: number;
  stepNumber: number;
  status: StepStatus;
  epoch: number;
  agentId: number | null;
  sessionNumber: number | null;
  reason: string | null;
  advice: string | null;
  errorMessage: string | null;
  outputState: string;
  outputSeq: number;
  outputBytes: number;
}

export interface RunNow {
  status: string;
  completedSteps: number;
  failedSteps: number;
  eventSeq: number;
  errorMessage: string | null;
  outputState: string;
}

export interface TestRuns extends TestInstallation {
  segmentId: number;
  /** The segment's first agent, connected with 8 slots and holding the segment key. */
  agent: TestAgent;
  agentKeys: AgentKeys;
  segmentKey: KeyPair;
  /** Adds an agent. By default it holds the segment key. */
  addAgent(name: string, options?: { hasSegmentKey?: boolean }): Promise<TestAgent>;
  /** Authenticates the agent and, by default, makes its session ready. */
  connect(
    agent: { agentId: number; name: string },
    options?: { serverId?: string; slots?: number; ready?: boolean; capabilities?: readonly string[] },
  ): Promise<TestAgent>;
  addTarget(): Promise<number>;
  /** Starts a run of a new job on new targets and returns its id. */
  start(options?: {
    steps?: number;
    targets?: number;
    startWithinS?: number;
    timeoutS?: number;
    /** What each step has in addition to its command; by default there are as many steps as rules. */
    rules?: readonly Partial<StepDefinition>[];
    /** Further fields of the job's definition. */
    job?: Partial<JobDefinition>;
    /** Targets to use instead of new ones. */
    targetIds?: number[];
    parameters?: Record<string, unknown>;
  }): Promise<number>;
  claim(serverId?: string): Promise<ClaimedStep[]>;
  /** Makes one claim and fails unless it takes exactly one step. */
  claimOne(): Promise<ClaimedStep>;
  settle(...ends: AttemptEnd[]): ReturnType<typeof settleAttempts>;
  steps(runId: number): Promise<StepNow[]>;
  run(runId: number): Promise<RunNow>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** @param database default: a borrowed one */
export async function setupRuns(database?: Promise<TestDatabase>): Promise<TestRuns> {
  const t = await setupInstallation(database);
  const { sql } = t;
  const segmentId = (await makeSegment(t)).id;
  const { enrolled, keys, segmentKey } = await makeFirstAgent(t, segmentId);
  const credential = await createCredential(sql, await sealedCredentialRequest(t, segmentId), t.caller);
  let targets = 0;
  const connect: TestRuns['connect'] = async ({ agentId, name }, options = {}) => {
    const session = await inTransaction(sql, async (tx) => {
      const row = await lockAgent(tx, agentId);
      const opened = {
        agentId,
        sessionNumber: (row?.sessionNumber ?? 0) + 1,
        generation: (row?.generation ?? 0) + 1,
        address: testOrigin.address,
      };
      await openSessions(tx, [opened], {
        serverId: options.serverId ?? testServerId,
        leaseTtlMs: testSessionMs,
      });
      return { agentId, sessionNumber: opened.sessionNumber };
    });
    if (options.ready ?? true) {
      const slots = options.slots ?? 8;
      const { capabilities = [] } = options;
      const about = {
        slots,
        capabilities,
        draining: false,
        version: '0.1.0',
        platform: 'linux-x64',
        hostname: null,
      };
      await readySessions(sql, [{ ...session, ...about }], { onlyIdle: false });
    }
    return { ...session, name };
  };
  const agent = await connect({ agentId: enrolled.agentId, name: enrolled.agentName });
  const claim = async (serverId = testServerId) => (await claimSteps(sql, serverId)).steps;
  const addTarget = async () => {
    targets += 1;
    const fields = { name: `host-${targets}`, host: '10.0.0.1', credentialId: credential.id };
    return (await createTarget(sql, { segmentId, ...fields }, t.caller)).id;
  };
  return {
    ...t,
    segmentId,
    agent,
    agentKeys: keys,
    segmentKey,
    connect,
    addTarget,
    claim,
    async addAgent(name, { hasSegmentKey = true } = {}) {
      const request = await enrollRequest(await makeToken(t, segmentId), name, await makeAgentKeys());
      const { agentId } = await enrollAgent(t, request, testOrigin);
      if (hasSegmentKey) {
        await sql`
          insert into segment_key_wraps (segment_id, generation, agent_id, wrapped, opened_at)
          values (${segmentId}, 1, ${agentId}, 'opened by the test', now())`;
      }
      return connect({ agentId, name });
    },
    async start({
      rules,
      steps = rules?.length ?? 1,
      targets: count = 1,
      startWithinS,
      timeoutS = 60,
      job = {},
      targetIds,
      parameters,
    } = {}) {
      const definition = {
        name: `job ${randomUUID()}`,
        steps: Array.from({ length: steps }, (_, n) => ({
          name: `step ${n + 1}`,
          type: 'ssh.exec',
          config: { command: 'true', timeout: timeoutS },
          ...rules?.[n],
        })),
        ...job,
      };
      const { id: jobId } = await createJob(t, definition, t.caller);
      const added: number[] = [];
      while (targetIds === undefined && added.length < count) added.push(await addTarget());
      const selection = { targetIds: targetIds ?? added };
      return (await startRun(t, { jobId, selection, startWithinS, parameters }, t.caller)).runId;
    },
    async claimOne() {
      const claimed = await claim();
      if (claimed.length !== 1 || claimed[0] === undefined)
        throw new Error(`${claimed.length} steps were claimed`);
      return claimed[0];
    },
    settle: (...ends) => settleAttempts(sql, ends),
    steps: (runId) => sql<StepNow[]>`
      select id, step_number, status, epoch, agent_id, session_number, reason, advice, error_message, output_state,
        output_seq, output_bytes
      from job_run_steps where job_run_id = ${runId} order by target_run_id, step_number`,
    async run(runId) {
      const [row] = await sql<RunNow[]>`
        select status, completed_steps, failed_steps, event_seq, error_message, output_state
        from job_runs where id = ${runId}`;
      if (row === undefined) throw new Error(`run ${runId} is gone`);
      return row;
    },
    async [Symbol.asyncDispose]() {
      await t.close();
    },
  };
}

/** Returns what an agent reports at the end of a lease. */
export function endOf(
  step: ClaimedStep,
  outcome: StepOutcome = success,
  more: { requestId?: string; wantsNext?: boolean; ahead?: number } = {},
): AttemptEnd {
  return {
    stepId: step.id,
    epoch: step.epoch,
    leaseToken: step.leaseToken,
    source: {
      kind: 'agent',
      agentId: step.agentId,
      sessionNumber: step.sessionNumber,
      requestId: more.requestId ?? randomUUID(),
      wantsNext: more.wantsNext ?? false,
      ...(more.ahead === undefined ? {} : { ahead: more.ahead }),
    },
    outcome,
    output: { state: 'complete', digest: null, gaps: [] },
  };
}

/** Returns the end of an attempt that the server gives up. */
export function givenUp(step: ClaimedStep): AttemptEnd {
  return {
    ...endOf(step, { status: 'unknown', reason: 'agent_silent', message: 'The agent was silent.' }),
    source: { kind: 'server' },
    output: { state: 'gapped', digest: null, gaps: [] },
  };
}

/** Runs the work in a transaction that stays open until the returned function is called. */
export async function holdTransaction(
  sql: Sql,
  work: (tx: Tx) => Promise<unknown>,
): Promise<() => Promise<void>> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let done: Promise<unknown> = Promise.resolve();
  await new Promise<void>((resolve, reject) => {
    done = sql.begin(async (tx) => {
      await work(tx as unknown as Tx);
      resolve();
      await released;
    });
    done.catch(reject);
  });
  return async () => {
    release();
    await done;
  };
}

/** Resolves when at least this many backends of this database wait for a lock. */
export async function blockedBackends(sql: Sql, count: number): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    const rows = await sql`
      select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    if (rows.length >= count) return;
  }
  throw new Error(`${count} backends never waited for a lock`);
}

/** Makes the database refuse to write the row of a step. The returned function ends that. */
export async function refuseToWrite(sql: Sql, step: number): Promise<() => Promise<unknown>> {
  await sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before update on job_run_steps for each row when (old.id = ${step})
      execute function refuse()`);
  return () => sql`drop function refuse cascade`;
}

/** Makes a run of one target look as if it had been started on `targets` of them, each with the steps of the first. */
export async function growRun(sql: Sql, runId: number, targets: number): Promise<void> {
  await sql`
    insert into job_run_targets (job_run_id, segment_id, target_name, status)
    select job_run_id, segment_id, 'more-' || n, status
    from job_run_targets cross join generate_series(2, ${targets}) n where job_run_id = ${runId}`;
  await sql`
    with first as (
      select st.* from job_run_steps st
      where st.target_run_id = (select min(id) from job_run_targets where job_run_id = ${runId}))
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select tr.job_run_id, tr.id, tr.segment_id, first.step_number, first.step_type, first.time_budget_s, first.status
    from job_run_targets tr cross join first
    where tr.job_run_id = ${runId} and tr.id <> first.target_run_id
    order by tr.id, first.step_number`;
  await sql`
    update job_runs set targets_total = ${targets}, total_steps = total_steps * ${targets} where id = ${runId}`;
}
