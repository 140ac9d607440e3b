// Each second: looks whether the log is still what it was, seals what was written, removes what retention allows to remove.
// Any server may seal; one does at a time.
import type { SignedCheckpoint } from '@opsconductor/protocol/audit';
import { leaptMessage, removalClock } from '../store/queue/sweep.ts';
import { LogWatch, type LogWatchDeps } from './log-watch.ts';
import { Retention } from './retention.ts';
import { type SealDeps, sealRows } from './seal-rows.ts';

const sealMs = 1_000;
const hourMs = 3_600_000;
/** What fails each second is told of this often. */
const complainMs = 60_000;

export interface SealerDeps extends SealDeps, Pick<LogWatchDeps, 'onOtherLog'> {
  /** Undefined: rows are kept for ever. */
  retentionDays: number | undefined;
  /** Told after each round on this server, whoever sealed. */
  onRound?(): Promise<void>;
}

export class AuditSealer {
  readonly #deps: SealerDeps;
  readonly #watch: LogWatch;
  readonly #retention: Retention;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<unknown> | undefined;
  readonly #complainedAt = new Map<string, number>();
  /** By a clock that nobody sets. */
  #retainDueAt = 0;
  #hasOldRows = false;

  constructor(deps: SealerDeps) {
    this.#deps = deps;
    this.#watch = new LogWatch(deps);
    this.#retention = new Retention(deps);
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#running ??= this.#round().finally(() => {
        this.#running = undefined;
      });
    }, sealMs);
  }

  /** Seals once more, so that a server that was stopped in good order leaves nothing unsealed. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
    await this.#round();
  }

  /** Seals all that waits; returns the checkpoints that were made. */
  async seal(): Promise<SignedCheckpoint[]> {
    const made: SignedCheckpoint[] = [];
    for (let more = true; more; ) {
      const sealed = await sealRows(this.#deps);
      if (sealed !== undefined) made.push(sealed.checkpoint);
      more = sealed?.more ?? false;
    }
    return made;
  }

  async #round(): Promise<void> {
    // Before it is sealed: a log that goes on is told of by what it was, too.
    await this.#attempt('the audit log could not be looked at', () => this.#watch.look());
    await this.#attempt('the audit log could not be sealed', () => this.seal());
    await this.#attempt('checkpoints could not be handed on', async () => this.#deps.onRound?.());
    await this.#attempt('old audit rows could not be removed', () => this.#retain());
  }

  async #attempt(failure: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (performance.now() - (this.#complainedAt.get(failure) ?? -complainMs) < complainMs) return;
      this.#complainedAt.set(failure, performance.now());
      this.#deps.log.error({ err: error }, failure);
    }
  }

  async #retain(): Promise<void> {
    const { retentionDays } = this.#deps;
    if (retentionDays === undefined) return;
    if (performance.now() >= this.#retainDueAt) {
      this.#retainDueAt = performance.now() + hourMs;
      // Where the clock may be ahead no more is noted; what was before still goes.
      const { now, mayBeAhead } = await removalClock(this.#deps.sql);
      if (mayBeAhead) this.#deps.log.warn({ now }, `${leaptMessage}: old audit rows stay for a day`);
      else await this.#retention.note(retentionDays);
      this.#hasOldRows = true;
    }
    if (this.#hasOldRows) this.#hasOldRows = (await this.#retention.removeSome()).more;
  }
}
