// One attempt's output as a reader sees it: reads what is stored, takes live chunks, and follows the end or stays.
import type { ChunkEvent, OutputChunk, OutputState } from '@opsconductor/protocol';
import { ApiError, isPassing } from '../../api/client.ts';
import { pause, pauseMs } from '../../api/pauses.ts';
import { fetchOutput } from '../../api/runs.ts';
import type { ServerEvent } from '../../api/sse-parser.ts';
import { inflateChunk, UnreadableChunk } from '../../output/inflate.ts';
import type { StreamFilter } from '../../output/line-index.ts';
import { type Line, LineStore } from '../../output/line-store.ts';
import type { OutputListener } from './run-view.svelte.ts';

/** Most text to hold of one output; the rest is read again when someone scrolls there. */
const budgetBytes = 32 * 1024 * 1024;
const readAheadBytes = 4 * 1024 * 1024;
const rangeBytes = 1024 * 1024;

export type OutputPhase = 'idle' | 'reading' | 'ready' | 'failed';

export class OutputView implements OutputListener {
  readonly runId: number;
  readonly stepId: number;
  phase = $state<OutputPhase>('idle');
  error = $state.raw<ApiError>();
  /** The server's sentence on the retention of output if this output was removed by it. */
  expired = $state.raw<string>();
  filter = $state<StreamFilter>('both');
  following = $state(true);
  /** Changes whenever rows were added or dropped text came back. */
  version = $state(0);
  outputState = $state<OutputState>('open');
  /** Raw bytes that the server has stored; `readBytes` of them are indexed here. */
  storedBytes = $state(0);
  /** Number of rows when the reader stopped following. */
  #pausedAt = $state(0);
  attempt = $state<number>();

