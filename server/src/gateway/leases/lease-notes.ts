// Tells readers about leases: that a step is running, and when it began. News is gathered for a moment, because a short
// step ends within that time, and its end then tells everything in one event.
import type { Log } from '../../log.ts';
import { markLeased } from '../../runs/leases/mark-leased.ts';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import type { StartedStep } from '../../store/agents/agent-sessions.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isDatabaseLost } from '../../store/database/database-lost.ts';

/** Less than 50 ms, a delay that people don't notice. */
const gatherMs = 25;
const retryMs = 1_000;
/** Longer than any step runs. */
const longAgoMs = 365 * 86_400_000;

export interface LeaseNotesDeps {
  sql: Sql;
  log: Log;
  onNews(news: ProgressNews): void;
}

type Start = Omit<StartedStep, 'ageMs'> & { atMs: number };

/** What there is to tell about one attempt. */
interface Note {
  key: string;
  leased: { id: number; epoch: number } | undefined;
  started: Start | undefined;
}

export class LeaseNotes {
  readonly #deps: LeaseNotesDeps;
  #leased = new Map<string, { id: number; epoch: number }>();
  #started = new Map<string, Start>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(deps: LeaseNotesDeps) {
    this.#deps = deps;
  }

  leased(steps: readonly { id: number; epoch: number }[]): void {
    for (const { id, epoch } of steps) this.#leased.set(`${id}.${epoch}`, { id, epoch });
    this.#schedule(gatherMs);
  }

  started(step: Omit<StartedStep, 'ageMs'>): void {
    this.#started.set(`${step.step}.${step.epoch}`, { ...step, atMs: performance.now() });
    this.#schedule(gatherMs);
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
      if (hasBegun) this.#started.set(`${step}.${epoch}`, { step, epoch, agentId, sessionNumber, atMs });
    this.leased(steps);
  }

  /**
   * Forgets an attempt that has ended, since its end tells everything. Returns how long ago it began, in ms, if that
   * wasn't written yet.
   */
  ended({ step, epoch }: { step: number; epoch: number }): number | undefined {
    const key = `${step}.${epoch}`;
    this.#leased.delete(key);
    const start = this.#started.get(key);
    this.#started.delete(key);
    return start && performance.now() - start.atMs;
  }

  /**
   * Writes what was gathered. Call it before a lease is given back, because whether the step began must be known by
   * then.
   */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async stop(): Promise<void> {
    await this.flush();
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(afterMs: number): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#timer = setTimeout(() => void this.flush(), afterMs);
  }

  /** Never rejects: what could not be written is gathered again. */
  async #write(): Promise<void> {
    const leased = this.#leased;
    const started = this.#started;
    const keys = [...new Set([...leased.keys(), ...started.keys()])];
    if (keys.length === 0) return;
    this.#leased = new Map();
    this.#started = new Map();
    await this.#writeThese(keys.map((key) => ({ key, leased: leased.get(key), started: started.get(key) })));
  }

  async #writeThese(notes: readonly Note[]): Promise<void> {
    const nowMs = performance.now();
    try {
      const leases = notes.flatMap(({ leased }) => leased ?? []);
      const starts = notes.flatMap(({ started }) => {
        if (started === undefined) return [];
        const { atMs, ...start } = started;
        return { ...start, ageMs: nowMs - atMs };
      });
      this.#deps.onNews(await markLeased(this.#deps.sql, leases, starts));
    } catch (error) {
      // One note that is refused must not keep the others from being written.
      if (notes.length > 1 && !isDatabaseLost(error)) {
        for (const note of notes) await this.#writeThese([note]);
        return;
      }
      this.#deps.log.warn(
        { err: error },
        'leases and starts of steps could not be recorded; this is retried in a second',
      );
      for (const note of notes) this.#putBack(note);
      this.#schedule(retryMs);
    }
  }

  #putBack({ key, leased, started }: Note): void {
    if (leased !== undefined) this.#leased.set(key, leased);
    if (started !== undefined && !this.#started.has(key)) this.#started.set(key, started);
  }
}
