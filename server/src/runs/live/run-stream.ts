// One reader's live stream of a run: events by number, and output by (step, epoch, seq; `stream-output.ts`). It keeps
// positions but no queue: what the reader hasn't taken yet stays in the database. It is driven by pulls, so a slow reader
// costs only the memory of its last pull.
import { isRunEnded, type RunChange, type TransferEvent } from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { RunEvent } from '../../store/runs/progress/run-events.ts';
import { findRunEnd } from '../../store/runs/runs.ts';
import type { RunKeys } from '../run-keys.ts';
import type { RunPart } from '../view/run-part.ts';
import { EventBytes } from './event-bytes.ts';
import type { LiveHub, LiveTransfer } from './live-hub.ts';
import type { News } from './read-events.ts';
import { type OutputPlace, StreamOutput } from './stream-output.ts';
import { formatPosition, type StreamPosition } from './stream-position.ts';
import type { StreamReader } from './stream-turns.ts';

/** A pull gets at least this long, even if a comment is due sooner: most pulls take milliseconds. */
const leastPullMs = 1_000;
/**
 * Delay before a stream of a new run looks for what happened before it subscribed: the first output is about to arrive.
 */
const firstLookMs = 30;
/** Told instead of a number if there may be events. */
const anyEvent = Number.POSITIVE_INFINITY;
const endEvent = 'event: end\ndata: {}\n\n';

export class RunStream implements StreamReader {
  readonly #deps: { sql: Sql; hub: LiveHub; keys: RunKeys };
  readonly #runId: number;
  readonly #part: RunPart | undefined;
  readonly #position: StreamPosition;
  readonly #output: StreamOutput;
  /**
   * Number of the last event that was read. For a part, all events are read from the first on, as the part is computed
   * from them.
   */
  #readSeq: number;
  /** Number of events of the part that were read. */
  #partSeq = 0;
  readonly #unsubscribe: (() => void)[] = [];
  readonly #onCutOff: (() => void) | undefined;
  readonly #whose: string;
  /** Progress of transfers that the reader hasn't been told yet; only the newest for each step. */
  readonly #transfers = new Map<number, TransferEvent>();
  /** The events to be read, if any. */
  #eventNews: News | undefined;
  /** Whether the run has ended or may have. Then its end is looked for once there is nothing else to send. */
  #runEnded: boolean;
  /** Whether an event has told that the run has ended. */
  #endSeen = false;
  #wake: (() => void) | undefined;
  #nudge: (() => void) | undefined;
  #isNudged = false;
  #closed = false;
  #ended = false;
  #lastLook = false;
  /** The pull in progress, or one that has finished but hasn't been handed out. */
  #pulling: Promise<Buffer[]> | undefined;

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
    const stepIds = part === undefined ? stream.stepIds : stream.stepIds.filter((id) => part.hasStep(id));
    this.#position = position;
    this.#output = new StreamOutput(deps, {
      runId: stream.runId,
      stepIds,
      position,
      isStored: this.#runEnded,
    });
    this.#readSeq = part === undefined ? position.afterSeq : 0;
    const { hub } = deps;
    this.#unsubscribe.push(hub.turns.join(this));
    this.#unsubscribe.push(hub.onRun(stream.runId, (seq) => this.#onEvent(seq)));
    this.#unsubscribe.push(hub.onTransfer(stream.runId, (transfer) => this.#onTransfer(transfer)));
    for (const id of stepIds) {
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
    this.#output.lookForAll();
  }

  #onEvent(seq: number): void {
    if (seq <= this.#readSeq) return;
    this.#expectEvents(seq);
    this.#wake?.();
  }

  /** Records that there is an event with this number, or that there may be any. */
  #expectEvents(seq = anyEvent): void {
    this.#eventNews = { seq: Math.max(seq, this.#eventNews?.seq ?? 0), sinceMs: performance.now() };
  }

  #onOutput(stepId: number, where: OutputPlace | 'taken back'): void {
    if (where !== 'taken back') {
      if (this.#output.grew(stepId, where)) this.#wake?.();
    } else if (this.#output.wasSentAhead(stepId)) {
      // What was sent of it has no id: the reader reconnects and gets what is there by then.
      this.close();
    }
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
    this.#output.close();
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
      const hasNews = this.#eventNews !== undefined || this.#output.hasNews || this.#transfers.size > 0;
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
    if (!this.#output.beginPull()) return this.#pullInRoom();
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

  /** Once it is known that the run has ended: the last output stored by another server may not be announced yet. */
  #lookForTheLast(): void {
    this.#lastLook = true;
    this.#lookEverywhere();
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
    await this.#output.read(to);
    if (this.#output.isLeft) return;
    for (const transfer of this.#transfers.values())
      to.add(`event: transfer\ndata: ${JSON.stringify(transfer)}\n\n`);
    this.#transfers.clear();
    const news = this.#eventNews;
    if (news === undefined) return;
    this.#eventNews = undefined;
    // With nothing announced, the run's own row says whether there are more events.
    if (this.#lastLook && news.seq === anyEvent && to.isEmpty) {
      await this.#readEnd(to);
      return;
    }
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
    await this.#output.read(to);
    if (this.#output.isLeft) {
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
    if (this.#endSeen && !this.#lastLook) this.#lookForTheLast();
    else if (!isAll || this.#runEnded) this.#expectEvents();
  }

  #wholeChange({ seq, change, status }: RunEvent): string {
    this.#position.afterSeq = seq;
    this.#endSeen ||= status !== null && isRunEnded(status);
    return change;
  }

  /** Returns the event as the reader of a part gets it; `undefined` if it concerns only others or was sent before. */
  #partOf(part: RunPart, event: RunEvent): string | undefined {
    const seen = part.see(JSON.parse(event.change) as Omit<RunChange, 'seq' | 'at'>);
    if (seen === undefined) return undefined;
    this.#endSeen ||= part.isEnded;
    this.#partSeq += 1;
    if (this.#partSeq <= this.#position.afterSeq) return undefined;
    this.#position.afterSeq = this.#partSeq;
    return JSON.stringify(seen);
  }

  /** Sends the end event, once the run has ended and everything was sent. */
  async #readEnd(to: EventBytes): Promise<void> {
    const run = await findRunEnd(this.#deps.sql, this.#runId);
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
      this.#lookForTheLast();
      return;
    }
    this.#ended = true;
    to.add(endEvent);
  }
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
