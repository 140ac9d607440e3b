// Stores output. Chunks of all agents are gathered while the previous batch commits, then written in one transaction,
// and only then acknowledged and published. The one exception: the few bytes of a quiet command are published once they
// are committed, without waiting for the disk, and get their position in the stream once they are on disk (ADR 0037).
import type { OutputFrame } from '@opsconductor/protocol';
import { atRestOverheadBytes, sealAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import { type Sql, sqlState, type Tx } from '../../store/database/connection.ts';
import { isDatabaseFull } from '../../store/database/database-lost.ts';
import { type BinaryQueryable, NotDialled } from '../../store/database/driver/binary-connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  appendChunks,
  type ChunkRow,
  chunkDigests,
  flushChunks,
  insertChunks,
  lockWritableAttempts,
  noteOutput,
  notifyOutput,
} from '../../store/runs/run-output.ts';
import type { LiveChunk, LiveHub } from '../live/live-hub.ts';
import { chunkAad, type RunKeys } from '../run-keys.ts';
import { whyUnreadableHere } from '../why-unreadable.ts';

/** The attempt that a chunk belongs to, as the gateway knows it from the lease or the resume. */
export interface OutputAttempt {
  stepId: number;
  epoch: number;
  runId: number;
  attemptDay: string;
  agentId: number;
  sessionNumber: number;
}

export interface PendingChunk {
  attempt: OutputAttempt;
  frame: OutputFrame;
  sha256: Buffer;
  /** Called once, when the chunk is safely stored, when it is refused, or when it or its batch failed. */
  done(result: ChunkResult | Error): void;
}

/**
 * - `refused`: the lease has moved on.
 * - `differs`: another chunk is stored under this number.
 * - `gap`: an earlier chunk is missing.
 * - `stopping`: this server no longer takes chunks.
 * - `unreadable`: the chunk isn't kept, because the data key of its run can't be opened for this reason.
 *
 * What is stored of an attempt has no holes, so the position of a reader or an agent is a single number.
 */
export type ChunkResult = 'stored' | 'refused' | 'differs' | 'gap' | 'stopping' | { unreadable: string };

const maxBatchBytes = 512 * 1024;
const maxBatchChunks = 256;
/** The most that is published at a time before it is on disk. */
const maxAheadBytes = 16 * 1024;
/** Agents send what was refused again every second; after this long, there is nothing to be stored any more. */
const refusedForMs = 60_000;
const uniqueViolation = '23505';
const deadlockDetected = '40P01';

export class OutputWriter {
  readonly #sql: Sql;
  readonly #appends: BinaryQueryable;
  readonly #keys: RunKeys;
  readonly #hub: LiveHub;
  readonly #onStored: ((bytes: number) => void) | undefined;
  readonly #queue: PendingChunk[] = [];
  #queuedBytes = 0;
  /**
   * Memory into which a batch is sealed. It is reused, as a new one for each batch would leave half a megabyte of
   * garbage.
   */
  #memory: Buffer | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;
  /** When a batch was refused last, by `performance.now()`, and none has been stored since. */
  #refusedMs: number | undefined;

  /**
   * @param deps.appends connection for the common case, in which chunks are the next ones of live attempts.
   * @param deps.onStored is called with how many bytes of output each batch has stored, before compression.
   */
  constructor(deps: {
    sql: Sql;
    appends: BinaryQueryable;
    keys: RunKeys;
    hub: LiveHub;
    onStored?(bytes: number): void;
  }) {
    this.#onStored = deps.onStored;
    this.#sql = deps.sql;
    this.#appends = deps.appends;
    this.#keys = deps.keys;
    this.#hub = deps.hub;
  }

  /** Bytes in memory that wait to be stored. Above its limit, the gateway stops reading from agents. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether the database has no room for output. What needs none goes on. */
  get isFull(): boolean {
    return this.#refusedMs !== undefined && performance.now() < this.#refusedMs + refusedForMs;
  }

  /** Takes a chunk with the SHA-256 of its bytes. */
  push(attempt: OutputAttempt, frame: OutputFrame, sha256: Buffer, done: PendingChunk['done']): void {
    if (this.#closed) {
      done('stopping');
      return;
    }
    this.#queuedBytes += frame.bytes.length;
    this.#queue.push({ attempt, frame, sha256, done });
    this.#pump();
  }

