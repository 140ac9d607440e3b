// Output chunks: stored once, whoever sends them again, and read by number.
import { type OutputStreamName, streamCode, streamOfCode } from '@opsconductor/protocol';
import type { PendingQuery, Row } from 'postgres';
import { type Queryable, type Sql, type Tx, unprepared } from '../database/connection.ts';
import type { BinaryQueryable } from '../database/driver/binary-connection.ts';
import { stepIdsOf } from '../queue/attempts/step-attempts.ts';

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

/** PostgreSQL allows 8,000 bytes in a notification; a mark has at most 39. */
const maxMarksPerNotice = 200;

/**
 * SQL condition: output of a day (an SQL expression) is kept, which is so from `kept_from` on. If `kept_from` is in the
 * future, because a clock was ahead, every day that still has a partition counts as kept. Today is by the database's
 * clock.
 */
export function outputIsKept(db: Queryable, day: PendingQuery<Row[]>) {
  return db`exists (
    select from output_retention r where ${day} >= r.kept_from
      or r.kept_from >= (clock_timestamp() at time zone 'UTC')::date
        and to_regclass('run_output_' || to_char(${day}, 'YYYYMMDD')) is not null)`;
}

/**
 * Locks the steps of these attempts and returns those attempts to which the agents may write output, with the highest
 * seq that is stored of each: live attempts of the current session, and settled attempts of the same agent whose output
 * was still open when they were given up.
 */
export async function lockWritableAttempts(
  tx: Tx,
  attempts: readonly AttemptRef[],
): Promise<Map<string, number>> {
  const stepIds = attempts.map(({ stepId }) => stepId);
  const rows = await tx<{ stepId: number; epoch: number; storedSeq: number }[]>`
    with asked as (
      select * from jsonb_to_recordset(${tx.json(attempts as never)}::jsonb) as c(
        "stepId" bigint, epoch integer, "agentId" bigint, "sessionNumber" bigint)
    ), locked as materialized (
      select st.id, st.epoch, st.status, st.agent_id, st.session_number, st.output_seq from job_run_steps st
      where st.id = any(${stepIds}::bigint[]) order by st.id for update
    )
    select a."stepId" as step_id, a.epoch,
      case when l.epoch = a.epoch then l.output_seq else (
        select coalesce(max(o.seq), 0) from run_output o
        where o.attempt_day = t.attempt_day and o.job_run_step_id = a."stepId" and o.epoch = a.epoch) end as stored_seq
    from asked a join locked l on l.id = a."stepId"
    left join job_run_step_attempts t on t.job_run_step_id = a."stepId" and t.epoch = a.epoch
      and t.job_run_step_id = any(${stepIds}::bigint[])
      and t.agent_id = a."agentId" and t.status = 'unknown'
      and ${outputIsKept(tx, tx`t.attempt_day`)}
    where t.epoch is not null or (l.status = 'running' and l.epoch = a.epoch and l.agent_id = a."agentId"
      and l.session_number = a."sessionNumber")`;
  return new Map(rows.map((row) => [`${row.stepId}.${row.epoch}`, row.storedSeq]));
}

/**
 * The common case in one statement: chunks of live attempts that directly continue what is stored of each. Stores all
 * or none. Returns false if any chunk is something else; then the caller looks at each.
 *
 * @param until `committed`: they may be lost until `flushChunks`, which announces them; until then a crash of the
 *   database takes them back.
 */
export async function appendChunks(
  db: BinaryQueryable,
  chunks: readonly (ChunkRow & { agentId: number; sessionNumber: number })[],
  until: 'on disk' | 'committed' = 'on disk',
): Promise<boolean> {
  const [first] = chunks;
  if (first !== undefined && chunks.length === 1 && until === 'committed') return appendOne(db, first);
  const stepIds = [...new Set(chunks.map(({ stepId }) => stepId))];
  let sealedFrom = 1;
  const rows = JSON.stringify(
    chunks.map(({ sealed: { length }, ...chunk }) => {
      const from = sealedFrom;
      sealedFrom += length;
      return {
        ...chunk,
        stream: streamCode(chunk.stream),
        sha256: base64Of(chunk.sha256),
        sealedFrom: from,
        sealedBytes: length,
      };
    }),
  );
  const sealed = chunks.map((chunk) => chunk.sealed);
  const [row] = await db.query(appendStatements[until], [rows, sealed, `{${stepIds.join(',')}}`]);
  return row?.[0] === 't';
}

