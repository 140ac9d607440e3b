// Every second: checks whether the log is still the same, seals what was written, and removes what retention allows.
// Any server may seal; only one does at a time.
import type { SignedCheckpoint } from '@opsconductor/protocol/audit';
import { leaptMessage, removalClock } from '../../store/queue/sweep/sweep.ts';
import { LogWatch, type LogWatchDeps } from './log-watch.ts';
import { Retention } from './retention.ts';
import { type SealDeps, sealRows } from './seal-rows.ts';

const sealMs = 1_000;
const hourMs = 3_600_000;
/** How often something that fails every second is logged. */
const complainMs = 60_000;

export interface SealerDeps extends SealDeps, Pick<LogWatchDeps, 'onOtherLog'> {
  /** Undefined: rows are kept forever. */
  retentionDays: number | undefined;
  /** Called after each round on this server, whichever server sealed. */
  onRound?(): Promise<void>;
}

export class AuditSealer {
  readonly #deps: SealerDeps;
  readonly #watch: LogWatch;
  readonly #retention: Retention;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<unknown> | undefined;
  readonly #complainedAt = new Map<string, number>();
  /** By a monotonic clock. */
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

  /** Seals once more, so that a server that stops in an orderly way leaves nothing unsealed. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
    await this.#round();
  }

  /** Seals everything that waits; returns the checkpoints that were made. */
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
    // Looks before sealing, so that a log that continues is still compared with what it was.
    await this.#attempt(
      'the audit log could not be checked for rows cut off or removed; the check is retried every second',
      () => this.#watch.look(),
    );
    await this.#attempt(
      'the audit log could not be sealed; new rows wait, and sealing is retried every second',
      () => this.seal(),
    );
    await this.#attempt(
      'checkpoints of the audit log could not be appended to the checkpoint file; this is retried every second',
      async () => this.#deps.onRound?.(),
    );
    await this.#attempt('old audit rows could not be removed; this is retried within an hour', () =>
      this.#retain(),
    );
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
      // While the clock may be ahead, no new note is written; rows that earlier notes name are still removed.
      const { now, mayBeAhead } = await removalClock(this.#deps.sql);
      if (mayBeAhead)
        this.#deps.log.warn({ now }, `${leaptMessage}: no old audit rows are marked for removal for a day`);
      else await this.#retention.note(retentionDays);
      this.#hasOldRows = true;
    }
    if (this.#hasOldRows) this.#hasOldRows = (await this.#retention.removeSome()).more;
  }
}
