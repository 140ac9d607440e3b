// Inserting a run: one row per run, per target run and per step, each kind in one statement.
import {
  batchSize,
  type JobState,
  type Lock,
  type RunSelection,
  type RunStrategy,
} from '@opsconductor/protocol';
import type { Queryable, Tx } from '../database/connection.ts';

export interface RunPlan {
  runId: number;
  name: string;
  version: number;
  state: JobState;
  isTemplate: boolean;
  categoryId: number;
  category: string;
}

/**
 * Returns what starting a run needs to know about a job, with an id for the run, or `undefined` if there is no such
 * job.
 *
 * @param unused an id that was drawn before and not used. It is used now, unless any server has drawn another one
 *   since.
 */
export async function planRun(db: Queryable, jobId: number, unused?: number): Promise<RunPlan | undefined> {
  const [row] = await db<RunPlan[]>`
    select coalesce((select last_value from job_runs_id_seq where last_value = ${unused ?? null}::bigint),
        nextval(pg_get_serial_sequence('job_runs', 'id'))) as run_id,
      j.name, j.version, j.state, j.is_template, j.category_id, c.name as category
    from jobs j join categories c on c.id = j.category_id where j.id = ${jobId} and j.deleted_at is null`;
  return row;
}

/** Returns the category and current version of a job, or `undefined` if there is no such job. */
export async function findRunnableJob(
  db: Queryable,
  jobId: number,
): Promise<Pick<RunPlan, 'name' | 'version' | 'categoryId'> | undefined> {
  const [row] = await db<Pick<RunPlan, 'name' | 'version' | 'categoryId'>[]>`
    select name, version, category_id from jobs where id = ${jobId} and deleted_at is null`;
  return row;
}

export interface NewRun {
  id: number;
  jobId: number;
  jobVersion: number;
  /** Wrapped by the master key. */
  dataKey: string;
  startWithinS: number;
  createdBy: number;
  selection: RunSelection;
  priority: number;
  timeoutS: number | null;
  locks: readonly Lock[];
  /** `opens`: how many targets it opens at the start, in their order. */
  strategy: (RunStrategy & { opens: number }) | null;
  rerunOf: number | null;
  /** Whether the job is a draft or a template. */
  isTrial: boolean;
  /** Values encrypted with the run's data key; `null` if there are none. */
  parameters: Buffer | null;
  secretsId: string | null;
  versionRef: string | null;
  reason: string | null;
  /** `sealed` is encrypted with the run's data key; `null` if the run is not signed. */
  grant: { sealed: Buffer; nonce: Uint8Array } | null;
  /** Key and digests of the request that asks for the run, if a repeated request must find it; otherwise `null`. */
  request: { key: Buffer; digest: Buffer; contentDigest: Buffer } | null;
  /** In the order in which they start. Steps before `firstStep` are skipped. */
  targets: readonly { id: number; name: string; segmentId: number; firstStep?: number }[];
  /** `needs`: what an agent must be capable of. */
  steps: readonly { number: number; type: string; timeBudgetS: number; needs?: readonly string[] }[];
}

/**
 * Inserts run, target runs and steps; the first step of each target that may start is ready. If a target was deleted
 * since it was read, this violates a foreign key. If the job was deleted but its row is kept for earlier runs, it
 * violates a not-null constraint.
 */