/** The same for a single chunk, which a reader is usually waiting for: half of the work for the database. */
async function appendOne(
  db: BinaryQueryable,
  chunk: ChunkRow & { agentId: number; sessionNumber: number },
): Promise<boolean> {
  const { stepId, epoch, agentId, sessionNumber, attemptDay, seq, stream, elapsedMs, rawLength } = chunk;
  const numbers = [stepId, epoch, agentId, sessionNumber, seq, streamCode(stream), elapsedMs, rawLength];
  const [row] = await db.query(appendOneStatement, [
    ...numbers.map(String),
    attemptDay,
    [chunk.sha256],
    [chunk.sealed],
  ]);
  return row?.[0] === 't';
}

const showCommitted = "set_config('synchronous_commit', 'off', true)";

// `is not distinct from`: otherwise the database would go through an index of all running steps, which looks small.
const appendOneStatement = `
    with noted as (
      update job_run_steps set output_seq = $5::integer, output_bytes = output_bytes + $8::integer
      where id = $1::bigint and status is not distinct from 'running' and epoch = $2::integer
        and agent_id = $3::bigint and session_number = $4::bigint and output_seq = $5::integer - 1
      returning id
    ), inserted as (
      insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
      select $9::date, id, $2::integer, $5::integer, $6::smallint, $7::bigint, $8::integer, $10::bytea, $11::bytea
      from noted
    )
    select count(*) = 1, case when count(*) = 1 then ${showCommitted} end from noted`;

/** $1: rows as JSON, without their bytes · $2: the bytes of all of them, joined · $3: the ids of their steps. */
function appendStatement(last: string): string {
  return `
    with chunk as materialized (
      select * from json_to_recordset($1::text::json) as c(
        "stepId" bigint, epoch integer, "agentId" bigint, "sessionNumber" bigint, "attemptDay" date, seq integer,
        stream smallint, "elapsedMs" bigint, "rawLength" integer, sha256 text, "sealedFrom" integer,
        "sealedBytes" integer)
    ), body as materialized (
      select $2::bytea as sealed
    ), mark as (
      select "stepId", epoch, "agentId", "sessionNumber", min(seq) as first, max(seq) as last, count(*) as n,
        sum("rawLength") as bytes
      from chunk group by "stepId", epoch, "agentId", "sessionNumber"
    ), locked as materialized (
      select st.id, st.epoch, st.agent_id, st.session_number, st.output_seq from job_run_steps st
      where st.id = any($3::bigint[]) and st.status = 'running' order by st.id for update
    ), verdict as materialized (
      select count(*) = (select count(*) from mark) as is_next from mark m
      join locked l on l.id = m."stepId" and l.epoch = m.epoch and l.agent_id = m."agentId"
        and l.session_number = m."sessionNumber" and l.output_seq = m.first - 1 and m.last - m.first + 1 = m.n
    ), inserted as (
      insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
      select "attemptDay", "stepId", epoch, seq, stream, "elapsedMs", "rawLength", decode(sha256, 'base64'),
        substring(sealed from "sealedFrom" for "sealedBytes")
      from chunk cross join body where (select is_next from verdict)
    ), noted as (
      update job_run_steps st set output_seq = m.last, output_bytes = st.output_bytes + m.bytes
      from mark m where st.id = m."stepId" and st.id = any($3::bigint[]) and (select is_next from verdict)
    )
    select is_next, case when is_next then ${last} end from verdict`;
}