  /** Takes no more chunks and hands back those that wait; resolves once the batch that is being written is settled. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { frame, done } of this.#queue.splice(0)) {
      this.#queuedBytes -= frame.bytes.length;
      done('stopping');
    }
    await this.#writing;
  }

  #pump(): void {
    // One transaction at a time keeps the order within an attempt. The next batch is gathered meanwhile.
    if (this.#writing !== undefined || this.#queue.length === 0) return;
    this.#writing = this.#write(this.#take()).finally(() => {
      this.#writing = undefined;
      this.#pump();
    });
  }

  #take(): PendingChunk[] {
    let bytes = 0;
    let count = 0;
    for (const chunk of this.#queue) {
      if (count > 0 && (bytes + chunk.frame.bytes.length > maxBatchBytes || count >= maxBatchChunks)) break;
      bytes += chunk.frame.bytes.length;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #write(batch: readonly PendingChunk[]): Promise<void> {
    let outcome: Map<PendingChunk, ChunkResult | Error> | Error;
    try {
      outcome = await this.#store(batch);
    } catch (error) {
      outcome = error instanceof Error ? error : new Error(String(error));
    }
    for (const chunk of batch) this.#queuedBytes -= chunk.frame.bytes.length;
    if (isDatabaseFull(outcome)) this.#refusedMs = performance.now();
    if (!(outcome instanceof Error)) {
      const results = outcome;
      const stored = batch.filter((chunk) => results.get(chunk) === 'stored');
      if (stored.length > 0) this.#refusedMs = undefined;
      this.#onStored?.(stored.reduce((bytes, { frame }) => bytes + frame.rawLength, 0));
      this.#hub.publishChunks(liveChunks(stored));
    }
    for (const chunk of batch)
      chunk.done(outcome instanceof Error ? outcome : (outcome.get(chunk) ?? 'refused'));
  }

  /**
   * If a run's key can't be opened, or the database refuses chunks of an attempt, only those are not stored; the batch has
   * those of all agents.
   */
  async #store(batch: readonly PendingChunk[]): Promise<Map<PendingChunk, ChunkResult | Error>> {
    const rows = new Map<PendingChunk, ChunkRow>();
    const results = new Map<PendingChunk, ChunkResult | Error>();
    const keyless = new Map<number, ChunkResult>();
    this.#memory ??= Buffer.allocUnsafeSlow(maxBatchBytes + maxBatchChunks * atRestOverheadBytes);
    let free = this.#memory;
    for (const chunk of batch) {
      const { runId } = chunk.attempt;
      try {
        const row = keyless.has(runId) ? undefined : await this.#seal(chunk, free);
        if (row !== undefined) {
          rows.set(chunk, row);
          free = free.subarray(row.sealed.length);
        }
      } catch (error) {
        keyless.set(runId, { unreadable: whyUnreadableHere('The data key of its run', error) });
      }
      const lost = keyless.get(runId);
      if (lost !== undefined) results.set(chunk, lost);
    }
    const sealed = batch.filter((chunk) => !results.has(chunk));
    if (sealed.length > 0)
      for (const [chunk, result] of await this.#insertEach(sealed, rows)) results.set(chunk, result);
    return results;
  }

