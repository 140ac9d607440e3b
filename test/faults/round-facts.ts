// Everything that a round left behind: rows, events, and lines on the targets.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { type Edge, edgesOfRuns, survivorsOfRuns } from './edge-recorder.ts';
import type { PlannedRun, PlannedStep } from './plan-round.ts';
import { fail } from './waiting.ts';

/** A run that was supposed to be started. */
export interface KeyedRun {
  planned: PlannedRun;
  /** Keys of the steps' files of lines. */
  keys: string[];
}

export interface StartedRun extends KeyedRun {
  id: number;
}

export interface StepFacts {
  id: number;
  jobRunId: number;
  targetRunId: number;
  targetRunStatus: string;
  stepNumber: number;
  status: string;
  epoch: number;
  reason: string | null;
  outputState: string;
  planned: PlannedStep;
  key: string;
  /** From its run's strategy. */
  maxParallel: number | undefined;
  attempts: AttemptFacts[];
  /** Epochs whose commands began on the target, according to the lines they wrote. */
  lines: number[];
}

export interface AttemptFacts {
  stepId: number;
  epoch: number;
  agentId: number;
  status: string;
  lateStatus: string | null;
  reason: string | null;
  exitCode: number | null;
  message: string | null;
  survivors: unknown[] | null;
  decision: string | null;
  outputState: string;
  outputSeq: number;
}

export interface TargetRunFacts {
  id: number;
  status: string;
  /** Its place among the run's targets. */
  host: number;
  /** If it was cancelled by itself. */
  cancelRequestedAt: Date | null;
}

export interface RunFacts {
  id: number;
  planned: PlannedRun;
  keys: string[];
  status: string;
  maxFailures: number;
  /** A limit of failures has stopped it. */
  isHalted: boolean;
  targetsTotal: number;
  completedSteps: number;
  eventSeq: number;
  cancelRequestedAt: Date | null;
  counts: Record<string, number>;
  targetRuns: TargetRunFacts[];
  events: { seq: number; change: { run?: { status?: string }; steps?: { id: number; status?: string }[] } }[];
}

export interface RoundFacts {
  /** Whether the database was restored during the round. */
  isRestored: boolean;
  /** All runs of the round, including those unknown to a restored database. */
  all: readonly KeyedRun[];
  /** How often a step's command began on a target, whatever the database says. */
  begun: { key: string; file: string; times: number }[];
  runs: RunFacts[];
  steps: StepFacts[];
  edges: Edge[];
  /** Attempts that the database knew to survive their agent, as `step.epoch`. */
  survivors: Set<string>;
  /** Lock slots held by target runs that have ended and are not unknown. */
  heldLocks: { lockKey: string; targetRunId: number }[];
}

export async function gatherFacts(
  cluster: Cluster,
  { all, started, isRestored }: Pick<RoundFacts, 'all' | 'isRestored'> & { started: readonly StartedRun[] },
): Promise<RoundFacts> {
  const { sql } = cluster;
  const runIds = started.map(({ id }) => id);
  const lines = await linesOnTargets(cluster);
  const attempts = await sql<AttemptFacts[]>`
    select job_run_step_id as step_id, epoch, agent_id, status, late_status, reason, exit_code, message, survivors, decision,
      output_state, output_seq
    from job_run_step_attempts where job_run_id = any(${runIds}::bigint[]) order by 1, 2`;
  const rows = await sql<Omit<StepFacts, 'planned' | 'key' | 'maxParallel' | 'attempts' | 'lines'>[]>`
    select s.id, s.job_run_id, s.target_run_id, t.status as target_run_status, s.step_number, s.status, s.epoch, s.reason,
      s.output_state
    from job_run_steps s join job_run_targets t on t.id = s.target_run_id
    where s.job_run_id = any(${runIds}::bigint[]) order by s.id`;
  const steps = rows.map((row): StepFacts => {
    const run = started.find(({ id }) => id === row.jobRunId);
    const planned = run?.planned.steps[row.stepNumber - 1];
    const key = run?.keys[row.stepNumber - 1];
    if (planned === undefined || key === undefined) throw new Error('a step that nobody planned');
    const own = attempts.filter(({ stepId }) => stepId === row.id);
    const strategy = run?.planned.job.strategy as { max_parallel: number } | undefined;
    const maxParallel = strategy?.max_parallel;
    return { ...row, planned, key, maxParallel, attempts: own, lines: lines.get(row.id) ?? [] };
  });
  return {
    isRestored,
    all,
    begun: await begunOnTargets(cluster),
    runs: await runFacts(cluster, started),
    steps,
    edges: await edgesOfRuns(sql, runIds),
    survivors: await survivorsOfRuns(sql, runIds),
    heldLocks: await sql`
      select l.lock_key, l.target_run_id from lock_slots l join job_run_targets t on t.id = l.target_run_id
      where l.job_run_id = any(${runIds}::bigint[]) and t.status in ('succeeded', 'failed', 'partial', 'cancelled', 'timed_out')`,
  };
}