const appendStatements = {
  'on disk': appendStatement(`(
      select count(pg_notify('opsc_output', marks)) from (
        select string_agg("stepId" || '.' || epoch || '.' || last, ',') as marks
        from (select *, row_number() over () / ${maxMarksPerNotice} as notice from mark) numbered group by notice
      ) notices)`),
  // The commit does not wait for the disk.
  committed: appendStatement(showCommitted),
};

/**
 * Waits until chunks that one transaction has committed are on disk, and tells the servers about them. Returns false if
 * the database no longer has them: it has crashed since, or another one has taken its place, and this statement went to
 * a connection that was made after that. Also false if the step has been leased again meanwhile.
 */
export async function flushChunks(
  sql: Sql,
  marks: readonly { stepId: number; epoch: number; seq: number }[],
): Promise<boolean> {
  const [first] = marks;
  if (first === undefined) return true;
  const payload = marks.map(({ stepId, epoch, seq }) => `${stepId}.${epoch}.${seq}`).join(',');
  // A commit waits for the disk only if its transaction has written something; this writes next to nothing.
  const told = await sql`
    select pg_logical_emit_message(true, 'opsconductor', ''), pg_notify('opsc_output', ${payload})
    from job_run_steps where id = ${first.stepId} and epoch = ${first.epoch} and output_seq >= ${first.seq}`;
  return told.length > 0;
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

/** Inserts chunks. Returns the keys (`step.epoch.seq`) of those that were new. */
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

/**
 * Returns the SHA-256 of stored chunks, to tell a chunk that was sent again from a different one with the same number.
 */
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

/** Records on the step how far the output of its current attempt is stored. */
export async function noteOutput(
  tx: Tx,
  marks: readonly { stepId: number; epoch: number; seq: number; bytes: number }[],
): Promise<void> {
  await tx`
    update job_run_steps st set output_seq = greatest(st.output_seq, c.seq), output_bytes = st.output_bytes + c.bytes
    from jsonb_to_recordset(${tx.json(marks as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, seq integer, bytes bigint)
    where st.id = c."stepId" and st.epoch = c.epoch and st.id = any(${stepIdsOf(marks)}::bigint[])`;
}

export interface StoredChunk {
  seq: number;
  stream: OutputStreamName;
  elapsedMs: number;
  rawLength: number;
  sealed: Buffer;
}

/**
 * Returns chunks numbered above `after`, in order, up to about `maxRawBytes` in total, but at least one if there is
 * one.
 */
export async function readChunks(
  db: Queryable,
  attempt: { attemptDay: string; stepId: number; epoch: number },
  options: { after: number; maxRawBytes: number; stream?: OutputStreamName | undefined },
): Promise<StoredChunk[]> {
  // base64 is shorter than the hex in which a bytea column would arrive.
  const rows = await db<(Omit<StoredChunk, 'stream' | 'sealed'> & { stream: number; sealed: string })[]>`
    select seq, stream, elapsed_ms, raw_length, encode(sealed, 'base64') as sealed from (
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
  return rows.map((row) => ({
    ...row,
    stream: streamOfCode(row.stream) ?? 'stdout',
    sealed: Buffer.from(row.sealed, 'base64'),
  }));
}

/** Like `readChunks`, but the database gives up if it takes longer than the timeout. */
export async function readChunksWithin(
  sql: Sql,
  timeoutMs: number,
  attempt: Parameters<typeof readChunks>[1],
  options: Parameters<typeof readChunks>[2],
): Promise<StoredChunk[]> {
  return sql.begin(async (tx) => {
    await tx`select set_config('statement_timeout', ${String(timeoutMs)}, true)`;
    return readChunks(tx, attempt, options);
  }) as Promise<StoredChunk[]>;
}

export interface IndexedChunk {
  seq: number;
  stream: OutputStreamName;
  rawLength: number;
  sha256: Buffer;
}

/** Chunks in one page of an index. An attempt may have millions, more than a server could hold at a time. */
export const chunksPerIndexPage = 5_000;

/** Yields numbers, lengths and digests of an attempt's chunks in pages, in order, without their content. */
export async function* chunkIndex(
  db: Queryable,
  attempt: { attemptDay: string; stepId: number; epoch: number },
): AsyncGenerator<IndexedChunk[]> {
  for (let after: number | undefined = 0; after !== undefined; ) {
    const rows: (Omit<IndexedChunk, 'stream'> & { stream: number })[] = await db`
      select seq, stream, raw_length, sha256 from run_output
      where attempt_day = ${attempt.attemptDay} and job_run_step_id = ${attempt.stepId} and epoch = ${attempt.epoch}
        and seq > ${after}
      order by seq limit ${chunksPerIndexPage}`;
    yield rows.map((row) => ({ ...row, stream: streamOfCode(row.stream) ?? 'stdout' }));
    after = rows.length < chunksPerIndexPage ? undefined : rows.at(-1)?.seq;
  }
}

/** Returns the number of raw bytes that an attempt has, of one stream or of both. */
export async function sumRawLengths(
  db: Queryable,
  attempt: { attemptDay: string; stepId: number; epoch: number },
  stream: OutputStreamName | undefined,
): Promise<number> {
  const [row] = await db<{ bytes: number }[]>`
    select coalesce(sum(raw_length), 0)::bigint as bytes from run_output
    where attempt_day = ${attempt.attemptDay} and job_run_step_id = ${attempt.stepId} and epoch = ${attempt.epoch}
      ${stream === undefined ? db`` : db`and stream = ${streamCode(stream)}`}`;
  return row?.bytes ?? 0;
}

/** Tells every server up to which chunk output is stored, once the transaction commits. */
export async function notifyOutput(
  tx: Tx,
  marks: readonly { stepId: number; epoch: number; seq: number }[],
): Promise<void> {
  for (let at = 0; at < marks.length; at += maxMarksPerNotice) {
    const payload = marks
      .slice(at, at + maxMarksPerNotice)
      .map((mark) => `${mark.stepId}.${mark.epoch}.${mark.seq}`)
      .join(',');
    await tx`select pg_notify('opsc_output', ${payload})`;
  }
}

/** Deletes all output of these ended runs. No more can come after this, even before the runs are deleted. */
export async function deleteOutputOf(tx: Tx, runIds: readonly number[]): Promise<void> {
  // Late output is stored under a lock on its step.
  await tx`
    select count(*) from (
      select from job_run_steps s
      where s.job_run_id = any(${runIds}::bigint[]) and exists (
        select from job_run_step_attempts a where a.job_run_step_id = s.id and a.status = 'unknown' offset 0)
      order by s.id for update) locked`;
  for (const day of await daysOfRuns(tx, runIds)) await deleteOutputOn(tx, day, runIds);
}

async function daysOfRuns(tx: Tx, runIds: readonly number[]): Promise<string[]> {
  const rows = await tx<{ day: string }[]>`
    select s.attempt_day::text as day from job_run_steps s
    where s.job_run_id = any(${runIds}::bigint[]) and s.attempt_day is not null
    union
    select a.attempt_day::text from job_run_steps s join job_run_step_attempts a on a.job_run_step_id = s.id
    where s.job_run_id = any(${runIds}::bigint[]) order by 1`;
  return rows.map((row) => row.day);
}

/**
 * Deletes the output of one day. A statement planned for that day opens and locks only its partition, otherwise those
 * of all days.
 */
export async function deleteOutputOn(tx: Tx, day: string, runIds: readonly number[]): Promise<void> {
  await unprepared(tx`
    delete from run_output o using (
      select s.id from job_run_steps s
      where s.job_run_id = any(${runIds}::bigint[]) and s.attempt_day = ${day}::date
      union
      select s.id from job_run_steps s join job_run_step_attempts a on a.job_run_step_id = s.id
      where s.job_run_id = any(${runIds}::bigint[]) and a.attempt_day = ${day}::date) x
    where o.attempt_day = ${day}::date and o.job_run_step_id = x.id`);
}

/** Makes the partitions of output that are missing, from yesterday to 14 days ahead. */
export async function makeOutputPartitions(sql: Sql): Promise<void> {
  await sql`select make_output_partitions((now() at time zone 'UTC')::date - 1, 16)`;
}
