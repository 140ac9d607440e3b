// Reads a step's stored output: pages of chunks, or the raw bytes.
import { gunzipSync } from 'node:zlib';
import type { OutputPage, OutputState, OutputStreamName } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { openAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import { AppError, notFound } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { outputKeptFrom } from '../../store/queue/sweep/retention.ts';
import { chunkIndex, readChunks, sumRawLengths } from '../../store/runs/run-output.ts';
import { findAttemptOutput, findStepOutput } from '../../store/runs/runs.ts';
import { chunkAad, type RunKeys } from '../run-keys.ts';

const pageRawBytes = 1024 * 1024;

export interface OutputRef {
  runId: number;
  stepId: number;
  /** The current attempt if left out. */
  epoch?: number | undefined;
}

interface AttemptInfo {
  runId: number;
  stepId: number;
  epoch: number;
  /** `null` before the first lease, when there is no output. */
  attemptDay: string | null;
  outputState: OutputState;
  lastSeq: number;
  rawBytes: number;
  gaps: [number, number][];
}

export interface OutputDeps {
  sql: Sql;
  keys: RunKeys;
}

/**
 * Finds the attempt whose output is asked for.
 *
 * @throws {AppError} `not_found` if the step belongs to another run or is outside the reaches; `output_expired` if its
 * output has been removed.
 */
export async function findOutput(
  deps: OutputDeps,
  ref: OutputRef,
  reaches: readonly Reach[],
): Promise<AttemptInfo> {
  const attempt = await findAttempt(deps, ref, reaches);
  const { attemptDay, lastSeq } = attempt;
  const keptFrom =
    attemptDay === null || lastSeq === 0 ? undefined : await outputKeptFrom(deps.sql, attemptDay);
  if (keptFrom !== undefined) {
    throw new AppError(
      'output_expired',
      `The output of ${attemptDay} was removed: this installation keeps output from ${keptFrom} on.`,
    );
  }
  return attempt;
}

async function findAttempt(
  { sql }: OutputDeps,
  ref: OutputRef,
  reaches: readonly Reach[],
): Promise<AttemptInfo> {
  const [step] = await findStepOutput(sql, ref.runId, [ref.stepId], reaches);
  if (step === undefined) throw notFound(`Step ${ref.stepId} of run ${ref.runId}`);
  const epoch = ref.epoch ?? step.epoch;
  const settled = await findAttemptOutput(sql, ref.stepId, epoch);
  const base = { runId: ref.runId, stepId: ref.stepId, epoch };
  if (epoch !== step.epoch) {
    if (settled === undefined) throw notFound(`Attempt ${epoch} of step ${ref.stepId}`);
    return {
      ...base,
      attemptDay: settled.attemptDay,
      outputState: settled.outputState,
      lastSeq: settled.outputSeq,
      rawBytes: settled.outputRawBytes,
      gaps: settled.outputGaps ?? [],
    };
  }
  return {
    ...base,
    attemptDay: step.attemptDay,
    outputState: step.outputState,
    lastSeq: step.outputSeq,
    rawBytes: step.outputBytes,
    gaps: settled?.outputGaps ?? [],
  };
}

/** Returns one page of the chunks numbered above `after`. */
export async function readOutputPage(
  deps: OutputDeps,
  attempt: AttemptInfo,
  options: { after: number; maxRawBytes: number; stream?: OutputStreamName | undefined },
): Promise<OutputPage> {
  const chunks = await openChunks(deps, attempt, options);
  return {
    attempt: attempt.epoch,
    outputState: attempt.outputState,
    lastSeq: attempt.lastSeq,
    rawBytes: attempt.rawBytes,
    gaps: attempt.gaps,
    chunks: chunks.map((chunk) => ({
      epoch: attempt.epoch,
      seq: chunk.seq,
      stream: chunk.stream,
      elapsedMs: chunk.elapsedMs,
      rawLength: chunk.rawLength,
      data: chunk.bytes.toString('base64'),
    })),
  };
}

async function openChunks(
  deps: OutputDeps,
  attempt: AttemptInfo,
  options: { after: number; maxRawBytes: number; stream?: OutputStreamName | undefined },
) {
  const { attemptDay, stepId, epoch } = attempt;
  if (attemptDay === null) return [];
  const key = await deps.keys.keyOf(deps.sql, attempt.runId);
  const stored = await readChunks(deps.sql, { attemptDay, stepId, epoch }, options);
  return stored.map((chunk) => ({
    ...chunk,
    bytes: openAtRest(key, chunk.sealed, chunkAad({ stepId, epoch, seq: chunk.seq })),
  }));
}

/** Returns the number of raw bytes that the attempt has, of one stream or of both. */
export async function outputLength(
  deps: OutputDeps,
  attempt: AttemptInfo,
  stream: OutputStreamName | undefined,
): Promise<number> {
  const { attemptDay } = attempt;
  return attemptDay === null ? 0 : sumRawLengths(deps.sql, { ...attempt, attemptDay }, stream);
}

/**
 * Inflates a chunk. Positions in a stream are computed from the lengths that chunks state, so a chunk of another length
 * isn't passed on.
 *
 * @throws {Error} for such a chunk, or one that isn't gzip. The reader's connection then ends with what came before it.
 */
function inflateChunk({ seq, rawLength, bytes }: { seq: number; rawLength: number; bytes: Buffer }): Buffer {
  let raw: Buffer;
  try {
    raw = gunzipSync(bytes, { maxOutputLength: rawLength });
  } catch (error) {
    throw new Error(`chunk ${seq} is not a gzip of the ${rawLength} bytes that it states`, { cause: error });
  }
  if (raw.length !== rawLength)
    throw new Error(`chunk ${seq} has ${raw.length} bytes and states ${rawLength}`);
  return raw;
}

/** Returns the last chunk that ends at `start` or before it, with where it ends. */
async function lastBefore(
  sql: Sql,
  attempt: AttemptInfo & { attemptDay: string },
  { start, stream }: { start: number; stream: OutputStreamName | undefined },
): Promise<{ offset: number; after: number }> {
  let offset = 0;
  let after = 0;
  if (start === 0) return { offset, after };
  for await (const page of chunkIndex(sql, attempt)) {
    for (const chunk of page) {
      if (stream !== undefined && chunk.stream !== stream) continue;
      if (offset + chunk.rawLength > start) return { offset, after };
      offset += chunk.rawLength;
      after = chunk.seq;
    }
  }
  return { offset, after };
}

/**
 * Yields the inflated bytes from `start` up to but not including `end`, in pieces, and reads on as they are consumed.
 */
export async function* readOutputBytes(
  deps: OutputDeps,
  attempt: AttemptInfo,
  range: { start: number; end: number; stream: OutputStreamName | undefined },
): AsyncGenerator<Uint8Array> {
  if (attempt.attemptDay === null) return;
  let { offset, after } = await lastBefore(deps.sql, { ...attempt, attemptDay: attempt.attemptDay }, range);
  while (offset < range.end) {
    const chunks = await openChunks(deps, attempt, {
      after,
      maxRawBytes: pageRawBytes,
      stream: range.stream,
    });
    // Removed meanwhile: the reader's connection ends, or it would be waited on for the rest.
    if (chunks.length === 0)
      throw new Error(`output of step ${attempt.stepId} was removed while it was being read`);
    for (const chunk of chunks) {
      const raw = inflateChunk(chunk);
      const from = Math.max(0, range.start - offset);
      const to = Math.min(raw.length, range.end - offset);
      offset += raw.length;
      after = chunk.seq;
      if (to > from) yield raw.subarray(from, to);
      if (offset >= range.end) return;
    }
  }
}
