// One round: starts its runs, injects its faults, heals, waits until everything has ended, and checks.
import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cancelHost, cancelRun, within } from './ask-server.ts';
import { checkHostCancels } from './check-host-cancels.ts';
import { checkCleanUps, checkLeftovers, openCleanUps, processesOnTarget } from './check-leftovers.ts';
import { checkOutput, type LostDisk } from './check-output.ts';
import { checkFacts, type Violation } from './check-round.ts';
import { checkTakeOvers } from './check-take-overs.ts';
import type { Cluster } from './cluster.ts';
import { coverage, type FaultInForce, noteAgain, refuseNotes } from './edge-recorder.ts';
import { Gate } from './gate.ts';
import { injectFault } from './inject-fault.ts';
import { Moments } from './moments.ts';
import { giveUpWaiting, openRuns } from './open-runs.ts';
import { type Aim, type PlannedFault, type PlannedRun, type PlanOptions, planRound } from './plan-round.ts';
import { gatherFacts, type RoundFacts, type StartedRun } from './round-facts.ts';
import { stepCommand } from './step-command.ts';
import { fail, patiently, pause, signalPid, until } from './waiting.ts';

/** Longer than any time that the product allows a silent attempt: timeout, kill grace, TTL and grace. */
const endsWithinMs = 75_000;
/** An agent gives up connecting after 15 s, and may have tried twice. */
const lateResultsWithinMs = 45_000;
/** A moment that doesn't come is treated as having come at this time. */
const latestMomentMs = 2_500;
/** For an aimed round: its moments are provoked, but come late on a busy machine. */
const latestAimedMs = 45_000;
const jobsAtOnce = 6;

export interface RoundResult {
  seed: number;
  round: number;
  aim: Aim | undefined;
  ms: number;
  steps: number;
  attempts: number;
  lines: number;
  /** Commands that another agent took over. */
  takeOvers: number;
  /** Accepted requests to cancel one host. */
  hostCancels: number;
  faults: FaultInForce[];
  coverage: Record<string, Record<string, number>>;
  violations: Violation[];
  facts: RoundFacts | undefined;
  /** Duration of each part of the round, in ms. */
  phases: Record<string, number>;
}

export interface RoundOptions extends PlanOptions {
  seed: number;
  round: number;
}

