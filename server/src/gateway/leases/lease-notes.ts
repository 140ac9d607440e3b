// Tells readers about leases: that a step is running, and when it began. News is gathered for a moment, because a short
// step ends within that time, and its end then tells everything in one event.
import type { Log } from '../../log.ts';
import { markLeased } from '../../runs/leases/mark-leased.ts';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import type { StartedStep } from '../../store/agents/agent-sessions.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isDatabaseAway } from '../../store/database/database-lost.ts';

/** How long a note waits for the end of its step. Less than 50 ms, a delay that people don't notice. */
const gatherMs = 25;
/** A note is written up to this long before its time, along with those whose time has come. */
const togetherMs = 12;
const retryMs = 1_000;
/** Longer than any step runs. */
const longAgoMs = 365 * 86_400_000;

export interface LeaseNotesDeps {
  sql: Sql;
  log: Log;
  onNews(news: ProgressNews): void;
}

type Lease = { id: number; epoch: number };
type Start = Omit<StartedStep, 'ageMs'> & { atMs: number };

/** What there is to tell about one attempt. */
interface Note {
  key: string;
  leased?: Lease;
  started?: Start;
  /** When it is written, on the monotonic clock, unless the step has ended by then. */
  dueMs: number;
}

export class LeaseNotes {
  readonly #deps: LeaseNotesDeps;
  /** By attempt; the one that is due first comes first. */
  #notes = new Map<string, Note>();
  /** Those that are being written, except of attempts that have ended meanwhile. */
  readonly #beingWritten = new Map<string, Note>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #retryAtMs = 0;
  #stopped = false;

  constructor(deps: LeaseNotesDeps) {
    this.#deps = deps;
  }

  leased(steps: readonly Lease[]): void {
    for (const { id, epoch } of steps) this.#note(id, epoch).leased = { id, epoch };
    this.#schedule();
  }

  started(step: Omit<StartedStep, 'ageMs'>): void {
    this.#note(step.step, step.epoch).started = { ...step, atMs: performance.now() };
    this.#schedule();
  }

  /**
   * Tells about steps that continue in this session and were leased in another one. The server that leased them may
   * have been killed before it told of that, and the run would stay queued as long as they run. When those that have
   * begun did so isn't known, so they count from their lease.
   */
  resumed(
    { agentId, sessionNumber }: { agentId: number; sessionNumber: number },
    steps: readonly { id: number; epoch: number; hasBegun: boolean }[],
  ): void {
    if (steps.length === 0) return;
    const atMs = performance.now() - longAgoMs;
    for (const { id: step, epoch, hasBegun } of steps)
      if (hasBegun) this.#note(step, epoch).started = { step, epoch, agentId, sessionNumber, atMs };
    this.leased(steps);
  }

  /**
   * Forgets an attempt that has ended, since its end tells everything. Returns how long ago it began, in ms, if that
   * hasn't been written for certain.
   */
  ended({ step, epoch }: { step: number; epoch: number }): number | undefined {
    const key = `${step}.${epoch}`;
    // What is being written may come to the database after the end, and change nothing any more.
    const start = this.#notes.get(key)?.started ?? this.#beingWritten.get(key)?.started;
    this.#notes.delete(key);
    this.#beingWritten.delete(key);
    return start && performance.now() - start.atMs;
  }

  /**
   * Writes what was gathered. Call it before a lease is given back, because whether the step began must be known by
   * then.
   */
  flush(): Promise<void> {
    return this.#writeThoseDueBy(Number.POSITIVE_INFINITY);
  }

  async stop(): Promise<void> {
    await this.flush();
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #note(step: number, epoch: number): Note {
    const key = `${step}.${epoch}`;
    const note = this.#notes.get(key) ?? { key, dueMs: performance.now() + gatherMs };
    this.#notes.set(key, note);
    return note;
  }

  #schedule(): void {
    const [first] = this.#notes.values();
    if (this.#timer !== undefined || this.#stopped || first === undefined) return;
    const inMs = Math.max(first.dueMs, this.#retryAtMs) - performance.now();
    this.#timer = setTimeout(() => void this.#onTimer(), Math.max(0, Math.ceil(inMs)));
  }

  async #onTimer(): Promise<void> {
    const [first] = this.#notes.values();
    const nowMs = performance.now();
    // The note that the timer was set for may be gone or was refused, and the first one may have come a moment ago.
    if (first !== undefined && Math.max(first.dueMs, this.#retryAtMs) <= nowMs)
      await this.#writeThoseDueBy(nowMs + togetherMs);
    this.#timer = undefined;
    this.#schedule();
  }

  #writeThoseDueBy(dueMs: number): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const due = [...this.#notes.values()].filter((note) => note.dueMs <= dueMs);
      for (const note of due) {
        this.#notes.delete(note.key);
        this.#beingWritten.set(note.key, note);
      }
      if (due.length > 0) await this.#write(due);
      this.#beingWritten.clear();
    });
    return this.#writing;
  }

  /** Never rejects: what could not be written is gathered again. */
  async #write(notes: readonly Note[]): Promise<void> {
    let failure = await this.#tell(notes);
    if (failure === undefined) return;
    let refused = notes;
    // One note that is refused must not keep the others from being written.
    if (notes.length > 1 && !isDatabaseAway(failure)) {
      const kept: Note[] = [];
      for (const note of notes) {
        const problem = isDatabaseAway(failure) ? failure : await this.#tell([note]);
        if (problem !== undefined) kept.push(note);
        failure = problem ?? failure;
      }
      refused = kept;
    }
    if (refused.length === 0) return;
    this.#deps.log.warn(
      { err: failure, notes: refused.length },
      'leases and starts of steps could not be recorded; this is retried in a second',
    );
    this.#putBack(refused);
  }

  /** Returns why the database refused it. */
  async #tell(notes: readonly Note[]): Promise<unknown> {
    const nowMs = performance.now();
    const leases = notes.flatMap(({ leased }) => leased ?? []);
    const starts = notes.flatMap(({ started }) => {
      if (started === undefined) return [];
      const { atMs, ...start } = started;
      return { ...start, ageMs: nowMs - atMs };
    });
    try {
      this.#deps.onNews(await markLeased(this.#deps.sql, leases, starts));
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** Together with what has become known of the same attempts since; not those that have ended. */
  #putBack(notes: readonly Note[]): void {
    const since = this.#notes;
    const kept = notes.filter(({ key }) => this.#beingWritten.has(key));
    this.#notes = new Map(kept.map((note) => [note.key, note]));
    for (const [key, note] of since) this.#notes.set(key, { ...this.#notes.get(key), ...note });
    this.#retryAtMs = performance.now() + retryMs;
    this.#schedule();
  }
}