async function runFacts({ sql, targetIds }: Cluster, started: readonly StartedRun[]): Promise<RunFacts[]> {
  const ids = started.map(({ id }) => id);
  const runs = await sql<
    (Omit<RunFacts, 'planned' | 'keys' | 'counts' | 'targetRuns' | 'events'> & Record<string, number>)[]
  >`
    select id, status, max_failures, halted_at is not null as is_halted, targets_total, completed_steps, event_seq, cancel_requested_at, targets_succeeded,
      targets_failed, targets_cancelled, targets_timed_out, targets_unknown
    from job_runs where id = any(${ids}::bigint[]) order by id`;
  const targetRuns = await sql<(Omit<TargetRunFacts, 'host'> & { jobRunId: number; targetId: number })[]>`
    select id, job_run_id, target_id, status, cancel_requested_at from job_run_targets where job_run_id = any(${ids}::bigint[]) order by id`;
  const events = await sql<({ jobRunId: number } & RunFacts['events'][number])[]>`
    select job_run_id, seq, change from run_events where job_run_id = any(${ids}::bigint[]) order by job_run_id, seq`;
  const plans = new Map(started.map((each) => [each.id, each]));
  return runs.map((run) => ({
    ...run,
    ...plannedOf(plans.get(run.id)),
    counts: {
      succeeded: run.targetsSucceeded ?? 0,
      failed: run.targetsFailed ?? 0,
      cancelled: run.targetsCancelled ?? 0,
      timed_out: run.targetsTimedOut ?? 0,
      unknown: run.targetsUnknown ?? 0,
    },
    targetRuns: targetRuns
      .filter(({ jobRunId }) => jobRunId === run.id)
      .map(({ targetId, ...target }) => ({ ...target, host: targetIds.indexOf(targetId) })),
    events: events.filter(({ jobRunId }) => jobRunId === run.id),
  }));
}

function plannedOf(run: StartedRun | undefined): Pick<RunFacts, 'planned' | 'keys'> {
  const { planned, keys } = run ?? fail('a run that nobody planned');
  return { planned, keys };
}

async function begunOnTargets({ linesDir }: Cluster): Promise<RoundFacts['begun']> {
  const names = (await readdir(linesDir)).filter((name) => name !== 'blob');
  return Promise.all(
    names.map(async (file) => {
      const text = await readFile(join(linesDir, file), 'utf8');
      return { file, key: file.replace(/-\d+$/, ''), times: text.split('\n').length - 1 };
    }),
  );
}

/** Epochs by step. */
async function linesOnTargets({ linesDir }: Cluster): Promise<Map<number, number[]>> {
  const lines = new Map<number, number[]>();
  for (const name of await readdir(linesDir)) {
    if (name === 'blob') continue;
    for (const marker of (await readFile(join(linesDir, name), 'utf8')).split('\n')) {
      const [, step, epoch] = /\.(\d+)\.(\d+)$/.exec(marker) ?? [];
      if (step === undefined) continue;
      lines.set(Number(step), [...(lines.get(Number(step)) ?? []), Number(epoch)]);
    }
  }
  return lines;
}
