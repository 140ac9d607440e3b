// Records every status change, with triggers that only this harness installs, and determines which faults were in force
// at the time.
import type { Sql } from '../../server/src/store/database/connection.ts';
import type { FaultKind, PlannedFault } from './plan-round.ts';
import { patiently } from './waiting.ts';

/** A change counts for a fault if it occurs during the fault or this soon after it. */
const aftermathMs = 2_500;

export interface Edge {
  kind: 'step' | 'target_run' | 'run';
  rowId: number;
  runId: number;
  epoch: number | null;
  agentId: number | null;
  from: string;
  to: string;
  at: Date;
  /** Changes of one transaction take effect together. */
  transaction: string;
  /** Of a target run or its step: the target run had been cancelled by itself. */
  isCancelled: boolean;
}
export interface FaultInForce {
  kind: FaultKind;
  fault: PlannedFault;
  fromMs: number;
  toMs: number;
}

export async function installRecorder(sql: Sql): Promise<void> {
  await sql.unsafe(`
    create table fault_edges (
      id bigint generated always as identity primary key, kind text not null, row_id bigint not null,
      run_id bigint not null, epoch integer, agent_id bigint, from_status text not null, to_status text not null,
      at timestamptz not null default clock_timestamp(), transaction xid8 not null default pg_current_xact_id(),
      is_cancelled boolean not null);
    create index fault_edges_run on fault_edges (run_id);
    create function note_fault_edge() returns trigger language plpgsql as $$
    declare r jsonb := to_jsonb(new);
    begin
      -- What this sees of another transaction has been committed, and so had the cancel, when this step changed.
      insert into fault_edges (kind, row_id, run_id, epoch, agent_id, from_status, to_status, is_cancelled)
      values (tg_argv[0], new.id, coalesce((r->>'job_run_id')::bigint, new.id), (r->>'epoch')::int,
        (r->>'agent_id')::bigint, old.status, new.status, tg_argv[0] <> 'run' and exists (
          select from job_run_targets t where t.cancel_requested_at is not null
            and t.id = case tg_argv[0] when 'step' then (r->>'target_run_id')::bigint else new.id end));
      return null;
    end $$;
    create trigger fault_edge after update of status on job_run_steps for each row
      when (old.status is distinct from new.status) execute function note_fault_edge('step');
    create trigger fault_edge after update of status on job_run_targets for each row
      when (old.status is distinct from new.status) execute function note_fault_edge('target_run');
    create trigger fault_edge after update of status on job_runs for each row
      when (old.status is distinct from new.status) execute function note_fault_edge('run');
    create table fault_survivors (step_id bigint, epoch integer);
    create function note_fault_survivor() returns trigger language plpgsql as $$
    begin
      insert into fault_survivors values (new.job_run_step_id, new.epoch);
      return null;
    end $$;
    create trigger fault_survivor after insert on detached_attempts for each row execute function note_fault_survivor();
    create table fault_unnoted (job_id bigint primary key);
    create function refuse_fault_note() returns trigger language plpgsql as $$
    declare r jsonb := to_jsonb(new);
    begin
      if exists (select from job_runs o join fault_unnoted u on u.job_id = o.job_id
          where o.id = coalesce((r->>'job_run_id')::bigint, new.id)) then
        raise exception 'the harness lets nobody note that this runs';
      end if;
      return new;
    end $$;
    create trigger fault_unnoted before update of status on job_run_targets for each row
      when (old.status = 'queued' and new.status = 'running') execute function refuse_fault_note();
    create trigger fault_unnoted before update of status on job_runs for each row
      when (old.status = 'queued' and new.status = 'running') execute function refuse_fault_note()`);
}

/** From now on, prevents runs of these jobs from being recorded as running. */
export async function refuseNotes(sql: Sql, jobIds: readonly number[]): Promise<void> {
  if (jobIds.length === 0) return;
  await sql`insert into fault_unnoted select unnest(${jobIds as number[]}::bigint[])`;
}

/** Stops preventing that. */
export async function noteAgain(sql: Sql): Promise<void> {
  await patiently(() => sql`delete from fault_unnoted`);
}

export async function edgesOfRuns(sql: Sql, runIds: readonly number[]): Promise<Edge[]> {
  return sql<Edge[]>`
    select kind, row_id, run_id, epoch, agent_id, from_status as "from", to_status as "to", at, transaction::text, is_cancelled
    from fault_edges
    where run_id = any(${runIds as number[]}::bigint[]) order by id`;
}

/** Returns attempts that the database knew to survive their agent, as `step.epoch`. */
export async function survivorsOfRuns(sql: Sql, runIds: readonly number[]): Promise<Set<string>> {
  const rows = await sql<{ attempt: string }[]>`
    select f.step_id || '.' || f.epoch as attempt from fault_survivors f join job_run_steps st on st.id = f.step_id
    where st.job_run_id = any(${runIds as number[]}::bigint[])`;
  return new Set(rows.map(({ attempt }) => attempt));
}

/**
 * Returns how often each fault coincided with each edge: `agent-killed` → `step running>unknown` → 3. Edges of a target
 * run that was cancelled by itself count a second time, as those of a `host`.
 */
export function coverage(
  edges: readonly Edge[],
  faults: readonly FaultInForce[],
): Record<string, Record<string, number>> {
  const matrix: Record<string, Record<string, number>> = {};
  for (const edge of edges) {
    const atMs = edge.at.getTime();
    const kinds = new Set(
      faults
        .filter(({ fromMs, toMs }) => atMs >= fromMs && atMs <= toMs + aftermathMs)
        .map(({ kind }) => kind),
    );
    for (const kind of kinds) {
      matrix[kind] ??= {};
      const row = matrix[kind];
      const isHost = edge.kind === 'target_run' && edge.isCancelled;
      for (const each of isHost ? ['target_run', 'host'] : [edge.kind]) {
        const name = `${each} ${edge.from}>${edge.to}`;
        row[name] = (row[name] ?? 0) + 1;
      }
    }
  }
  return matrix;
}
