// The output in one reader's stream of a run: which steps' output may have grown, and the chunks that the reader gets
// next. They come from memory if they follow on there, and otherwise from the database, when it is the reader's turn.
import { openAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import type { Sql } from '../../store/database/connection.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { readChunksWithin } from '../../store/runs/run-output.ts';
import { findStepOutput, type StepOutputRecord } from '../../store/runs/runs.ts';
import { chunkAad, type RunKeys } from '../run-keys.ts';
import type { EventBytes } from './event-bytes.ts';
import { type LiveHub, type ReadableChunk, readable } from './live-hub.ts';
import { formatPosition, type StreamPosition } from './stream-position.ts';

/** Where output that has grown is read: `stored` in the database, `handed on` in memory. */
export type OutputPlace = 'stored' | 'handed on';

export class StreamOutput {
  readonly #deps: { sql: Sql; hub: LiveHub; keys: RunKeys };
  readonly #runId: number;
  readonly #stepIds: readonly number[];
  readonly #position: StreamPosition;
  /** The last chunk that was sent, by step id, if it was sent before it was known to be on disk. */
  readonly #ahead = new Map<number, { epoch: number; seq: number }>();
  /** Steps that turned out not to belong to this run. */
  readonly #foreign = new Set<number>();
  /** Steps whose output may have grown. */
  readonly #grown = new Map<number, OutputPlace>();
  /** Whether there is output that only the database has. */
  #needsStored: boolean;
  /** Whether it is this reader's turn to read output from the database. */
  #mayReadStored = false;
  #closed = false;

  /** @param stream `position` is the stream's own: what is read moves it. */
  constructor(
    deps: { sql: Sql; hub: LiveHub; keys: RunKeys },
    stream: { runId: number; stepIds: readonly number[]; position: StreamPosition; isStored: boolean },
  ) {
    this.#deps = deps;
    this.#runId = stream.runId;
    this.#stepIds = stream.stepIds;
    this.#position = stream.position;
    // Output of an ended run is in the database, so if many readers come at once, they take turns from the first read
    // on.
    this.#needsStored = stream.isStored && stream.stepIds.length > 0;
  }

  get hasNews(): boolean {
    return this.#grown.size > 0;
  }

  /** Whether there is output to read first, once it is this reader's turn to read from the database. */
  get isLeft(): boolean {
    return this.#needsStored && !this.#mayReadStored;
  }

  /** The next read looks at all steps in the database. */
  lookForAll(): void {
    for (const id of this.#stepIds) if (!this.#foreign.has(id)) this.#grown.set(id, 'stored');
  }

  /** Records that there is more output of a step. Returns whether the reader gets it. */
  grew(stepId: number, where: OutputPlace): boolean {
    if (this.#foreign.has(stepId)) return false;
    if (this.#grown.get(stepId) !== 'stored') this.#grown.set(stepId, where);
    return true;
  }

  /** Whether the last output that was sent of a step is not known to be on disk. */
  wasSentAhead(stepId: number): boolean {
    return this.#ahead.has(stepId) && !this.#foreign.has(stepId);
  }

  /** Returns whether the pull that begins reads from the database, for which readers take turns. */
  beginPull(): boolean {
    this.#mayReadStored = this.#needsStored;
    this.#needsStored = false;
    return this.#mayReadStored;
  }

  /** Reads that are in progress find no more in the database. */
  close(): void {
    this.#closed = true;
  }

  /** Adds what has come since the last read, as far as one pull takes. */
  async read(to: EventBytes): Promise<void> {
    let left = this.#deps.hub.turns.pullRawBytes;
    const due = [...this.#grown];
    // Cleared before anything is read, so that steps that grow meanwhile are read again.
    this.#grown.clear();
    const stored = await this.#storedOutput(due);
    for (const [stepId, where] of due) {
      if (left <= 0) {
        this.grew(stepId, where);
        continue;
      }
      const handedOn = where === 'handed on' ? this.#fromMemory(stepId, left) : undefined;
      const chunks = handedOn ?? (await this.#fromDatabase(stepId, left, stored.get(stepId)));
      for (const chunk of chunks) {
        left -= chunk.rawLength;
        this.#addChunk(to, chunk);
      }
      this.#confirm(to, stepId);
      // There may be more than one pull takes, or it may have grown: read it again.
      if (chunks.length > 0 && !this.#grown.has(stepId)) this.#grown.set(stepId, where);
    }
  }

  /** A chunk that isn't known to be on disk gets no id, so that a reader who reconnects gets it again. */
  #addChunk(to: EventBytes, { body, ...head }: ReadableChunk): void {
    const { stepId, epoch, seq } = head;
    const isAhead = this.#deps.hub.isAhead(head);
    if (isAhead) this.#ahead.set(stepId, { epoch, seq });
    else {
      this.#ahead.delete(stepId);
      this.#position.output.set(stepId, { epoch, seq });
    }
    const id = isAhead ? '' : `id: ${formatPosition(this.#position)}\n`;
    const data = JSON.stringify({ ...head, data: '' });
    to.add(`event: chunk\n${id}data: ${data.slice(0, -2)}`);
    to.addBody(body);
    to.add('"}\n\n');
  }

  /** Sends the id of a chunk that was sent ahead, once that chunk is on disk. */
  #confirm(to: EventBytes, stepId: number): void {
    const ahead = this.#ahead.get(stepId);
    if (ahead === undefined || this.#deps.hub.isAhead({ stepId, ...ahead })) return;
    this.#ahead.delete(stepId);
    this.#position.output.set(stepId, ahead);
    to.add(`id: ${formatPosition(this.#position)}\n\n`);
  }

  /** Returns how far the output of the steps to be read is stored, with one query for all. */
  async #storedOutput(
    due: readonly (readonly [number, OutputPlace])[],
  ): Promise<Map<number, StepOutputRecord>> {
    const ids = due.flatMap(([stepId, where]) => (where === 'stored' ? [stepId] : []));
    if (ids.length === 0) return new Map();
    const rows = await findStepOutput(this.#deps.sql, this.#runId, ids, unrestricted);
    return new Map(rows.map((row) => [row.id, row]));
  }

  /** Returns `undefined` if memory doesn't continue from the reader's position. */
  #fromMemory(stepId: number, maxRawBytes: number): ReadableChunk[] | undefined {
    const epoch = this.#deps.hub.recentEpoch(stepId);
    // Late output of an older attempt isn't part of what this reader follows.
    const at = this.#ahead.get(stepId) ?? this.#position.output.get(stepId);
    if (epoch === undefined || epoch < (at?.epoch ?? 0)) return undefined;
    const recent = this.#deps.hub.recent(stepId, epoch, this.#sentOf(stepId, epoch));
    return recent && takeBytes(recent, maxRawBytes);
  }

  async #fromDatabase(
    stepId: number,
    maxRawBytes: number,
    known: StepOutputRecord | undefined,
  ): Promise<ReadableChunk[]> {
    const find = () => findStepOutput(this.#deps.sql, this.#runId, [stepId], unrestricted);
    const step = known ?? (await find())[0];
    if (step === undefined) {
      // The step belongs to another run: its output in memory is not for this reader.
      this.#foreign.add(stepId);
      this.#grown.delete(stepId);
      return [];
    }
    if (step.attemptDay === null || step.epoch === 0) return [];
    return step.outputSeq <= this.#sentOf(stepId, step.epoch) ? [] : this.#chunks(step, maxRawBytes);
  }

  #sentOf(stepId: number, epoch: number): number {
    const at = this.#ahead.get(stepId) ?? this.#position.output.get(stepId);
    return at?.epoch === epoch ? at.seq : 0;
  }

  async #chunks(
    step: { id: number; epoch: number; attemptDay: string | null; outputSeq: number },
    maxRawBytes: number,
  ): Promise<ReadableChunk[]> {
    const after = this.#sentOf(step.id, step.epoch);
    const recent = this.#deps.hub.recent(step.id, step.epoch, after);
    if (recent !== undefined && recent.length > 0) return takeBytes(recent, maxRawBytes);
    if (!this.#mayReadStored) {
      this.#needsStored = true;
      this.#grown.set(step.id, 'stored');
      return [];
    }
    if (this.#closed) return [];
    const chunks = await this.#stored(step, after, maxRawBytes);
    // A reader that has caught up continues from memory and needn't wait in line for that.
    this.#needsStored ||= (chunks.at(-1)?.seq ?? after) < step.outputSeq;
    return chunks;
  }

  async #stored(
    step: { id: number; epoch: number; attemptDay: string | null },
    after: number,
    maxRawBytes: number,
  ): Promise<ReadableChunk[]> {
    const { lately } = this.#deps.hub;
    const known = lately.after({ stepId: step.id, epoch: step.epoch }, after, maxRawBytes);
    if (known.length > 0) return known;
    const key = await this.#deps.keys.keyOf(this.#deps.sql, this.#runId);
    const stored = await readChunksWithin(
      this.#deps.sql,
      this.#deps.hub.turns.readMs,
      { attemptDay: step.attemptDay ?? '', stepId: step.id, epoch: step.epoch },
      { after, maxRawBytes },
    );
    const chunks = stored.map(({ sealed, ...chunk }) => {
      const place = { stepId: step.id, epoch: step.epoch, seq: chunk.seq };
      return readable({ ...place, ...chunk, bytes: openAtRest(key, sealed, chunkAad(place)) });
    });
    lately.keep(chunks);
    return chunks;
  }
}

function takeBytes(chunks: readonly ReadableChunk[], maxRawBytes: number): ReadableChunk[] {
  let taken = 0;
  let count = 0;
  for (const chunk of chunks) {
    if (count > 0 && taken + chunk.rawLength > maxRawBytes) break;
    taken += chunk.rawLength;
    count += 1;
  }
  return chunks.slice(0, count);
}
