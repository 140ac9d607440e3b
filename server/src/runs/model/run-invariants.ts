// What must hold for runs at any time, whatever has happened to them, as read from the database.
import {
  isRunEnded,
  isStepEnded,
  isStepFailed,
  type RunChange,
  type RunStatus,
  type StepStatus,
} from '@opsconductor/protocol';
import type { Sql } from '../../store/database/connection.ts';
import { type ModelWorld, slots } from './model-world.ts';

interface Run {
  id: number;
  status: RunStatus;
  eventSeq: number;
  haltedAt: Date | null;
  counted: Record<string, number>;
}
interface TargetRun {
  id: number;
  jobRunId: number;
  status: RunStatus;
  isOpen: boolean;
}
interface StepNow {
  id: number;
  jobRunId: number;
  targetRunId: number;
  stepNumber: number;
  status: StepStatus;
  epoch: number;
  agentId: number | null;
  waits: 'lock' | 'for nothing' | null;
  hasDeadline: boolean;
}

/** What a reader who follows a run's events knows by now. */
interface Told {
  seq: number;
  run: Record<string, unknown>;
  targetRuns: Map<number, string>;
  steps: Map<number, string>;
}

export class RunInvariants {
  readonly #world: ModelWorld;
  readonly #sql: Sql;
  #told = new Map<number, Told>();
  #ended = new Map<number, string>();

  constructor(world: ModelWorld) {
    this.#world = world;
    this.#sql = world.t.sql;
  }

  reset(): void {
    this.#told = new Map();
    this.#ended = new Map();
  }

