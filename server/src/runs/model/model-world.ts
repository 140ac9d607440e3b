// Runs, agents and their journals for the model test. The agents act as real agents do, by the functions that the
// gateway calls. Time passes by changing the times that are stored.
import { randomUUID } from 'node:crypto';
import type { JobDefinition, JournalAttempt, StepDefinition, StepOutcome } from '@opsconductor/protocol';
import { createJob } from '../../jobs/create-job.ts';
import { createLog } from '../../log.ts';
import { closeSession, setDraining } from '../../store/agents/agent-sessions.ts';
import { type ClaimedStep, claimSteps } from '../../store/queue/claims/claims.ts';
import { Sweeper } from '../ends/sweeper.ts';
import { markLeased } from '../leases/mark-leased.ts';
import { resumeAgent } from '../leases/resume-agent.ts';
import { returnLeases } from '../leases/return-leases.ts';
import type { AttemptEnd } from '../progress/attempt-end.ts';
import { settleAttempts } from '../progress/settle-attempts.ts';
import { startRun } from '../start/start-run.ts';
import { setupRuns, type TestAgent, type TestRuns, testServerId } from '../testing.ts';

export const slots = 3;

export interface JournalEntry {
  step: ClaimedStep;
  /**
   * State in the agent's journal. `expired`: its lease deadline has passed, so the agent no longer begins it. `dropped`:
   * it can't follow any more, and its way back is still to be heard of.
   */
  state: 'leased' | 'expired' | 'dropped' | 'running' | 'finished';
  outcome: StepOutcome;
  requestId: string;
  wantsNext: boolean;
  /** How many steps the agent takes ahead when it ends. */
  ahead: number;
  /** Key of the attempt that it follows, as long as that has not succeeded. */
  after?: string | undefined;
}

export interface ModelAgent extends TestAgent {
  connected: boolean;
  journal: Map<string, JournalEntry>;
}

type Rules = readonly Partial<StepDefinition>[];
const jobs: { rules: Rules; job?: Partial<JobDefinition> }[] = [
  { rules: [{}, {}] },
  { rules: [{ on_unknown: 'hold' }, {}, { when_status: 'failure' }, { when_status: 'always' }] },
  {
    rules: [
      {
        idempotent: true,
        on_unknown: 'retry',
        retry: { attempts: 3, delay: 1, on: ['exit_code', 'unreachable'] },
      },
      { when_status: 'always', retry: { attempts: 2, on: ['exit_code', 'timed_out'] } },
    ],
    job: { timeout: 60 },
  },
  {
    rules: [{}, { on_unknown: 'hold' }],
    job: { locks: [{ name: 'database', mode: 'exclusive' }], strategy: { max_parallel: 1 } },
  },
  {
    rules: [{}, { when_status: 'failure' }],
    job: {
      locks: [
        { name: 'database', mode: 'shared', slots: 2 },
        { name: 'host', mode: 'exclusive', per: 'target' },
      ],
      strategy: { batches: [1, 2], max_failures: 0 },
    },
  },
  {
    rules: [
      { on_unknown: 'hold', retry: { attempts: 2, delay: 0, on: ['exit_code'] } },
      { when_status: 'failure' },
    ],
    job: { timeout: 60, priority: 5, locks: [{ name: 'host', mode: 'exclusive', per: 'target' }] },
  },
];
/** Job whose steps are leased ahead of their turn. */
jobs.push(
  { rules: [{}, {}, {}, {}, {}] },
  { rules: [{}, {}, {}, {}], job: { timeout: 60, strategy: { max_parallel: 2 } } },
);
export const jobCount = jobs.length;

export interface ModelWorld {
  t: TestRuns;
  agents: ModelAgent[];
  /** Highest epoch that an agent has begun, by step id, whether or not the agent could report it. */
  begun: Map<number, number>;
  sweep(): Promise<void>;
  /** Removes all runs and has every agent connect again. */
  reset(): Promise<void>;
  start(job: number, targets: number): Promise<number>;
  claim(delivered: boolean): Promise<ClaimedStep[]>;
  begin(agent: ModelAgent, entry: JournalEntry, told: boolean): Promise<void>;
  /** The agent's work on the step ends. What was to follow it may begin now, or goes back. */
  finish(
    agent: ModelAgent,
    entry: JournalEntry,
    end: Pick<JournalEntry, 'outcome' | 'wantsNext' | 'ahead'>,
  ): Promise<void>;
  /** The agent sends what it has finished. Unless `heard`, the answer is lost and the agent sends it again later. */
  send(agent: ModelAgent, entry: JournalEntry, heard: boolean): Promise<void>;
  giveBack(agent: ModelAgent, entries: readonly JournalEntry[]): Promise<void>;
  connect(agent: ModelAgent, how: 'intact' | 'restarted' | 'damaged'): Promise<void>;
  /** Ends the agent's connection; what it says afterwards isn't heard. */
  cut(agent: ModelAgent): Promise<void>;
  drain(agent: ModelAgent): Promise<void>;
}

const keyOf = ({ id, epoch }: { id: number; epoch: number }) => `${id}.${epoch}`;