export async function runRound(cluster: Cluster, options: RoundOptions): Promise<RoundResult> {
  const watch = new StopWatch();
  const { seed, round } = options;
  const plan = planRound(seed, round, options);
  const restoresBefore = cluster.restores;
  const jobs = await makeJobs(cluster, plan.runs, `${seed}-${round}-${Date.now().toString(36)}`);
  const all = jobs.map(({ keys }, at) => ({ keys, planned: plan.runs[at] ?? fail('a job without a run') }));
  const gate = await Gate.make(cluster.gatePath);
  watch.lap('jobs');
  const faults: FaultInForce[] = [];
  const started: StartedRun[] = [];
  let hostCancels = 0;
  const runIds = () => started.map(({ id }) => id);
  const moments = new Moments(cluster, options.aim === undefined ? latestMomentMs : latestAimedMs, runIds);
  const acts = plan.faults.map((fault) =>
    moments.when(fault.moment, () => inject(cluster, moments, fault, faults)),
  );
  if (plan.gate !== undefined) acts.push(moments.when(plan.gate, () => gate.open()));
  const starts = jobs.map(async ({ id, keys }, at) => {
    const planned = plan.runs[at] ?? fail('a job without a run');
    const { startAt, startMs } = planned;
    await (startAt === undefined ? pause(startMs) : moments.when(startAt, async () => undefined));
    const runId = await startRun(cluster, id, planned, at);
    if (runId === undefined) return;
    started.push({ id: runId, planned, keys });
    const { cancel, decideAt } = planned;
    await Promise.all([
      ...planned.hostCancels.map((host) =>
        moments.when(host.moment, async () => {
          if (await cancelHost(cluster, runId, host)) hostCancels += 1;
        }),
      ),
      cancel && moments.when(cancel, () => cancelRun(cluster, runId, planned.isForced)),
      decideAt && moments.when(decideAt, () => decidePatiently(cluster, runId, planned.decision)),
    ]);
  });
  moments.begin();
  await Promise.all([...acts, ...starts]);
  moments.end();
  watch.lap('faults');
  await gate.open();
  await cluster.heal();
  await noteAgain(cluster.sql);
  watch.lap('heal');
  const violations: Violation[] = [];
  const isRestored = cluster.restores > restoresBefore;
  if (isRestored) await forgetLostRuns(cluster, started);
  const late = (error: Error): Violation[] => [{ rule: 'ends', text: error.message }];
  violations.push(...(await runsEnd(cluster, started).catch(late)));
  watch.lap('runs');
  violations.push(...(await spoolsAreEmpty(cluster)));
  const lostDisks = faults.flatMap(({ kind, fault, fromMs, toMs }) =>
    kind === 'agent-disk-lost' ? [{ agentId: cluster.agents[fault.member]?.id ?? 0, fromMs, toMs }] : [],
  );
  await lateResultsAreTold(cluster, started, lostDisks);
  watch.lap('spools');
  const facts = await patiently(() => gatherFacts(cluster, { all, started, isRestored }));
  const kinds = new Set(faults.map(({ kind }) => kind));
  const ends = [...cluster.servers, ...cluster.agents].flatMap(({ program }) => program.takeEnds());
  violations.push(...ends.map((text) => ({ rule: 'process', text })));
  violations.push(...checkFacts(facts, kinds), ...checkHostCancels(facts), ...checkTakeOvers(facts, faults));
  violations.push(...(await checkOutput(cluster, facts, lostDisks)));
  watch.lap('output');
  violations.push(...(await checkLeftovers(cluster, facts)), ...(await checkCleanUps(cluster)));
  watch.lap('leftovers');
  await clear(cluster);
  await gate.remove();
  return {
    seed,
    round,
    aim: options.aim,
    ms: watch.totalMs,
    phases: watch.laps,
    steps: facts.steps.length,
    attempts: facts.steps.reduce((sum, { attempts }) => sum + attempts.length, 0),
    lines: facts.steps.reduce((sum, { lines }) => sum + lines.length, 0),
    takeOvers: takeOversOf(facts),
    hostCancels,
    faults,
    coverage: coverage(facts.edges, faults),
    violations,
    facts,
  };
}

function takeOversOf({ steps, edges }: RoundFacts): number {
  const begunBy = new Map(
    edges
      .filter(({ kind, to }) => kind === 'step' && to === 'running')
      .map(({ rowId, epoch, agentId }) => [`${rowId}.${epoch}`, agentId]),
  );
  const attempts = steps.flatMap((step) => step.attempts);
  return attempts.filter(({ stepId, epoch, agentId }) => {
    const first = begunBy.get(`${stepId}.${epoch}`);
    return first !== undefined && first !== agentId;
  }).length;
}

class StopWatch {
  readonly laps: Record<string, number> = {};
  readonly #startedAt = performance.now();
  #lapAt = this.#startedAt;

  lap(name: string): void {
    const now = performance.now();
    this.laps[name] = Math.round(now - this.#lapAt);
    this.#lapAt = now;
  }

  get totalMs(): number {
    return Math.round(performance.now() - this.#startedAt);
  }
}

async function makeJobs(
  cluster: Cluster,
  runs: readonly PlannedRun[],
  name: string,
): Promise<{ id: number; keys: string[] }[]> {
  const jobs: { id: number; keys: string[] }[] = [];
  const waiting = [...runs.entries()];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [at, planned] = next;
      const keys = planned.steps.map((_, n) => `r${name}-${at}-${n}`);
      const definition = definitionOf(cluster, planned, { name: `${name} job ${at}`, round: name, keys });
      const { id } = await cluster.api(at).made<{ id: number }>('/api/v1/jobs', definition);
      jobs[at] = { id, keys };
    }
  };
  await Promise.all(Array.from({ length: jobsAtOnce }, work));
  await refuseNotes(
    cluster.sql,
    jobs.filter((_, at) => runs[at]?.isUnnoted).map(({ id }) => id),
  );
  return jobs;
}

