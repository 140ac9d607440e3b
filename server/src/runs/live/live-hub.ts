// Wakes the readers of live streams in this process. The hub isn't a source of truth: a reader that is woken reads the
// database from its own position. Only the newest chunks are handed on from memory, to save that read.
import type { OutputStreamName, TransferEvent } from '@opsconductor/protocol';
import { bodyBytes, type ChunkBody, chunkBody } from './event-bytes.ts';
import { ReadChunks } from './read-chunks.ts';
import { ReadEvents } from './read-events.ts';
import { StreamTurns, type StreamTurnsSettings } from './stream-turns.ts';

/** A stored chunk, as gzip bytes. */
export interface LiveChunk {
  stepId: number;
  epoch: number;
  seq: number;
  stream: OutputStreamName;
  elapsedMs: number;
  rawLength: number;
  bytes: Uint8Array;
}

/** A chunk in the form that readers use. */
export interface ReadableChunk extends Omit<LiveChunk, 'bytes'> {
  body: ChunkBody;
}

/** Called with the number of the newest event, or Infinity if there may be any. */
type RunWake = (seq: number) => void;
/**
 * - `stored`: new output is in the database.
 * - `handed on`: the newest chunks are in memory.
 * - `taken back`: chunks that were handed on before they were on disk may be lost.
 */
type StepWake = (where: 'stored' | 'handed on' | 'taken back') => void;
/** Progress of a step's transfer. */
export interface LiveTransfer extends TransferEvent {
  runId: number;
}
type TransferListener = (transfer: LiveTransfer) => void;
/** Limits for one step and for all together. A reader that is further behind reads the database. */
const maxRecentBytes = 4 * 1024 * 1024;
const maxRecentBytesOfAll = 32 * 1024 * 1024;
/**
 * How long to wait before looking in the database, in ms: a notification may arrive before this server knows that its
 * own transaction has committed and hands the chunks on.
 */
const ownNewsMs = 5;

interface StepReaders {
  wakes: Set<StepWake>;
  /** Newest stored chunks, contiguous and of one epoch. */
  recent: ReadableChunk[];
  recentBytes: number;
  /** Sequence number of the first chunk that was handed on ahead: committed, but not yet known to be on disk. */
  aheadFrom?: number | undefined;
}

export class LiveHub {
  /** Shares event loop and memory among the readers. */
  readonly turns: StreamTurns;
  /** Chunks that one reader has read from the database, for all who read the same. */
  readonly lately = new ReadChunks();
  /** Events that one reader has read from the database, for all who read the same. */
  readonly events = new ReadEvents();
  readonly #runs = new Map<number, Set<RunWake>>();
  readonly #steps = new Map<number, StepReaders>();
  readonly #transfers = new Map<number, Set<TransferListener>>();
  #recentBytes = 0;

  /** @param settings of the turns; only tests change them. */
  constructor(settings?: Partial<StreamTurnsSettings>) {
    this.turns = new StreamTurns(settings);
  }

  /** Calls `wake` when the run has a new event. Returns the unsubscribe function. */
  onRun(runId: number, wake: RunWake): () => void {
    const wakes = this.#runs.get(runId) ?? new Set();
    this.#runs.set(runId, wakes.add(wake));
    return () => {
      wakes.delete(wake);
      if (wakes.size === 0) this.#runs.delete(runId);
    };
  }