export async function setupWorld(): Promise<ModelWorld & AsyncDisposable> {
  const t = await setupRuns();
  const { sql } = t;
  const second = await t.addAgent('second');
  const agents: ModelAgent[] = [t.agent, second].map((agent) => ({
    ...agent,
    connected: false,
    journal: new Map(),
  }));
  const targetIds = [await t.addTarget(), await t.addTarget(), await t.addTarget()];
  const jobIds: number[] = [];
  for (const { rules, job } of jobs) {
    const steps = rules.map((rule, n) => ({
      name: `step ${n + 1}`,
      type: 'ssh.exec' as const,
      config: { command: 'true', timeout: 60 },
      ...rule,
    }));
    jobIds.push((await createJob(t, { name: `job ${randomUUID()}`, steps, ...job }, t.caller)).id);
  }
  const log = createLog({ level: 'silent', plain: false });
  const sweeper = new Sweeper({ sql, serverId: testServerId, log, publish: () => {} });
  // The hourly tasks have nothing to do here; skipping them keeps sweeps short.
  await sql`update cluster_clock set touched_at = clock_timestamp()`;
  const begun = new Map<number, number>();
  /** Runs whose steps have no rules of their own. */
  const plainRuns = new Set<number>();
  const world: ModelWorld = {
    t,
    agents,
    begun,
    async sweep() {
      // However long it was since the last one: unless the database was down, sweeps are seconds apart.
      await sql`
        update cluster_clock set touched_at = clock_timestamp()
        where touched_at > clock_timestamp() - interval '30 minutes'`;
      await sweeper.sweep();
    },
    async reset() {
      await sql`delete from job_runs`;
      await sql`delete from locks`;
      await sql`update cluster_clock set touched_at = clock_timestamp()`;
      begun.clear();
      plainRuns.clear();
      for (const agent of agents) {
        agent.journal.clear();
        await world.connect(agent, 'intact');
      }
    },
    async start(job, targets) {
      const selection = { targetIds: targetIds.slice(0, targets) };
      const { runId } = await startRun(t, { jobId: jobIds[job % jobIds.length] ?? 0, selection }, t.caller);
      const { rules = [] } = jobs[job % jobs.length] ?? {};
      if (rules.every((rule) => Object.keys(rule).length === 0)) plainRuns.add(runId);
      return runId;
    },
    async claim(delivered) {
      const { steps } = await claimSteps(sql, testServerId);
      for (const step of steps) if (delivered) deliver(agents, step);
      if (steps.length > 0) await markLeased(sql, steps);
      return steps;
    },
    async begin(agent, entry, told) {
      entry.state = 'running';
      const { id, epoch } = entry.step;
      begun.set(id, Math.max(epoch, begun.get(id) ?? 0));
      if (!told || !agent.connected) return;
      const { agentId, sessionNumber } = agent;
      await markLeased(sql, [], [{ step: id, epoch, agentId, sessionNumber }]);
    },
    async finish(agent, entry, end) {
      Object.assign(entry, { state: 'finished', ...end });
      const follower = followerOf(agent, entry);
      if (follower === undefined) return;
      if (isSuccess(end.outcome)) follower.after = undefined;
      else if (agent.connected && entry.step.id % 2 === 0) await world.giveBack(agent, [follower]);
      else if (agent.connected) for (const one of withFollowers(agent, [follower])) one.state = 'dropped';
      else for (const { step } of withFollowers(agent, [follower])) agent.journal.delete(keyOf(step));
    },
    async send(agent, entry, heard) {
      const ahead = plainRuns.has(entry.step.jobRunId) && isSuccess(entry.outcome) ? entry.ahead : 0;
      const lies = entry.step.id % 3 === 0 ? await liesAbout(t, entry.step) : [];
      const settled = await settleAttempts(sql, [...lies, endFor(agent, entry, ahead)]);
      const results = settled.results.slice(lies.length);
      // It came before the end of the step before it, and is said again.
      if (!heard || !agent.connected || results[0]?.result === 'early') return;
      agent.journal.delete(keyOf(entry.step));
      const { next, ahead: leased = [] } = results[0] ?? {};
      if (next !== undefined) deliver(agents, next);
      for (const step of leased) {
        const before = agent.journal.get(keyOf({ id: step.after?.step ?? 0, epoch: step.after?.epoch ?? 0 }));
        const mayFollow = before !== undefined && (before.state !== 'finished' || isSuccess(before.outcome));
        const after = before === undefined || before.state === 'finished' ? undefined : keyOf(before.step);
        const given = deliver(agents, step, after);
        if (!mayFollow) await world.giveBack(agent, [given]);
      }
    },
    async giveBack(agent, given) {
      const entries = withFollowers(agent, given);
      const leases = entries.map(({ step }) => ({
        stepId: step.id,
        epoch: step.epoch,
        leaseToken: step.leaseToken,
        agentId: agent.agentId,
      }));
      for (const { step } of entries) agent.journal.delete(keyOf(step));
      await returnLeases(sql, leases);
    },
    async connect(agent, how) {
      if (how === 'damaged') agent.journal.clear();
      for (const [key, entry] of [...agent.journal]) {
        if (entry.state === 'dropped') agent.journal.delete(key);
        if (how !== 'restarted' || entry.state !== 'running') continue;
        interrupt(entry);
        const follower = followerOf(agent, entry);
        // What was leased to follow it is not begun by the new process, which doesn't present it.
        if (follower !== undefined)
          for (const { step } of withFollowers(agent, [follower])) agent.journal.delete(keyOf(step));
      }
      agent.sessionNumber = (await t.connect(agent, { ready: false })).sessionNumber;
      agent.connected = true;
      const resumed = await resumeAgent(sql, {
        agentId: agent.agentId,
        sessionNumber: agent.sessionNumber,
        slots,
        draining: false,
        version: '0.1.0',
        platform: 'linux-x64',
        hostname: null,
        journalIntact: how !== 'damaged',
        attempts: [...agent.journal.values()].map(journalAttempt),
      });
      if (resumed === undefined) throw new Error('another session is newer');
      if (resumed.ends.length > 0) await settleAttempts(sql, resumed.ends);
      for (const { step, epoch, verdict } of resumed.verdicts) {
        if (verdict === 'forget') agent.journal.delete(keyOf({ id: step, epoch }));
      }
      for (const entry of [...agent.journal.values()]) {
        if (entry.state === 'finished') await world.send(agent, entry, true);
      }
      const late = [...agent.journal.values()].filter(({ state }) => state === 'expired');
      if (late.length > 0) await world.giveBack(agent, late);
    },
    async cut(agent) {
      agent.connected = false;
      await closeSession(sql, agent.agentId, agent.sessionNumber, false);
    },
    async drain(agent) {
      await setDraining(sql, agent.agentId, agent.sessionNumber);
      await world.giveBack(
        agent,
        [...agent.journal.values()].filter(({ state }) => state === 'leased' || state === 'expired'),
      );
    },
  };
  return Object.assign(world, { [Symbol.asyncDispose]: () => t[Symbol.asyncDispose]() });
}