function definitionOf(
  cluster: Cluster,
  { steps, job }: PlannedRun,
  { name, round, keys }: { name: string; round: string; keys: readonly string[] },
): Record<string, unknown> {
  const { locks, ...rest } = job as { locks?: { name: string }[] };
  return {
    ...rest,
    // An unknown attempt keeps its locks for long, which must not affect later rounds.
    ...(locks === undefined
      ? {}
      : { locks: locks.map((lock) => ({ ...lock, name: `${lock.name}-${round}` })) }),
    name,
    steps: steps.map((step, n) => ({
      name: `step ${n + 1}`,
      type: 'ssh.exec',
      ...step.rules,
      config: {
        command: stepCommand(step, { ...cluster, key: keys[n] ?? '' }),
        kill_grace: 1,
        survive_agent_restart: step.survives,
        ...(step.timeout === undefined ? {} : { timeout: step.timeout }),
      },
    })),
  };
}

/** Drops runs that the database no longer knows, and what continues of them on the targets. */
async function forgetLostRuns(cluster: Cluster, started: StartedRun[]): Promise<void> {
  const ids = started.map(({ id }) => id);
  const kept = await patiently(
    () => cluster.sql<{ id: number }[]>`select id from job_runs where id = any(${ids}::bigint[])`,
  );
  const known = new Set(kept.map(({ id }) => id));
  started.splice(0, started.length, ...started.filter(({ id }) => known.has(id)));
  // Nobody waits for runs that ended with the restore, and their sleeps would delay their agents. Whatever began since
  // goes on.
  const onTarget = await processesOnTarget(cluster);
  const open = await openCleanUps(cluster);
  const running = await patiently(
    () => cluster.sql<{ attempt: string }[]>`
      select id || '.' || epoch as attempt from job_run_steps where status = 'running'`,
  );
  for (const { attempt } of running) open.set(attempt, { dueMs: 0, text: '' });
  for (const [attempt, pids] of onTarget) {
    if (!open.has(attempt)) for (const pid of pids) signalPid(pid, 'SIGKILL');
  }
}

/** Like a script: retries with the same key if there is no answer. */
async function startRun(
  cluster: Cluster,
  jobId: number,
  { targets }: PlannedRun,
  at: number,
): Promise<number | undefined> {
  const targetIds = cluster.targetIds.slice(0, targets);
  const restoresBefore = cluster.restores;
  const requestKey = randomUUID();
  let runId: number | undefined;
  await until(`job ${jobId} is started`, async () => {
    // It may have been started in the lost period, which nobody can know, so it isn't started again.
    if (cluster.restores > restoresBefore) return true;
    const reply = await within(cluster.api(at), (api) =>
      api.post<{ id: number }>(`/api/v1/jobs/${jobId}/run`, { targetIds }, { 'idempotency-key': requestKey }),
    );
    if (reply.status === 201) runId = reply.body.id;
    else if (reply.status < 500)
      throw new Error(`starting a run was answered ${reply.status}: ${reply.text}`);
    return runId !== undefined;
  });
  return runId;
}

/** Like a person while faults are in force: retries until there is an answer. */
async function decidePatiently(
  cluster: Cluster,
  runId: number,
  decision: PlannedRun['decision'],
): Promise<void> {
  await until(`what run ${runId} holds is decided`, async () => {
    // A result may have arrived in the meantime, or the run may have been lost with a restore.
    const { status, text } = await askToDecide(cluster, runId, decision);
    if (status >= 500) throw new Error(`answered ${status}: ${text}`);
    return true;
  });
}

async function decide(cluster: Cluster, runId: number, decision: PlannedRun['decision']): Promise<void> {
  const reply = await askToDecide(cluster, runId, decision);
  // A result may have arrived in the meantime.
  if (reply.status !== 200 && reply.status !== 409 && reply.status < 500)
    throw new Error(`a decision was answered ${reply.status}: ${reply.text}`);
}

