// Inserting a run: one row a run, one a target run, one a step, each kind in one statement.
import type { RunSelection } from '@opsconductor/protocol';
import type { Queryable, Tx } from './connection.ts';

export interface RunPlan {
  runId: number;
  name: string;
  version: number;
  isActive: boolean;
  categoryId: number;
  category: string;
}

/** What starting a run needs to know of a job, with an id for the run; undefined when there is no such job. */
export async function planRun(db: Queryable, jobId: number): Promise<RunPlan | undefined> {
  const [row] = await db<RunPlan[]>`
    select nextval(pg_get_serial_sequence('job_runs', 'id')) as run_id, j.name, j.version, j.is_active,
      j.category_id, c.name as category
    from jobs j join categories c on c.id = j.category_id where j.id = ${jobId}`;
  return row;
}

/** Where a job lies and its current version; undefined when there is no such job. */
export async function findRunnableJob(
  db: Queryable,
  jobId: number,
): Promise<Pick<RunPlan, 'name' | 'version' | 'categoryId'> | undefined> {
  const [row] = await db<Pick<RunPlan, 'name' | 'version' | 'categoryId'>[]>`
    select name, version, category_id from jobs where id = ${jobId}`;
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
  targets: readonly { id: number; name: string; segmentId: number }[];
  steps: readonly { number: number; type: string; timeBudgetS: number }[];
}

/**
 * Inserts run, target runs and steps; the first step of each target is ready. A target that was deleted since it was
 * read violates a foreign key.
 */
export async function insertRun(tx: Tx, run: NewRun): Promise<void> {
  await tx`
    with run as (
      insert into job_runs (id, job_id, job_version, data_key, targets_total, total_steps, start_by, created_by,
        selection)
      overriding system value
      values (${run.id}, ${run.jobId}, ${run.jobVersion}, ${run.dataKey}, ${run.targets.length},
        ${run.targets.length * run.steps.length},
        clock_timestamp() + make_interval(secs => ${run.startWithinS}), ${run.createdBy},
        ${tx.json(run.selection)})
      returning id
    ), target_run as (
      insert into job_run_targets (job_run_id, target_id, segment_id, target_name)
      select run.id, c.id, c."segmentId", c.name
      from run, jsonb_to_recordset(${tx.json(run.targets as never)}::jsonb) as c(id bigint, "segmentId" bigint, name text)
      returning id, segment_id, job_run_id
    ), step as (
      insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
      select t.job_run_id, t.id, t.segment_id, s.number, s.type, s."timeBudgetS",
        case when s.number = 1 then 'ready' else 'pending' end
      from target_run t
      cross join jsonb_to_recordset(${tx.json(run.steps as never)}::jsonb) as s(
        number integer, type text, "timeBudgetS" integer)
      order by t.id, s.number
    )
    select from run`;
}

/** The run's wrapped data key, with the job that the wrap is bound to. */
export async function dataKeyOfRun(
  db: Queryable,
  runId: number,
): Promise<{ dataKey: string; jobId: number } | undefined> {
  const rows = await db<{ dataKey: string; jobId: number }[]>`
    select data_key, job_id from job_runs where id = ${runId}`;
  return rows[0];
}