  /** Halves what the database refuses, until it takes each half or the half is a single attempt's. */
  async #insertEach(
    batch: readonly PendingChunk[],
    rows: ReadonlyMap<PendingChunk, ChunkRow>,
  ): Promise<Map<PendingChunk, ChunkResult | Error>> {
    try {
      return await this.#insert(batch, rows);
    } catch (error) {
      if (!isRefused(error)) throw error;
      const attempts = [...new Set(batch.map(attemptOf))];
      if (attempts.length === 1) return new Map(batch.map((chunk) => [chunk, error as Error]));
      const half = new Set(attempts.slice(0, Math.ceil(attempts.length / 2)));
      const results = new Map<PendingChunk, ChunkResult | Error>();
      for (const part of [true, false]) {
        const chunks = batch.filter((chunk) => half.has(attemptOf(chunk)) === part);
        const sealed = new Map([...rows].filter(([chunk]) => half.has(attemptOf(chunk)) === part));
        for (const [chunk, result] of await this.#insertEach(chunks, sealed)) results.set(chunk, result);
      }
      return results;
    }
  }

  async #insert(
    batch: readonly PendingChunk[],
    rows: ReadonlyMap<PendingChunk, ChunkRow>,
  ): Promise<Map<PendingChunk, ChunkResult>> {
    if (await this.#append(batch, rows)) return new Map(batch.map((chunk) => [chunk, 'stored']));
    return inTransaction(this.#sql, async (tx) => {
      const attempts = new Map(batch.map(({ attempt }) => [`${attempt.stepId}.${attempt.epoch}`, attempt]));
      const storedSeqs = await lockWritableAttempts(tx, [...attempts.values()]);
      const results = new Map(batch.map((chunk) => [chunk, admit(chunk, storedSeqs)]));
      const accepted = batch.filter((chunk) => results.get(chunk) === 'stored');
      const inserted = await insertChunks(
        tx,
        accepted.flatMap((chunk) => rows.get(chunk) ?? []),
      );
      const isNew = (chunk: PendingChunk) => inserted.has(keyOf(chunk));
      const again = accepted.filter((chunk) => !isNew(chunk));
      for (const chunk of await findDiffering(tx, again, rows)) results.set(chunk, 'differs');
      const marks = marksOf(accepted, isNew);
      if (marks.length > 0) {
        await noteOutput(tx, marks);
        await notifyOutput(tx, marks);
      }
      return results;
    });
  }

  async #append(batch: readonly PendingChunk[], rows: ReadonlyMap<PendingChunk, ChunkRow>): Promise<boolean> {
    if (rows.size < batch.length) return false;
    const chunks = [...rows].map(([{ attempt }, row]) => ({
      ...row,
      agentId: attempt.agentId,
      sessionNumber: attempt.sessionNumber,
    }));
    const isAhead = this.#isShownAhead(batch);
    try {
      if (!(await appendChunks(this.#appends, chunks, isAhead ? 'committed' : 'on disk'))) return false;
    } catch (error) {
      // The chunk was stored by an earlier try whose answer was lost; the database broke a deadlock, and a transaction is
      // repeated then; or there was no connection, and the pool may have one.
      const state = sqlState(error);
      if (state === uniqueViolation || state === deadlockDetected || error instanceof NotDialled)
        return false;
      throw error;
    }
    if (isAhead) await this.#showAhead(batch);
    return true;
  }

  /**
   * Only a few bytes, that somebody is watching, with nothing queued behind them that would have to wait for a second
   * commit.
   */
  #isShownAhead(batch: readonly PendingChunk[]): boolean {
    const bytes = batch.reduce((sum, { frame }) => sum + frame.bytes.length, 0);
    return (
      this.#queue.length === 0 &&
      bytes <= maxAheadBytes &&
      batch.every(({ attempt }) => this.#hub.isFollowed(attempt.stepId))
    );
  }

  /**
   * Publishes the chunks and then waits for the disk. Agents are acknowledged after that, so they send again what is
   * lost.
   */
  async #showAhead(batch: readonly PendingChunk[]): Promise<void> {
    const live = liveChunks(batch);
    this.#hub.publishChunks(live, true);
    try {
      if (!(await flushChunks(this.#sql, live)))
        throw new Error(
          'Output that was stored is not confirmed: the database crashed, another took its place, or the step was leased again.',
        );
    } catch (error) {
      this.#hub.takeBack(live);
      throw error;
    }
  }

  /** Returns `undefined` if the run has been purged meanwhile. */
  async #seal({ attempt, frame, sha256 }: PendingChunk, into: Buffer): Promise<ChunkRow | undefined> {
    const key = await this.#keys.findKey(this.#sql, attempt.runId);
    if (key === undefined) return undefined;
    const place = { stepId: attempt.stepId, epoch: attempt.epoch, seq: frame.seq };
    const sealedBytes = frame.bytes.length + atRestOverheadBytes;
    return {
      ...place,
      attemptDay: attempt.attemptDay,
      stream: frame.stream,
      elapsedMs: frame.elapsedMs,
      rawLength: frame.rawLength,
      sha256,
      sealed: sealAtRest(key, frame.bytes, chunkAad(place), into.subarray(0, sealedBytes)),
    };
  }
}

function liveChunks(batch: readonly PendingChunk[]): LiveChunk[] {
  return batch.map(({ attempt, frame }) => ({
    stepId: attempt.stepId,
    epoch: attempt.epoch,
    seq: frame.seq,
    stream: frame.stream,
    elapsedMs: frame.elapsedMs,
    rawLength: frame.rawLength,
    bytes: frame.bytes,
  }));
}

/** Decides on a chunk of the locked attempts, and updates in `storedSeqs` up to where its attempt is stored. */
function admit({ attempt, frame }: PendingChunk, storedSeqs: Map<string, number>): ChunkResult {
  const key = `${attempt.stepId}.${attempt.epoch}`;
  const storedSeq = storedSeqs.get(key);
  if (storedSeq === undefined) return 'refused';
  if (frame.seq > storedSeq + 1) return 'gap';
  storedSeqs.set(key, Math.max(storedSeq, frame.seq));
  return 'stored';
}

function attemptOf({ attempt }: PendingChunk): string {
  return `${attempt.stepId}.${attempt.epoch}`;
}

function keyOf({ attempt, frame }: PendingChunk): string {
  return `${attempt.stepId}.${attempt.epoch}.${frame.seq}`;
}

async function findDiffering(
  tx: Tx,
  again: readonly PendingChunk[],
  rows: ReadonlyMap<PendingChunk, ChunkRow>,
): Promise<Set<PendingChunk>> {
  if (again.length === 0) return new Set();
  const stored = await chunkDigests(
    tx,
    again.map((chunk) => ({
      attemptDay: chunk.attempt.attemptDay,
      stepId: chunk.attempt.stepId,
      epoch: chunk.attempt.epoch,
      seq: chunk.frame.seq,
    })),
  );
  return new Set(
    again.filter((chunk) => {
      const ours = rows.get(chunk)?.sha256;
      return ours === undefined || stored.get(keyOf(chunk))?.equals(ours) !== true;
    }),
  );
}

function marksOf(accepted: readonly PendingChunk[], isNew: (chunk: PendingChunk) => boolean) {
  const marks = new Map<string, { stepId: number; epoch: number; seq: number; bytes: number }>();
  for (const chunk of accepted) {
    if (!isNew(chunk)) continue;
    const { stepId, epoch } = chunk.attempt;
    const mark = marks.get(`${stepId}.${epoch}`) ?? { stepId, epoch, seq: 0, bytes: 0 };
    mark.seq = Math.max(mark.seq, chunk.frame.seq);
    mark.bytes += chunk.frame.rawLength;
    marks.set(`${stepId}.${epoch}`, mark);
  }
  return [...marks.values()];
}