async function askToDecide(cluster: Cluster, runId: number, decision: PlannedRun['decision']) {
  return within(cluster.api(runId), (api) =>
    api.post(`/api/v1/runs/${runId}/decisions`, { decision, note: 'by the harness' }),
  );
}

async function inject(
  cluster: Cluster,
  moments: Moments,
  fault: PlannedFault,
  faults: FaultInForce[],
): Promise<void> {
  const entry: FaultInForce = {
    kind: fault.kind,
    fault,
    fromMs: Date.now(),
    toMs: Number.MAX_SAFE_INTEGER,
  };
  faults.push(entry);
  const { until: end } = fault;
  const isReal = await injectFault(
    cluster,
    fault,
    end === undefined ? undefined : () => moments.when(end, async () => undefined),
  );
  entry.toMs = Date.now();
  // What did nothing must not count as survived.
  if (isReal === false) faults.splice(faults.indexOf(entry), 1);
}

/** Waits until every run has ended. Decides held steps, and cancels what waits for the lock of an unknown attempt. */
async function runsEnd(cluster: Cluster, started: readonly StartedRun[]): Promise<Violation[]> {
  const runIds = started.map(({ id }) => id);
  const found: Violation[] = [];
  await until(
    'every run has ended',
    async () => {
      const open = await openRuns(cluster.sql, runIds);
      for (const { id, planned } of started) {
        const run = open.find((each) => each.id === id);
        if (run?.isHeld) await decide(cluster, id, planned.decision);
        if (run !== undefined && run.lockHolders.length > 0)
          found.push(...(await giveUpWaiting(cluster, id, run.lockHolders)));
      }
      return open.length === 0;
    },
    endsWithinMs,
  );
  return found;
}

async function spoolsAreEmpty(cluster: Cluster): Promise<Violation[]> {
  const namesOf = async () =>
    Promise.all(cluster.agents.map(({ dataDir }) => readdir(join(dataDir, 'spool'))));
  try {
    await until(
      'every agent has told what it knows',
      async () => (await namesOf()).every((names) => names.length === 0),
      endsWithinMs,
    );
    return [];
  } catch (error) {
    const text = `${error instanceof Error ? error.message : String(error)}; there are ${JSON.stringify(await namesOf())}`;
    return [{ rule: 'ends', text }];
  }
}

/** Once an agent is back, it must report what it knows of attempts that were given up; if it can't, a check says so. */
async function lateResultsAreTold(
  cluster: Cluster,
  started: readonly StartedRun[],
  lostDisks: readonly LostDisk[],
): Promise<void> {
  const runIds = started.map(({ id }) => id);
  // It can't report anything about leases from before its disk was lost.
  const lost = lostDisks.map(({ agentId, toMs }) => ({ agentId, until: new Date(toMs).toISOString() }));
  // Nor is anything reported about attempts that a restore marked: their agents may have reported them in the lost time.
  const isTold = async () => {
    const rows = await cluster.sql`
      select from job_run_step_attempts a where job_run_id = any(${runIds}::bigint[]) and status = 'unknown'
        and late_status is null and output_state = 'gapped' and reason <> 'database_restored'
        and coalesce(request_id, '') not like 'restored-%'
        and not exists (
          select from jsonb_to_recordset(${cluster.sql.json(lost)}::jsonb) as l("agentId" bigint, until timestamptz)
          where l."agentId" = a.agent_id and a.leased_at <= l.until)
      limit 1`;
    return rows.length === 0;
  };
  await until('every late result is told', isTold, lateResultsWithinMs).catch(() => undefined);
}

/** Removes what must not affect the next round. What an agent still has to clean up is left to it. */
async function clear(cluster: Cluster): Promise<void> {
  const open = await openCleanUps(cluster);
  for (const [attempt, pids] of await processesOnTarget(cluster)) {
    if (!open.has(attempt)) for (const pid of pids) signalPid(pid, 'SIGKILL');
  }
  for (const name of await readdir(cluster.linesDir)) {
    if (name !== 'blob') await rm(join(cluster.linesDir, name), { force: true });
  }
}