function isSuccess({ status }: StepOutcome): boolean {
  return status === 'succeeded' || status === 'skipped';
}

function followerOf({ journal }: ModelAgent, entry: JournalEntry): JournalEntry | undefined {
  return [...journal.values()].find(({ after }) => after === keyOf(entry.step));
}

function withFollowers(agent: ModelAgent, entries: readonly JournalEntry[]): JournalEntry[] {
  const all = new Set(entries);
  for (const entry of all) {
    const follower = followerOf(agent, entry);
    if (follower !== undefined) all.add(follower);
  }
  return [...all];
}

/** What a hostile agent says, at the same time, about what is leased of the target run: that must change nothing. */
async function liesAbout(t: TestRuns, { targetRunId, agentId }: ClaimedStep): Promise<AttemptEnd[]> {
  const [liar] = await t.sql<{ agentId: number; sessionNumber: number }[]>`
    select agent_id, session_number from agent_sessions where agent_id <> ${agentId} order by agent_id limit 1`;
  if (liar === undefined) return [];
  const steps = await t.sql<{ id: number; epoch: number }[]>`
    select id, epoch from job_run_steps where target_run_id = ${targetRunId} order by id`;
  return steps.map(({ id: stepId, epoch }) => ({
    stepId,
    epoch,
    leaseToken: 'made up',
    source: { kind: 'agent', ...liar, requestId: randomUUID(), wantsNext: true, ahead: 3 },
    outcome: { status: 'succeeded', exitCode: 0 },
    output: { state: 'complete', digest: null, gaps: [] },
  }));
}

function deliver(agents: readonly ModelAgent[], step: ClaimedStep, after?: string): JournalEntry {
  const agent = agents.find(({ agentId }) => agentId === step.agentId);
  if (agent === undefined) throw new Error('leased to nobody');
  const entry: JournalEntry = {
    step,
    state: 'leased',
    outcome: { status: 'succeeded', exitCode: 0 },
    requestId: randomUUID(),
    wantsNext: false,
    ahead: 0,
    after,
  };
  agent.journal.set(keyOf(step), entry);
  return entry;
}

function interrupt(entry: JournalEntry): void {
  entry.state = 'finished';
  entry.outcome = { status: 'unknown', reason: 'agent_restarted', message: 'The agent was restarted.' };
}

function journalAttempt({ step, state }: JournalEntry): JournalAttempt {
  return {
    step: step.id,
    epoch: step.epoch,
    leaseToken: step.leaseToken,
    state: state === 'running' || state === 'finished' ? state : 'leased',
    lastSeq: 0,
  };
}

function endFor({ agentId, sessionNumber }: ModelAgent, entry: JournalEntry, ahead: number): AttemptEnd {
  const { step, outcome, requestId, wantsNext } = entry;
  return {
    stepId: step.id,
    epoch: step.epoch,
    leaseToken: step.leaseToken,
    source: { kind: 'agent', agentId, sessionNumber, requestId, wantsNext, ahead: wantsNext ? ahead : 0 },
    outcome,
    output: { state: 'complete', digest: null, gaps: [] },
  };
}
