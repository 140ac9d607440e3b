// Output chunks: stored once, whoever sends them again, and read by number.
import type { OutputStreamName } from '@opsconductor/protocol';
import { streamCode, streamOfCode } from '@opsconductor/protocol';
import type { Queryable, Sql, Tx } from './connection.ts';

export interface ChunkRow {
  attemptDay: string;
  stepId: number;
  epoch: number;
  seq: number;
  stream: OutputStreamName;
  elapsedMs: number;
  rawLength: number;
  sha256: Uint8Array;
  sealed: Uint8Array;
}

export interface AttemptRef {
  stepId: number;
  epoch: number;
  agentId: number;
  sessionNumber: number;
}

/**
 * Locks the steps of these attempts and returns those that the agents may write output to: live ones of the current
 * session, and settled ones of the same agent whose output was still open when they were given up.
 */
export async function lockWritableAttempts(tx: Tx, attempts: readonly AttemptRef[]): Promise<Set<string>> {
  const rows = await tx<{ stepId: number; epoch: number }[]>`
    with asked as (
      select * from jsonb_to_recordset(${tx.json(attempts as never)}::jsonb) as c(
        "stepId" bigint, epoch integer, "agentId" bigint, "sessionNumber" bigint)
    ), locked as materialized (
      select st.id, st.epoch, st.status, st.agent_id, st.session_number from job_run_steps st
      where st.id in (select "stepId" from asked) order by st.id for update
    )
    select a."stepId" as step_id, a.epoch from asked a join locked l on l.id = a."stepId"
    where (l.status = 'running' and l.epoch = a.epoch and l.agent_id = a."agentId"
        and l.session_number = a."sessionNumber")
      or exists (select from job_run_step_attempts t where t.job_run_step_id = a."stepId" and t.epoch = a.epoch
        and t.agent_id = a."agentId" and t.status = 'unknown')`;
  return new Set(rows.map((row) => `${row.stepId}.${row.epoch}`));
}

/** Inserts chunks; returns the keys (`step.epoch.seq`) of those that were new. */
export async function insertChunks(tx: Tx, chunks: readonly ChunkRow[]): Promise<Set<string>> {
  if (chunks.length === 0) return new Set();
  const rows = chunks.map((chunk) => ({
    attempt_day: chunk.attemptDay,
    job_run_step_id: chunk.stepId,
    epoch: chunk.epoch,
    seq: chunk.seq,
    stream: streamCode(chunk.stream),
    elapsed_ms: chunk.elapsedMs,
    raw_length: chunk.rawLength,
    sha256: chunk.sha256,
    sealed: chunk.sealed,
  }));
  const inserted = await tx<{ stepId: number; epoch: number; seq: number }[]>`
    insert into run_output ${tx(rows)} on conflict do nothing
    returning job_run_step_id as step_id, epoch, seq`;
  return new Set(inserted.map((row) => `${row.stepId}.${row.epoch}.${row.seq}`));
}

/** SHA-256 of stored chunks, to tell a chunk sent again from a different one under the same number. */
export async function chunkDigests(
  tx: Tx,
  chunks: readonly { attemptDay: string; stepId: number; epoch: number; seq: number }[],
): Promise<Map<string, Buffer>> {
  const rows = await tx<{ stepId: number; epoch: number; seq: number; sha256: Buffer }[]>`
    select o.job_run_step_id as step_id, o.epoch, o.seq, o.sha256
    from jsonb_to_recordset(${tx.json(chunks as never)}::jsonb) as c(
      "attemptDay" date, "stepId" bigint, epoch integer, seq integer)
    join run_output o on o.attempt_day = c."attemptDay" and o.job_run_step_id = c."stepId"
      and o.epoch = c.epoch and o.seq = c.seq`;
  return new Map(rows.map((row) => [`${row.stepId}.${row.epoch}.${row.seq}`, row.sha256]));
}

/** Notes on the step how far its current attempt's output is stored. */
export async function noteOutput(
  tx: Tx,
  marks: readonly { stepId: number; epoch: number; seq: number; bytes: number }[],
): Promise<void> {
  await tx`
    update job_run_steps st set output_seq = greatest(st.output_seq, c.seq), output_bytes = st.output_bytes + c.bytes
    from jsonb_to_recordset(${tx.json(marks as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, seq integer, bytes bigint)
    where st.id = c."stepId" and st.epoch = c.epoch`;
}

export interface StoredChunk {
  seq: number;
  stream: OutputStreamName;
  elapsedMs: number;
  rawLength: number;
  sealed: Buffer;
}

/** Chunks numbered above `after`, in order, until about `maxRawBytes` are together; at least one where there is one. */
export async function readChunks(
  db: Queryable,
  attempt: { attemptDay: string; stepId: number; epoch: number },
  options: { after: number; maxRawBytes: number; stream?: OutputStreamName | undefined },
): Promise<StoredChunk[]> {
  const rows = await db<(Omit<StoredChunk, 'stream'> & { stream: number })[]>`
    select seq, stream, elapsed_ms, raw_length, sealed from (
      select seq, stream, elapsed_ms, raw_length, sealed,
        sum(raw_length) over (order by seq) - raw_length as before
      from (
        select * from run_output
        where attempt_day = ${attempt.attemptDay} and job_run_step_id = ${attempt.stepId}
          and epoch = ${attempt.epoch} and seq > ${options.after}
          ${options.stream === undefined ? db`` : db`and stream = ${streamCode(options.stream)}`}
        order by seq limit 512
      ) page
    ) numbered where before < ${options.maxRawBytes} order by seq`;
  return rows.map((row) => ({ ...row, stream: streamOfCode(row.stream) ?? 'stdout' }));
}

/** Numbers, lengths and digests of an attempt's chunks, without the chunks. */
export async function readChunkIndex(
  db: Queryable,
  attempt: { attemptDay: string; stepId: number; epoch: number },
): Promise<{ seq: number; stream: OutputStreamName; rawLength: number; sha256: Buffer }[]> {
  const rows = await db<{ seq: number; stream: number; rawLength: number; sha256: Buffer }[]>`
    select seq, stream, raw_length, sha256 from run_output
    where attempt_day = ${attempt.attemptDay} and job_run_step_id = ${attempt.stepId} and epoch = ${attempt.epoch}
    order by seq`;
  return rows.map((row) => ({ ...row, stream: streamOfCode(row.stream) ?? 'stdout' }));
}

export async function notifyOutput(
  tx: Tx,
  marks: readonly { stepId: number; epoch: number; seq: number }[],
): Promise<void> {
  const payload = marks
    .slice(0, 200)
    .map((mark) => `${mark.stepId}.${mark.epoch}.${mark.seq}`)
    .join(',');
  await tx`select pg_notify('opsc_output', ${payload})`;
}

export async function makeOutputPartitions(sql: Sql): Promise<void> {
  await sql`select make_output_partitions((now() at time zone 'UTC')::date - 1, 16)`;
}
