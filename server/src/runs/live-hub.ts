// Wakes the readers of live streams in this process. It carries no truth: a reader that is woken reads the database
// from where it is, except for the newest chunks, which are handed on from memory to spare that.
import type { OutputStreamName } from '@opsconductor/protocol';

/** A stored chunk as readers take it: gzip bytes. */
export interface LiveChunk {
  stepId: number;
  epoch: number;
  seq: number;
  stream: OutputStreamName;
  elapsedMs: number;
  rawLength: number;
  bytes: Uint8Array;
}

type Wake = () => void;
const maxRecentBytes = 16 * 1024 * 1024;

interface StepReaders {
  wakes: Set<Wake>;
  /** Newest stored chunks, contiguous, of one epoch. */
  recent: LiveChunk[];
  recentBytes: number;
}

export class LiveHub {
  readonly #runs = new Map<number, Set<Wake>>();
  readonly #steps = new Map<number, StepReaders>();

  /** Calls `wake` when the run has a new event; returns the unsubscribe. */
  onRun(runId: number, wake: Wake): () => void {
    const wakes = this.#runs.get(runId) ?? new Set();
    this.#runs.set(runId, wakes.add(wake));
    return () => {
      wakes.delete(wake);
      if (wakes.size === 0) this.#runs.delete(runId);
    };
  }

  /** Calls `wake` when output of the step was stored; returns the unsubscribe. */
  onStep(stepId: number, wake: Wake): () => void {
    const readers = this.#steps.get(stepId) ?? { wakes: new Set(), recent: [], recentBytes: 0 };
    this.#steps.set(stepId, readers);
    readers.wakes.add(wake);
    return () => {
      readers.wakes.delete(wake);
      if (readers.wakes.size === 0) this.#steps.delete(stepId);
    };
  }

  publishRuns(runIds: Iterable<number>): void {
    for (const id of runIds) for (const wake of this.#runs.get(id) ?? []) wake();
  }

  /** Announces chunks that this server has just stored, in order within each attempt. */
  publishChunks(chunks: readonly LiveChunk[]): void {
    const woken = new Set<Wake>();
    for (const chunk of chunks) {
      const readers = this.#steps.get(chunk.stepId);
      if (readers === undefined) continue;
      keep(readers, chunk);
      for (const wake of readers.wakes) woken.add(wake);
    }
    for (const wake of woken) wake();
  }

  /** Output was stored by another server. */
  publishSteps(stepIds: Iterable<number>): void {
    for (const id of stepIds) for (const wake of this.#steps.get(id)?.wakes ?? []) wake();
  }

  /** After the connection for notifications was lost: everybody looks. */
  wakeAll(): void {
    for (const wakes of this.#runs.values()) for (const wake of wakes) wake();
    for (const readers of this.#steps.values()) for (const wake of readers.wakes) wake();
  }

  /** Chunks from `after + 1` on where memory has all of them; undefined sends the reader to the database. */
  recent(stepId: number, epoch: number, after: number): LiveChunk[] | undefined {
    const chunks = this.#steps.get(stepId)?.recent;
    const first = chunks?.[0];
    if (chunks === undefined || first === undefined) return undefined;
    if (first.epoch !== epoch || first.seq > after + 1) return undefined;
    return chunks.slice(after + 1 - first.seq);
  }
}

function keep(readers: StepReaders, chunk: LiveChunk): void {
  const last = readers.recent.at(-1);
  if (last !== undefined && (last.epoch !== chunk.epoch || last.seq + 1 !== chunk.seq)) {
    readers.recent = [];
    readers.recentBytes = 0;
  }
  readers.recent.push(chunk);
  readers.recentBytes += chunk.bytes.length;
  while (readers.recentBytes > maxRecentBytes) {
    const dropped = readers.recent.shift();
    if (dropped === undefined) break;
    readers.recentBytes -= dropped.bytes.length;
  }
}