  /** Calls `listener` with the progress of the run's transfers. Returns the unsubscribe function. */
  onTransfer(runId: number, listener: TransferListener): () => void {
    const listeners = this.#transfers.get(runId) ?? new Set();
    this.#transfers.set(runId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#transfers.delete(runId);
    };
  }

  publishTransfers(transfers: Iterable<LiveTransfer>): void {
    for (const transfer of transfers)
      for (const listener of this.#transfers.get(transfer.runId) ?? []) listener(transfer);
  }

  /** Calls `wake` when output of the step was stored. Returns the unsubscribe function. */
  onStep(stepId: number, wake: StepWake): () => void {
    const readers = this.#steps.get(stepId) ?? { wakes: new Set(), recent: [], recentBytes: 0 };
    this.#steps.set(stepId, readers);
    readers.wakes.add(wake);
    return () => {
      readers.wakes.delete(wake);
      if (readers.wakes.size > 0) return;
      this.#forget(readers, readers.recent.length);
      if (this.#steps.get(stepId) === readers) this.#steps.delete(stepId);
    };
  }

  publishRuns(runs: Iterable<{ id: number; seq: number }>): void {
    for (const { id, seq } of runs) for (const wake of this.#runs.get(id) ?? []) wake(seq);
  }

  isFollowed(stepId: number): boolean {
    return this.#steps.has(stepId);
  }

  /**
   * Announces chunks that this server has just stored, in order within each attempt.
   *
   * @param isAhead whether they aren't on disk yet. They are announced again once they are, or else taken back.
   */
  publishChunks(chunks: readonly LiveChunk[], isAhead = false): void {
    const woken = new Set<StepWake>();
    for (const chunk of chunks) {
      const readers = this.#steps.get(chunk.stepId);
      if (readers === undefined) continue;
      if (!isIn(readers, chunk)) this.#keep(readers, readable(chunk));
      if (isAhead) readers.aheadFrom ??= chunk.seq;
      else readers.aheadFrom = undefined;
      for (const wake of readers.wakes) woken.add(wake);
    }
    for (const wake of woken) wake('handed on');
  }

  /**
   * Takes back chunks that were announced ahead and may be lost. Their readers start again from the last position that
   * is safe.
   */
  takeBack(chunks: readonly LiveChunk[]): void {
    for (const stepId of new Set(chunks.map((chunk) => chunk.stepId))) {
      const readers = this.#steps.get(stepId);
      if (readers === undefined) continue;
      this.#forget(readers, readers.recent.length);
      readers.aheadFrom = undefined;
      for (const wake of [...readers.wakes]) wake('taken back');
    }
  }

  /** Whether the chunk is in memory but not yet known to be on disk. */
  isAhead({ stepId, seq }: { stepId: number; seq: number }): boolean {
    return seq >= (this.#steps.get(stepId)?.aheadFrom ?? Number.POSITIVE_INFINITY);
  }

  /** Announces output that any server has stored. Chunks that this server hands on itself are ignored. */
  publishSteps(marks: Iterable<{ stepId: number; epoch: number; seq: number }>): void {
    const followed = [...marks].filter((mark) => this.#steps.has(mark.stepId) && !this.#isHandedOn(mark));
    if (followed.length === 0) return;
    setTimeout(() => {
      for (const mark of followed) {
        if (this.#isHandedOn(mark)) continue;
        for (const wake of this.#steps.get(mark.stepId)?.wakes ?? []) wake('stored');
      }
    }, ownNewsMs).unref();
  }

  #isHandedOn(mark: { stepId: number; epoch: number; seq: number }): boolean {
    const newest = this.#steps.get(mark.stepId)?.recent.at(-1);
    return newest !== undefined && newest.epoch === mark.epoch && newest.seq >= mark.seq;
  }

  /** Wakes everyone, after the connection for notifications was lost. */
  wakeAll(): void {
    for (const wakes of this.#runs.values()) for (const wake of wakes) wake(Number.POSITIVE_INFINITY);
    for (const readers of this.#steps.values()) for (const wake of readers.wakes) wake('stored');
  }

  /** Returns the epoch of the chunks in memory. */
  recentEpoch(stepId: number): number | undefined {
    return this.#steps.get(stepId)?.recent.at(-1)?.epoch;
  }

  /** Returns the chunks from `after + 1` on if memory has all of them; `undefined` sends the reader to the database. */
  recent(stepId: number, epoch: number, after: number): ReadableChunk[] | undefined {
    const chunks = this.#steps.get(stepId)?.recent;
    const first = chunks?.[0];
    if (chunks === undefined || first === undefined) return undefined;
    if (first.epoch !== epoch || first.seq > after + 1) return undefined;
    return chunks.slice(after + 1 - first.seq);
  }

  #keep(readers: StepReaders, chunk: ReadableChunk): void {
    const last = readers.recent.at(-1);
    const follows = last === undefined || (last.epoch === chunk.epoch && last.seq + 1 === chunk.seq);
    if (!follows) this.#forget(readers, readers.recent.length);
    readers.recent.push(chunk);
    readers.recentBytes += bodyBytes(chunk.body);
    this.#recentBytes += bodyBytes(chunk.body);
    while (
      readers.recent.length > 0 &&
      (readers.recentBytes > maxRecentBytes || this.#recentBytes > maxRecentBytesOfAll)
    ) {
      this.#forget(readers, 1);
    }
  }

  /** Drops the `count` oldest chunks. */
  #forget(readers: StepReaders, count: number): void {
    for (const { body } of readers.recent.splice(0, count)) {
      readers.recentBytes -= bodyBytes(body);
      this.#recentBytes -= bodyBytes(body);
    }
  }
}

function isIn({ recent }: StepReaders, { epoch, seq }: LiveChunk): boolean {
  const last = recent.at(-1);
  return last?.epoch === epoch && last.seq >= seq;
}

/** Converts a chunk to the form that readers use. */
export function readable({ bytes, ...chunk }: LiveChunk): ReadableChunk {
  return { ...chunk, body: chunkBody(bytes) };
}