  /** @throws {Error} listing everything that is wrong. */
  async check(): Promise<void> {
    const [runs, targets, steps] = await readRuns(this.#sql);
    const wrong: string[] = [];
    for (const run of runs) {
      const ofRun = targets.filter((target) => target.jobRunId === run.id);
      const stepsOfRun = steps.filter((step) => step.jobRunId === run.id);
      wrong.push(
        ...wrongCounters(run, ofRun, stepsOfRun),
        ...stuck(run, ofRun, stepsOfRun),
        ...this.#reopened(run, ofRun, stepsOfRun),
        ...(await this.#untold(run, ofRun, stepsOfRun)),
      );
    }
    wrong.push(...(await this.#wrongLocks()), ...this.#overloaded(steps), ...(await this.#runTwice(steps)));
    if (wrong.length > 0) throw new Error(wrong.join('\n'));
  }

  #reopened(run: Run, targets: readonly TargetRun[], steps: readonly StepNow[]): string[] {
    const now = JSON.stringify([
      run.status,
      run.counted,
      targets.map(({ status }) => status),
      steps.map(({ status }) => status),
    ]);
    const before = this.#ended.get(run.id);
    if (isRunEnded(run.status)) this.#ended.set(run.id, now);
    return before === undefined || before === now ? [] : [`ended run ${run.id} was ${before} and is ${now}`];
  }

  /** A reader who has followed the run's events knows its current state, and the events are numbered without gaps. */
  async #untold(run: Run, targets: readonly TargetRun[], steps: readonly StepNow[]): Promise<string[]> {
    let told = this.#told.get(run.id);
    if (told === undefined) {
      told = { seq: run.eventSeq, run: { status: run.status }, targetRuns: new Map(), steps: new Map() };
      for (const { id, status } of targets) told.targetRuns.set(id, status);
      for (const { id, status } of steps) told.steps.set(id, status);
      this.#told.set(run.id, told);
    }
    const events = await this.#sql<{ seq: number; change: RunChange }[]>`
      select seq, change from run_events where job_run_id = ${run.id} and seq > ${told.seq} order by seq`;
    const wrong: string[] = [];
    for (const { seq, change } of events) {
      if (seq !== told.seq + 1) wrong.push(`run ${run.id}: event ${seq} follows ${told.seq}`);
      told.seq = seq;
      Object.assign(told.run, change.run);
      for (const target of change.targetRuns ?? []) told.targetRuns.set(target.id, target.status);
      for (const step of change.steps ?? []) {
        if (step.status !== undefined) told.steps.set(step.id, step.status);
      }
    }
    if (told.seq !== run.eventSeq)
      wrong.push(`run ${run.id}: the last event is ${told.seq}, not ${run.eventSeq}`);
    if (told.run.status !== run.status)
      wrong.push(`run ${run.id}: told ${told.run.status}, is ${run.status}`);
    for (const [name, value] of Object.entries(run.counted)) {
      if (name in told.run && told.run[name] !== value)
        wrong.push(`run ${run.id}: told ${name} ${told.run[name]}, is ${value}`);
    }
    for (const { id, status } of targets) {
      if (told.targetRuns.get(id) !== status)
        wrong.push(`target run ${id}: told ${told.targetRuns.get(id)}, is ${status}`);
    }
    for (const { id, status } of steps) {
      if (told.steps.get(id) !== status) wrong.push(`step ${id}: told ${told.steps.get(id)}, is ${status}`);
    }
    return wrong;
  }

  async #wrongLocks(): Promise<string[]> {
    const held = await this.#sql<{ lockKey: string; status: RunStatus; jobRunId: number }[]>`
      select s.lock_key, t.status, t.job_run_id from lock_slots s join job_run_targets t on t.id = s.target_run_id`;
    return held
      .filter(({ status }) => isRunEnded(status) && status !== 'unknown')
      .map(({ lockKey, status, jobRunId }) => `a ${status} target run of run ${jobRunId} holds ${lockKey}`);
  }

  #overloaded(steps: readonly StepNow[]): string[] {
    return this.#world.agents
      .filter(({ agentId }) => {
        const own = steps.filter((step) => step.status === 'running' && step.agentId === agentId);
        return new Set(own.map(({ targetRunId }) => targetRunId)).size > slots;
      })
      .map(({ name }) => `${name} has more leases than slots`);
  }

  /** A step that had begun runs again only if its rules or a person say so. */
  async #runTwice(steps: readonly StepNow[]): Promise<string[]> {
    const again = steps.filter(({ id, epoch, status }) => {
      const begun = this.#world.begun.get(id);
      return begun !== undefined && (begun < epoch || status === 'ready' || status === 'pending');
    });
    if (again.length === 0) return [];
    const rows = await this.#sql<{ id: number; epoch: number; allowed: boolean }[]>`
      select a.job_run_step_id as id, a.epoch,
        a.decision is not distinct from 'retry' or coalesce(a.late_status, a.status) in ('failed', 'timed_out')
        or coalesce((v.step_rules -> (st.step_number - 1) ->> 'idempotent')::boolean, false) as allowed
      from job_run_step_attempts a join job_run_steps st on st.id = a.job_run_step_id
      join job_runs r on r.id = st.job_run_id
      join job_versions v on v.job_id = r.job_id and v.version = r.job_version
      where st.id = any(${again.map(({ id }) => id)}::bigint[])`;
    return again
      .filter(
        ({ id }) =>
          !rows.some((row) => row.id === id && row.epoch === this.#world.begun.get(id) && row.allowed),
      )
      .map((step) => `step ${step.id} had begun and is ${step.status} again, with epoch ${step.epoch}`);
  }
}

async function readRuns(sql: Sql): Promise<[Run[], TargetRun[], StepNow[]]> {
  return Promise.all([
    sql<Run[]>`
      select id, status, event_seq, halted_at, jsonb_build_object('targetsTotal', targets_total,
        'targetsRunning', targets_running, 'targetsHeld', targets_held, 'targetsSucceeded', targets_succeeded,
        'targetsFailed', targets_failed, 'targetsCancelled', targets_cancelled, 'targetsTimedOut', targets_timed_out,
        'targetsUnknown', targets_unknown, 'totalSteps', total_steps, 'completedSteps', completed_steps,
        'failedSteps', failed_steps) as counted
      from job_runs order by id`,
    sql<TargetRun[]>`select id, job_run_id, status, is_open from job_run_targets order by id`,
    sql<StepNow[]>`
      select id, job_run_id, target_run_id, step_number, status, epoch, agent_id,
        case when not_before = 'infinity' then case when waits_lock is null then 'for nothing' else 'lock' end end
          as waits,
        case status when 'running' then deadline_at is not null when 'held' then held_until is not null
          else true end as has_deadline
      from job_run_steps order by id`,
  ]);
}

function wrongCounters(run: Run, targets: readonly TargetRun[], steps: readonly StepNow[]): string[] {
  const count = (...statuses: RunStatus[]) =>
    targets.filter(({ status }) => statuses.includes(status)).length;
  const rows: Record<string, number> = {
    targetsTotal: targets.length,
    targetsRunning: count('running', 'cancelling'),
    targetsHeld: count('held'),
    targetsSucceeded: count('succeeded'),
    targetsFailed: count('failed', 'partial'),
    targetsCancelled: count('cancelled'),
    targetsTimedOut: count('timed_out'),
    targetsUnknown: count('unknown'),
    totalSteps: steps.length,
    completedSteps: steps.filter(({ status }) => isStepEnded(status)).length,
    failedSteps: steps.filter(({ status }) => isStepFailed(status)).length,
  };
  return Object.entries(rows)
    .filter(([name, counted]) => run.counted[name] !== counted)
    .map(([name, counted]) => `run ${run.id}: ${name} is ${run.counted[name]}, the rows say ${counted}`);
}

/** Everything that is open has exactly one thing that moves it on; what has ended has nothing left to do. */
function stuck(run: Run, targets: readonly TargetRun[], steps: readonly StepNow[]): string[] {
  const wrong: string[] = [];
  for (const target of targets) {
    const own = steps.filter((step) => step.targetRunId === target.id);
    const live = own.filter(({ status }) => status === 'ready' || status === 'running' || status === 'held');
    const places = own.map(({ status }) => status).join(', ');
    const what = `target run ${target.id}, ${target.status} in a run that is ${run.status}: ${places}`;
    // Steps may be leased ahead of their turn, to the agent that has the one whose turn it is.
    const areAhead =
      live.every(({ status, agentId }) => status === 'running' && agentId === live[0]?.agentId) &&
      live.every(({ stepNumber }, at) => stepNumber === (live[0]?.stepNumber ?? 0) + at);
    if (live.length > 1 && !areAhead) wrong.push(`more than one step is live in ${what}`);
    if (isRunEnded(target.status)) {
      if (own.some(({ status }) => !isStepEnded(status))) wrong.push(`something is left of ${what}`);
    } else if (
      target.isOpen
        ? live.length === 0
        : own.some(({ status }) => status !== 'pending' && status !== 'skipped')
    )
      wrong.push(`nothing moves ${what}`);
    for (const step of live) {
      if (!step.hasDeadline || (step.status === 'ready' && step.waits === 'for nothing'))
        wrong.push(`step ${step.id} is ${step.status} forever in ${what}`);
    }
  }
  const open = targets.filter(({ status }) => !isRunEnded(status));
  if (isRunEnded(run.status) !== (open.length === 0))
    wrong.push(`run ${run.id} is ${run.status} with ${open.length} open`);
  if (open.length > 0 && !open.some(({ isOpen }) => isOpen))
    wrong.push(`run ${run.id} opens no target run any more`);
  return wrong;
}