  readonly rowCount = $derived.by(() => {
    void this.version;
    return this.#store.index.rowCount(this.filter);
  });
  readonly lineCount = $derived.by(() => {
    void this.version;
    return this.#store.index.lineCount;
  });
  readonly readBytes = $derived.by(() => {
    void this.version;
    return this.#store.index.rawBytes;
  });
  /** Number of rows that came since the reader stopped following. */
  readonly newLines = $derived(this.following ? 0 : Math.max(0, this.rowCount - this.#pausedAt));
  /** Whether everything that is stored is indexed. */
  readonly caughtUp = $derived(this.phase === 'ready');

  #store = new LineStore(budgetBytes);
  readonly #owner = new AbortController();
  #chain: Promise<void> = Promise.resolve();
  #frame: number | undefined;
  #fetching = false;
  /** Whether the marker at the end of a truncated output has been added. */
  #ended = false;
  #failures = 0;
  #pausing = false;

  constructor(runId: number, stepId: number, attempt: number | undefined) {
    this.runId = runId;
    this.stepId = stepId;
    this.attempt = attempt;
  }

  get store(): LineStore {
    return this.#store;
  }

  /** Reads what is stored. `started` is false for a step without an attempt, which has no output yet. */
  start(started: boolean): void {
    if (!started) {
      this.phase = 'ready';
      return;
    }
    void this.#enqueue(() => this.#readOn());
  }

  stop(): void {
    this.#owner.abort();
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
  }

  /** Whether the reader has left, so that nothing more is read. */
  get isLeft(): boolean {
    return this.#owner.signal.aborted;
  }

  position(): string | undefined {
    const { lastSeq } = this.#store.index;
    return this.attempt === undefined || lastSeq === 0
      ? undefined
      : `${this.stepId}.${this.attempt}.${lastSeq}`;
  }

  /** Takes an event of the run's stream. Resolves once it is indexed, so that a fast producer is slowed down. */
  take(event: ServerEvent): Promise<void> {
    if (event.event === 'chunk') {
      const chunk = JSON.parse(event.data) as ChunkEvent;
      if (chunk.stepId !== this.stepId) return Promise.resolve();
      return this.#enqueue(() => this.#takeChunk(chunk));
    }
    return Promise.resolve();
  }

  /** Called when the step has ended: reads its last chunks, and whether the output is complete. */
  settle(): void {
    void this.#enqueue(() => this.#readOn());
  }

  follow(): void {
    this.following = true;
  }

  pause(): void {
    if (!this.following) return;
    this.#pausedAt = this.#store.index.rowCount(this.filter);
    this.following = false;
  }

  setFilter(filter: StreamFilter): void {
    this.filter = filter;
    this.#pausedAt = this.#store.index.rowCount(filter);
  }

  lines(from: number, to: number): Line[] {
    const lines = this.#store.lines(this.filter, from, to);
    this.#fetchWanted();
    return lines;
  }

  rowOfLine(lineNumber: number): number {
    return this.#store.index.rowOfLine(this.filter, lineNumber);
  }

  /** Makes an entry's chunk available, reading it again if it was dropped. */
  async bring(entry: number): Promise<void> {
    if (this.#store.has(entry)) return;
    await this.#restore(this.#store.index.entry(entry).seq, readAheadBytes);
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#chain = this.#chain.then(async () => {
      if (this.#owner.signal.aborted) return;
      try {
        await work();
      } catch (error) {
        if (this.#owner.signal.aborted) return;
        if (error instanceof ApiError && error.code === 'output_expired') {
          this.expired = error.message;
          this.error = undefined;
          this.phase = 'ready';
          return;
        }
        const failed =
          error instanceof ApiError
            ? error
            : new ApiError('internal', 'The output can’t be shown.', { cause: error });
        failed.asksAgain = isPassing(failed);
        this.error = failed;
        this.phase = 'failed';
        if (failed.asksAgain) void this.#readOnLater();
      }
    });
    return this.#chain;
  }

  /** Retries a failed reading after a pause. Nothing else would: while it fails, the stream carries no output. */
  async #readOnLater(): Promise<void> {
    if (this.#pausing) return;
    this.#pausing = true;
    const waitMs = pauseMs(this.#failures);
    this.#failures += 1;
    await pause(waitMs, this.#owner.signal);
    this.#pausing = false;
    if (this.phase === 'failed') await this.#enqueue(() => this.#readOn());
  }

  /** Reads pages until everything that is stored is here. */
  async #readOn(): Promise<void> {
    // After a failure, it is not said to be reading before something has arrived.
    if (this.phase !== 'ready' && this.phase !== 'failed') this.phase = 'reading';
    for (;;) {
      const after = this.#store.index.lastSeq;
      const page = await fetchOutput(
        this.runId,
        this.stepId,
        { after, maxBytes: readAheadBytes, attempt: this.attempt },
        this.#owner.signal,
      );
      if (this.phase === 'failed') this.phase = 'reading';
      if (this.attempt === undefined) this.attempt = page.attempt;
      this.outputState = page.outputState;
      this.storedBytes = page.rawBytes;
      for (const chunk of page.chunks) await this.#append(chunk, page.gaps);
      this.#changed();
      if (page.chunks.length === 0 || this.#store.index.lastSeq >= page.lastSeq) {
        this.#markEnd(page.gaps);
        break;
      }
    }
    this.error = undefined;
    this.#failures = 0;
    // Rows that were there before the reader saw the output are not new.
    if (this.phase !== 'ready') this.#pausedAt = this.#store.index.rowCount(this.filter);
    this.phase = 'ready';
  }

  async #takeChunk(chunk: ChunkEvent): Promise<void> {
    if (this.attempt !== undefined && chunk.epoch < this.attempt) return;
    if (this.attempt !== chunk.epoch) {
      // A new attempt has a new output.
      if (this.attempt !== undefined) this.#store = new LineStore(budgetBytes);
      this.attempt = chunk.epoch;
      this.#ended = false;
    }
    const expected = this.#store.index.lastSeq + 1;
    if (chunk.seq < expected) return;
    if (chunk.seq > expected) {
      await this.#readOn();
      return;
    }
    await this.#append(chunk, []);
    this.storedBytes = Math.max(this.storedBytes, this.#store.index.rawBytes);
    this.#changed();
  }

  async #append(chunk: OutputChunk, gaps: readonly (readonly [number, number])[]): Promise<void> {
    const { index } = this.#store;
    if (chunk.seq <= index.lastSeq) return;
    if (chunk.seq > index.lastSeq + 1) this.#markGap(index.lastSeq + 1, chunk.seq - 1, gaps);
    try {
      const bytes = await inflateChunk(chunk.data, chunk.rawLength);
      this.#store.append({ seq: chunk.seq, stream: chunk.stream, elapsedMs: chunk.elapsedMs, bytes });
    } catch (error) {
      if (!(error instanceof UnreadableChunk)) throw error;
      index.mark(chunk.seq, 'unreadable', `Chunk ${chunk.seq} can’t be read: ${error.message}.`);
    }
  }

  #markGap(from: number, to: number, gaps: readonly (readonly [number, number])[]) {
    const known = gaps.some(([first, last]) => first <= from && to <= last);
    const chunks = from === to ? `Chunk ${from} is` : `Chunks ${from} to ${to} are`;
    const why = known ? 'lost with an agent’s disk' : 'not stored';
    this.#store.index.mark(to, 'gap', `${chunks} missing: ${why}. The lines before and after are unchanged.`);
  }

  #markEnd(gaps: readonly (readonly [number, number])[]) {
    const { index } = this.#store;
    const trailing = gaps.find(([first]) => first === index.lastSeq + 1);
    if (trailing !== undefined) this.#markGap(trailing[0], trailing[1], gaps);
    if (this.outputState !== 'truncated' || this.#ended) return;
    this.#ended = true;
    index.mark(index.lastSeq, 'truncated', 'There was more output. What came after the limit was not kept.');
    this.#changed();
  }

  #fetchWanted() {
    if (this.#fetching) return;
    const [seq] = this.#store.takeWanted();
    if (seq === undefined) return;
    this.#fetching = true;
    this.#restore(seq, rangeBytes)
      .catch(() => {
        // Read again when the rows are next drawn.
      })
      .finally(() => {
        this.#fetching = false;
        this.#changed();
      });
  }

  async #restore(seq: number, maxBytes: number): Promise<void> {
    const page = await fetchOutput(
      this.runId,
      this.stepId,
      { after: seq - 1, maxBytes, attempt: this.attempt },
      this.#owner.signal,
    );
    for (const chunk of page.chunks) {
      const bytes = await inflateChunk(chunk.data, chunk.rawLength);
      this.#store.restore({ seq: chunk.seq, stream: chunk.stream, elapsedMs: chunk.elapsedMs, bytes });
    }
  }

  #changed() {
    // A request may end after its reader has left.
    if (this.#owner.signal.aborted) return;
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.version += 1;
    });
  }
}