export async function insertRun(tx: Tx, run: NewRun): Promise<void> {
  const { strategy } = run;
  const hasLocks = run.locks.length > 0;
  const opens = strategy?.opens ?? run.targets.length;
  const skipped = run.targets.reduce((sum, target) => sum + (target.firstStep ?? 1) - 1, 0);
  await tx`
    with run as (
      insert into job_runs (id, job_id, job_version, data_key, targets_total, total_steps, completed_steps, start_by,
        created_by, selection, priority, timeout_s, locks, rerun_of, is_trial, max_failures, strategy, targets_opened,
        batch_number, batch_end, batch_failures, parameters, secrets_id, version_ref, reason,
        request_key, request_digest, request_content_digest, signed_grant, grant_nonce)
      overriding system value
      values (${run.id}, (select id from jobs where id = ${run.jobId} and deleted_at is null for key share), ${run.jobVersion}, ${run.dataKey}, ${run.targets.length},
        ${run.targets.length * run.steps.length}, ${skipped},
        clock_timestamp() + make_interval(secs => ${run.startWithinS}), ${run.createdBy},
        ${tx.json(run.selection)}, ${run.priority}, ${run.timeoutS},
        ${hasLocks ? tx.json(run.locks as never) : null}, ${run.rerunOf}, ${run.isTrial}, ${strategy?.maxFailures ?? 0},
        ${strategy === null ? null : tx.json(strategyValues(strategy))}, ${strategy === null ? null : opens},
        ${strategy?.batches.length ? 1 : null}, ${strategy?.batches.length ? firstBatchEnd(strategy, run) : null},
        ${strategy?.batches.length ? 0 : null}, ${run.parameters}, ${run.secretsId}, ${run.versionRef}, ${run.reason},
        ${run.request?.key ?? null}, ${run.request?.digest ?? null}, ${run.request?.contentDigest ?? null},
        ${run.grant?.sealed ?? null}, ${run.grant?.nonce ?? null})
      returning id
    ), target_run as (
      insert into job_run_targets (job_run_id, target_id, segment_id, target_name, is_open, has_locks)
      select run.id, c.id, c."segmentId", c.name, c.place <= ${opens}, ${hasLocks}
      from run, rows from (jsonb_to_recordset(${tx.json(run.targets as never)}::jsonb) as (
        id bigint, "segmentId" bigint, name text)) with ordinality as c(id, "segmentId", name, place)
      order by c.place
      returning id, target_id, segment_id, job_run_id, is_open
    ), step as (
      insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s,
        claim_rank, has_locks, needs, status, reason)
      select t.job_run_id, t.id, t.segment_id, s.number, s.type, s."timeBudgetS", ${-run.priority}, ${hasLocks},
        case when s.needs is not null then array(select jsonb_array_elements_text(s.needs)) end,
        ${firstStatuses(tx, run)}
      from target_run t
      cross join jsonb_to_recordset(${tx.json(run.steps as never)}::jsonb) as s(
        number integer, type text, "timeBudgetS" integer, needs jsonb)
      ${skipped === 0 ? tx`` : firstSteps(tx, run)}
      order by t.id, s.number
    )
    select from run`;
}

/**
 * Waits until nobody is about to delete the job or the targets, and keeps them from being deleted until the transaction
 * ends.
 */
export async function holdForRun(tx: Tx, jobId: number, targetIds: readonly number[]): Promise<void> {
  await tx`select 1 from jobs where id = ${jobId} for key share`;
  await tx`select 1 from targets where id = any(${targetIds as number[]}::bigint[]) order by id for key share`;
}

/** Makes other callers for the same job wait until the transaction ends, and no others that start a run of it. */
export async function lockJobForStart(tx: Tx, jobId: number): Promise<void> {
  await tx`select 1 from jobs where id = ${jobId} for no key update`;
}

/** Returns the numbers of at most so many open runs of a job, the oldest first. */
export async function openRunsOf(db: Queryable, jobId: number, most: number): Promise<number[]> {
  const rows = await db<{ id: number }[]>`
    select id from job_runs
    where job_id = ${jobId} and status in ('queued', 'running', 'cancelling', 'held')
    order by id limit ${most}`;
  return rows.map(({ id }) => id);
}

function strategyValues({ opens: _, ...strategy }: NonNullable<NewRun['strategy']>): never {
  return strategy as never;
}

function firstBatchEnd({ batches }: RunStrategy, run: NewRun): number {
  return Math.min(batchSize(batches, 1), run.targets.length);
}

/** SQL: initial status and reason of each step. */
function firstStatuses(tx: Tx, run: NewRun) {
  if (run.targets.every((target) => (target.firstStep ?? 1) === 1)) {
    return tx`case when s.number = 1 and t.is_open then 'ready' else 'pending' end, null`;
  }
  return tx`case when s.number < f.number then 'skipped' when s.number = f.number and t.is_open then 'ready'
    else 'pending' end, case when s.number < f.number then 'rerun' end`;
}

function firstSteps(tx: Tx, run: NewRun) {
  const targets = run.targets.map(({ id, firstStep }) => ({ id, number: firstStep ?? 1 }));
  return tx`join jsonb_to_recordset(${tx.json(targets)}::jsonb) as f(id bigint, number integer) on f.id = t.target_id`;
}

/** Returns the run's wrapped data key, with the job to which the wrap is bound. */
export async function dataKeyOfRun(
  db: Queryable,
  runId: number,
): Promise<{ dataKey: string; jobId: number } | undefined> {
  const rows = await db<{ dataKey: string; jobId: number }[]>`
    select data_key, job_id from job_runs where id = ${runId}`;
  return rows[0];
}
