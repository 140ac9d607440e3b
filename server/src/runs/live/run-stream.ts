// One reader's live stream of a run: events by number, and output by (step, epoch, seq). It keeps positions but no
// queue: what the reader hasn't taken yet stays in the database. It is driven by pulls, so a slow reader costs only the
// memory of its last pull.
import { isRunEnded, limits, type RunChange, type TransferEvent } from '@opsconductor/protocol';
import { openAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import type { RunEvent } from '../../store/runs/run-events.ts';
import { readChunksWithin } from '../../store/runs/run-output.ts';
import { findRun, findStepOutput, type StepOutputRecord, stepIdsOfRun } from '../../store/runs/runs.ts';
import { chunkAad, type RunKeys } from '../run-keys.ts';
import type { RunPart } from '../view/run-part.ts';
import { EventBytes } from './event-bytes.ts';
import { type LiveHub, type LiveTransfer, type ReadableChunk, readable } from './live-hub.ts';
import type { News } from './read-events.ts';
import type { StreamReader } from './stream-turns.ts';

export interface StreamPosition {
  /** Number of the last event that was sent. Readers of only a part of the run have their own numbering. */
  afterSeq: number;
  /** Tag of the part that `afterSeq` refers to. */
  part?: string;
  /** The last chunk that was sent and is on disk, by step id. */
  output: Map<number, { epoch: number; seq: number }>;
}

/** A pull gets at least this long, even if a comment is due sooner: most pulls take milliseconds. */
const leastPullMs = 1_000;
/**
 * Delay before a stream of a new run looks for what happened before it subscribed: the first output is about to arrive.
 */
const firstLookMs = 30;
const endEvent = 'event: end\ndata: {}\n\n';

/** Parses `Last-Event-ID`: `[<part>.]<seq>[~step.epoch.seq…]`. Returns `undefined` if the text has another form. */
export function parsePosition(text: string): StreamPosition | undefined {
  const [head = '', ...marks] = text.split('~');
  const match = /^(?:([0-9a-f]{8})\.)?(\d{1,15})$/.exec(head);
  if (match === null || marks.length > limits.maxStepsForWholeOutputStream) return undefined;
  const output = new Map<number, { epoch: number; seq: number }>();
  for (const mark of marks) {
    if (!/^\d{1,15}\.\d{1,10}\.\d{1,10}$/.test(mark)) return undefined;
    const [step, epoch, chunk] = mark.split('.').map(Number);
    output.set(step ?? 0, { epoch: epoch ?? 0, seq: chunk ?? 0 });
  }
  return { afterSeq: Number(match[2]), ...(match[1] === undefined ? {} : { part: match[1] }), output };
}

export function formatPosition(position: StreamPosition): string {
  const marks = [...position.output].map(([step, at]) => `~${step}.${at.epoch}.${at.seq}`);
  return `${position.part === undefined ? '' : `${position.part}.`}${position.afterSeq}${marks.join('')}`;
}

export class RunStream implements StreamReader {
  readonly #deps: { sql: Sql; hub: LiveHub; keys: RunKeys };
  readonly #runId: number;
  readonly #part: RunPart | undefined;
  readonly #stepIds: readonly number[];
  readonly #position: StreamPosition;
  /** The last chunk that was sent, by step id, if it was sent before it was known to be on disk. */
  readonly #ahead = new Map<number, { epoch: number; seq: number }>();
  /**
   * Number of the last event that was read. For a part, all events are read from the first on, as the part is computed
   * from them.
   */
  #readSeq: number;
  /** Number of events of the part that were read. */
  #partSeq = 0;
  /** Steps that turned out not to belong to this run. */
  readonly #foreign = new Set<number>();
  readonly #unsubscribe: (() => void)[] = [];
  readonly #onCutOff: (() => void) | undefined;
  readonly #whose: string;
  /** Steps whose output may have grown: `stored` has to be read from the database, `handed on` from memory. */
  readonly #grown = new Map<number, 'stored' | 'handed on'>();
  /** Progress of transfers that the reader hasn't been told yet; only the newest for each step. */
  readonly #transfers = new Map<number, TransferEvent>();
  /** The events to be read, if any. */
  #eventNews: News | undefined;
  /** Whether the run has ended or may have. Then its end is looked for once there is nothing else to send. */
  #runEnded: boolean;
  #wake: (() => void) | undefined;
  #nudge: (() => void) | undefined;
  #isNudged = false;
  #closed = false;
  #ended = false;
  #lastLook = false;
  /** The pull in progress, or one that has finished but hasn't been handed out. */
  #pulling: Promise<Buffer[]> | undefined;
  /** Whether there is output that only the database has. */
  #needsStored = false;
  /** Whether it is this reader's turn to read output from the database. */
  #mayReadStored = false;

  constructor(
    deps: { sql: Sql; hub: LiveHub; keys: RunKeys },
    stream: {
      runId: number;
      stepIds: readonly number[];
      position: StreamPosition;
      hasEnded?: boolean;
      /** The run was just created: its changes are announced, and looked for in the database only a little later. */
      isNew?: boolean;
      /** The part that the reader sees, unless it is the whole run. */
      part?: RunPart | undefined;
      /**
       * Ends the connection, with all data waiting on it. Called if the reader takes nothing while others wait for
       * room.
       */
      onCutOff?: () => void;
      /** The user who reads. */
      whose?: string;
    },
  ) {
    this.#deps = deps;
    this.#runEnded = stream.hasEnded ?? true;
    this.#onCutOff = stream.onCutOff;
    this.#whose = stream.whose ?? '';
    this.#runId = stream.runId;
    const { part, position } = stream;
    this.#part = part;
    this.#stepIds = part === undefined ? stream.stepIds : stream.stepIds.filter((id) => part.hasStep(id));
    // Output of an ended run is in the database, so if many readers come at once, they take turns from the first read
    // on.
    this.#needsStored = this.#runEnded && this.#stepIds.length > 0;
    this.#position = position;
    this.#readSeq = part === undefined ? position.afterSeq : 0;
    const { hub } = deps;
    this.#unsubscribe.push(hub.turns.join(this));
    this.#unsubscribe.push(hub.onRun(stream.runId, (seq) => this.#onEvent(seq)));
    this.#unsubscribe.push(hub.onTransfer(stream.runId, (transfer) => this.#onTransfer(transfer)));
    for (const id of this.#stepIds) {
      this.#unsubscribe.push(hub.onStep(id, (where) => this.#onOutput(id, where)));
    }
    if (stream.isNew === true) this.#lookSoon();
    else this.#lookForNews();
  }

  /** Looks a moment later for changes from before the stream subscribed. */
  #lookSoon(): void {
    const timer = setTimeout(() => {
      this.#lookForNews();
      this.#wake?.();
    }, firstLookMs).unref();
    this.#unsubscribe.push(() => clearTimeout(timer));
  }

  #lookForNews(): void {
    this.#expectEvents();
    for (const id of this.#stepIds) if (!this.#foreign.has(id)) this.#grown.set(id, 'stored');
  }

  #onEvent(seq: number): void {
    if (seq <= this.#readSeq) return;
    this.#expectEvents(seq);
    this.#wake?.();
  }

  /** Records that there is an event with this number, or that there may be any. */
  #expectEvents(seq = Number.POSITIVE_INFINITY): void {
    this.#eventNews = { seq: Math.max(seq, this.#eventNews?.seq ?? 0), sinceMs: performance.now() };
  }

  #onOutput(stepId: number, where: 'stored' | 'handed on' | 'taken back'): void {
    if (this.#foreign.has(stepId)) return;
    if (where === 'taken back') {
      // What was sent of it has no id: the reader reconnects and gets what is there by then.
      if (this.#ahead.has(stepId)) this.close();
      return;
    }
    if (this.#grown.get(stepId) !== 'stored') this.#grown.set(stepId, where);
    this.#wake?.();
  }

  #onTransfer({ runId: _, ...transfer }: LiveTransfer): void {
    if (this.#part?.hasStep(transfer.stepId) === false) return;
    this.#transfers.set(transfer.stepId, transfer);
    this.#wake?.();
  }

  /** Makes `next` return as if its time were over, as soon as it would have to wait. */
  nudge(): void {
    this.#isNudged = true;
    this.#nudge?.();
  }

  cutOff(): void {
    this.close();
    this.#onCutOff?.();
  }

  close(): void {
    this.#closed = true;
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    this.#wake?.();
    this.#nudge?.();
  }

  /**
   * Returns the next events of the stream, in pieces. Waits for news; if that takes longer than `idleMs`, returns an
   * empty list, and the caller sends a comment so that proxies keep the connection. Returns `undefined` when the stream
   * is over. Calling it again tells that the previous events were taken.
   */
  async next(idleMs: number): Promise<Buffer[] | undefined> {
    // If a pull is still in progress, nothing was handed out since the last call.
    if (this.#pulling === undefined) this.#deps.hub.turns.taken(this);
    while (!this.#closed && (this.#pulling !== undefined || !this.#ended)) {
      const hasNews = this.#eventNews !== undefined || this.#grown.size > 0 || this.#transfers.size > 0;
      if (this.#pulling === undefined && !hasNews && !(await this.#news(idleMs))) {
        // A notification may have been lost; the next read finds what it was about.
        this.#lookEverywhere();
        return this.#closed ? undefined : [];
      }
      this.#pulling ??= this.#pull();
      if (!(await this.#isPulled(this.#pulling, idleMs))) return this.#closed ? undefined : [];
      const pieces = await this.#pulling.finally(() => {
        this.#pulling = undefined;
      });
      if (pieces.length > 0) return pieces;
    }
    return undefined;
  }

  async #pull(): Promise<Buffer[]> {
    const { turns } = this.#deps.hub;
    this.#mayReadStored = this.#needsStored;
    this.#needsStored = false;
    if (!this.#mayReadStored) return this.#pullInRoom();
    const done = await turns.reads.take(this.#whose);
    try {
      return await this.#pullInRoom();
    } finally {
      done();
    }
  }

  async #pullInRoom(): Promise<Buffer[]> {
    if (this.#closed) return [];
    const { turns } = this.#deps.hub;
    await turns.take(this);
    let bytes = 0;
    try {
      const events = new EventBytes();
      if (!this.#closed) await within(turns.pullMs, this.#read(events));
      const pieces = events.toPieces();
      bytes = pieces.reduce((sum, { length }) => sum + length, 0);
      return pieces;
    } finally {
      turns.handed(this, bytes);
    }
  }

  #lookEverywhere(): void {
    this.#runEnded = true;
    this.#lookForNews();
  }

  #news(idleMs: number): Promise<boolean> {
    return this.#comes(idleMs, (come) => {
      this.#wake = come;
    });
  }

  #isPulled(pull: Promise<unknown>, idleMs: number): Promise<boolean> {
    return this.#comes(Math.max(idleMs, leastPullMs), (come) => void pull.then(come, come));
  }

  /** Resolves to whether `come` is called within this time. False if `next` is to return before that. */
  #comes(idleMs: number, wait: (come: () => void) => void): Promise<boolean> {
    return new Promise((resolve) => {
      let isOver = false;
      const timer = setTimeout(() => finish(false), idleMs);
      const finish = (comes: boolean) => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        this.#wake = undefined;
        this.#nudge = undefined;
        if (!comes) this.#isNudged = false;
        resolve(comes);
      };
      this.#nudge = () => finish(false);
      wait(() => finish(true));
      if (this.#isNudged) finish(false);
    });
  }

  async #read(to: EventBytes): Promise<void> {
    // Output first, because a step's last chunks are stored before the event that says it ended.
    await this.#readOutput(to);
    if (this.#isOutputLeft) return;
    for (const transfer of this.#transfers.values())
      to.add(`event: transfer\ndata: ${JSON.stringify(transfer)}\n\n`);
    this.#transfers.clear();
    const news = this.#eventNews;
    if (news === undefined) return;
    this.#eventNews = undefined;
    const { sql, hub } = this.#deps;
    const { events, isAll } = await hub.events.after(sql, this.#runId, this.#readSeq, news);
    if (events.length === 0) {
      if (!this.#runEnded) return;
      if (to.isEmpty) await this.#readEnd(to);
      // There may be more output; the end is looked for once there is none.
      else this.#expectEvents();
      return;
    }
    // Chunks stored between the two reads have to come before the events that follow them.
    await this.#readOutput(to);
    if (this.#isOutputLeft) {
      this.#expectEvents(news.seq);
      return;
    }
    for (const event of events) {
      this.#readSeq = event.seq;
      const change = this.#part === undefined ? this.#wholeChange(event) : this.#partOf(this.#part, event);
      if (change === undefined) continue;
      const head = `{"seq":${this.#position.afterSeq},"at":"${event.at.toISOString()}",`;
      const data = head + change.slice(change.indexOf('{') + 1);
      to.add(`event: change\nid: ${formatPosition(this.#position)}\ndata: ${data}\n\n`);
    }
    // What is written from now on is announced. If the run has ended, look once more.
    if (!isAll || this.#runEnded) this.#expectEvents();
  }

  /** Whether there is output to read first, once it is this reader's turn to read from the database. */
  get #isOutputLeft(): boolean {
    return this.#needsStored && !this.#mayReadStored;
  }

  #wholeChange({ seq, change, status }: RunEvent): string {
    this.#position.afterSeq = seq;
    this.#runEnded ||= status !== null && isRunEnded(status);
    return change;
  }

  /** Returns the event as the reader of a part gets it; `undefined` if it concerns only others or was sent before. */
  #partOf(part: RunPart, event: RunEvent): string | undefined {
    const seen = part.see(JSON.parse(event.change) as Omit<RunChange, 'seq' | 'at'>);
    if (seen === undefined) return undefined;
    this.#runEnded ||= part.isEnded;
    this.#partSeq += 1;
    if (this.#partSeq <= this.#position.afterSeq) return undefined;
    this.#position.afterSeq = this.#partSeq;
    return JSON.stringify(seen);
  }

  async #readOutput(to: EventBytes): Promise<void> {
    let left = this.#deps.hub.turns.pullRawBytes;
    const due = [...this.#grown];
    // Cleared before anything is read, so that steps that grow meanwhile are read again.
    this.#grown.clear();
    const stored = await this.#storedOutput(due);
    for (const [stepId, where] of due) {
      if (left <= 0) {
        this.#onOutput(stepId, where);
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
    due: readonly (readonly [number, 'stored' | 'handed on'])[],
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

  /** Sends the end event, once the run has ended and everything was sent. */
  async #readEnd(to: EventBytes): Promise<void> {
    const run = await findRun(this.#deps.sql, this.#runId);
    if (run === undefined) {
      this.#ended = true;
      to.add(endEvent);
      return;
    }
    // A part ends with its last target run, whatever happens to the others.
    this.#runEnded = this.#part?.isEnded ?? isRunEnded(run.status);
    if (run.eventSeq > this.#readSeq) this.#expectEvents(run.eventSeq);
    if (!this.#runEnded || this.#eventNews !== undefined) return;
    if (!this.#lastLook) {
      // The last output stored by another server may not have been announced yet.
      this.#lastLook = true;
      this.#lookEverywhere();
      return;
    }
    this.#ended = true;
    to.add(endEvent);
  }
}

/** Returns the step ids that `output=` names, or `undefined` if there are too many. */
export async function stepsOfOutputQuery(
  sql: Sql,
  runId: number,
  query: string,
): Promise<number[] | undefined> {
  const ids =
    query === 'all'
      ? await stepIdsOfRun(sql, runId, limits.maxStepsForWholeOutputStream + 1)
      : query.split(',').map(Number);
  return ids.length > limits.maxStepsForWholeOutputStream ? undefined : ids;
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

/** @throws {AppError} `unavailable` if the work takes longer. Its later result is ignored. */
async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = () => new AppError('unavailable', 'The database does not answer just now.');
    timer = setTimeout(() => reject(error()), limitMs);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
