// Keeps events of runs that were recently read from the database. Many readers of one run are often at the same
// position, and the events of cancelling a large run take megabytes. One reader reads them for all who ask meanwhile or
// soon after.
import type { Queryable } from '../../store/database/connection.ts';
import { type RunEvent, readRunEvents } from '../../store/runs/progress/run-events.ts';

const maxEvents = 200;
/** Size of an entry apart from its text, estimated. */
const entryBytes = 256;

export interface ReadEventsSettings {
  /** Size at which one read ends, with the event that exceeds it. */
  maxReadBytes: number;
  maxKeptBytes: number;
  /** Time after the last read at which everything is dropped. */
  keepMs: number;
}

/** What a reader was told: that there is an event with at least this number (Infinity for any), and when. */
export interface News {
  seq: number;
  sinceMs: number;
}

interface Read {
  events: RunEvent[];
  /** Whether there were no more events than these when the reader was told. */
  isAll: boolean;
}

export class ReadEvents {
  readonly #settings: ReadEventsSettings;
  /** By `run.seq`, in the order in which they were read. Events never change. */
  readonly #events = new Map<string, RunEvent>();
  readonly #underWay = new Map<string, { beganMs: number; read: Promise<Read> }>();
  #bytes = 0;
  #emptying: NodeJS.Timeout | undefined;

  constructor(settings: Partial<ReadEventsSettings> = {}) {
    this.#settings = { maxReadBytes: 128 * 1024, maxKeptBytes: 4 * 1024 * 1024, keepMs: 5_000, ...settings };
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the events right after `afterSeq`, up to the size of one read. */
  async after(db: Queryable, runId: number, afterSeq: number, news: News): Promise<Read> {
    const kept = this.#kept(runId, afterSeq);
    const last = kept.at(-1);
    if (last !== undefined) return { events: kept, isAll: last.seq >= news.seq };
    const key = keyOf(runId, afterSeq);
    const underWay = this.#underWay.get(key);
    // A read that began before the reader was told may miss the events in question.
    if (underWay !== undefined && underWay.beganMs >= news.sinceMs) return underWay.read;
    const own = { beganMs: performance.now(), read: this.#read(db, runId, afterSeq) };
    this.#underWay.set(key, own);
    try {
      return await own.read;
    } finally {
      if (this.#underWay.get(key) === own) this.#underWay.delete(key);
    }
  }

  #kept(runId: number, afterSeq: number): RunEvent[] {
    const found: RunEvent[] = [];
    let bytes = 0;
    for (let seq = afterSeq + 1; bytes < this.#settings.maxReadBytes && found.length < maxEvents; seq += 1) {
      const event = this.#events.get(keyOf(runId, seq));
      if (event === undefined) break;
      found.push(event);
      bytes += event.change.length;
    }
    return found;
  }

  async #read(db: Queryable, runId: number, afterSeq: number): Promise<Read> {
    const { maxReadBytes } = this.#settings;
    const events = await readRunEvents(db, runId, afterSeq, { maxEvents, maxBytes: maxReadBytes });
    for (const event of events) this.#keep(runId, event);
    const bytes = events.reduce((sum, { change }) => sum + Buffer.byteLength(change), 0);
    return { events, isAll: events.length < maxEvents && bytes < maxReadBytes };
  }

  #keep(runId: number, event: RunEvent): void {
    const key = keyOf(runId, event.seq);
    if (this.#events.has(key)) return;
    this.#events.set(key, event);
    this.#bytes += sizeOf(event);
    for (const [oldest, old] of this.#events) {
      if (this.#bytes <= this.#settings.maxKeptBytes) break;
      this.#events.delete(oldest);
      this.#bytes -= sizeOf(old);
    }
    this.#emptying ??= setTimeout(() => this.#empty(), this.#settings.keepMs).unref();
    this.#emptying.refresh();
  }

  #empty(): void {
    this.#events.clear();
    this.#bytes = 0;
    this.#emptying = undefined;
  }
}

function keyOf(runId: number, seq: number): string {
  return `${runId}.${seq}`;
}

function sizeOf({ change }: RunEvent): number {
  return change.length + entryBytes;
}
