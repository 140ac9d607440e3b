import { statfs } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type Postmaster, type PostmasterContext, startPostmaster, stopPostmaster } from './postmaster.ts';

/** Pause before each start, by how many failed starts and short lives preceded it. */
const backoffMs = [0, 200, 500, 1_000, 2_000, 5_000];
/** After this many failed starts in a row it is given up. One that was ready and ends is restarted without limit. */
const maxVainStarts = 6;
/** A postmaster that ran this long was healthy: the next one is started at once. */
const healthyAfterMs = 60_000;
/** A pause from this length on is reported, because a person would notice it. */
const toldFromMs = 1_000;
const trimEveryMs = 60_000;
/** A start replays the write-ahead log and needs a new segment for it, of 16 MiB. */
const minFreeBytes = 32 * 1024 * 1024;
const lookForRoomMs = 5_000;

export interface PostgresExit {
  /** True after stop(). */
  expected: boolean;
  reason: string;
}

/** Dependencies; tests replace them. */
export interface SupervisorParts {
  start(context: PostmasterContext, port: number): Promise<Postmaster>;
  /** Free bytes that the database's account may still write. */
  freeBytes(directory: string): Promise<number>;
  pause(ms: number, signal: AbortSignal): Promise<void>;
  nowMs(): number;
}

const realParts: SupervisorParts = {
  start: startPostmaster,
  async freeBytes(directory) {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  },
  pause: (ms, signal) => delay(ms, undefined, { signal }).catch(() => {}),
  nowMs: () => performance.now(),
};

/** Keeps a postmaster running on one port, so that pools reconnect by themselves. */
export class PostgresSupervisor {
  readonly exited: Promise<PostgresExit>;
  readonly #context: PostmasterContext;
  readonly #parts: SupervisorParts;
  readonly #stopping = new AbortController();
  #postmaster: Postmaster;

  constructor(context: PostmasterContext, postmaster: Postmaster, parts: Partial<SupervisorParts> = {}) {
    this.#context = context;
    this.#parts = { ...realParts, ...parts };
    this.#postmaster = postmaster;
    this.exited = this.#supervise();
  }

  get pid(): number {
    return this.#postmaster.pid;
  }

  get port(): number {
    return this.#postmaster.port;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.exited;
  }

  async #supervise(): Promise<PostgresExit> {
    const { log, postgresLog } = this.#context;
    const trimming = setInterval(() => {
      postgresLog.trim().catch((error) => log(`${postgresLog.path} could not be truncated: ${error}`));
    }, trimEveryMs);
    // One for all lives, because each would leave its listener behind.
    const stopped = aborted(this.#stopping.signal);
    try {
      for (let shortLives = 0; ; ) {
        const startedAt = this.#parts.nowMs();
        const how = await Promise.race([this.#postmaster.ended, stopped]);
        if (how === undefined) {
          await stopPostmaster(this.#postmaster, this.#context.cluster, log);
          return { expected: true, reason: 'stopped' };
        }
        log(`PostgreSQL (process id ${this.pid}) ended unexpectedly: ${how}`);
        if (this.#parts.nowMs() - startedAt > healthyAfterMs) shortLives = 0;
        const final = await this.#restart(shortLives);
        if (final !== undefined) return final;
        shortLives += 1;
      }
    } finally {
      clearInterval(trimming);
    }
  }

  /** Resolves when PostgreSQL is ready again, or with the final exit. */
  async #restart(shortLives: number): Promise<PostgresExit | undefined> {
    const { log } = this.#context;
    const { start, pause } = this.#parts;
    const { signal } = this.#stopping;
    let reason = '';
    let isFull = await this.#isFull();
    for (let vainStarts = 0; vainStarts < maxVainStarts; ) {
      const pauseMs = isFull ? lookForRoomMs : backoffAfter(shortLives + vainStarts);
      if (!isFull && pauseMs >= toldFromMs) log(`PostgreSQL is started again in ${pauseMs / 1_000} s`);
      await pause(pauseMs, signal);
      if (signal.aborted) return { expected: true, reason: 'stopped' };
      // On a full disk a start can only fail, and once there is room nothing else is wrong.
      if (isFull && (await this.#hasNoRoom())) continue;
      try {
        this.#postmaster = await start(this.#context, this.port);
        log(`PostgreSQL runs again on port ${this.port} (process id ${this.pid})`);
        return undefined;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
        log(`PostgreSQL could not be started again: ${reason}`);
      }
      isFull = await this.#isFull();
      if (!isFull) vainStarts += 1;
    }
    return { expected: false, reason };
  }

  /** Also logs it if the disk is full. */
  async #isFull(): Promise<boolean> {
    const isFull = await this.#hasNoRoom();
    const { log, home } = this.#context;
    if (isFull) log(`The disk of ${home} is full: PostgreSQL is started again once there is room`);
    return isFull;
  }

  async #hasNoRoom(): Promise<boolean> {
    const free = await this.#parts.freeBytes(this.#context.cluster.directory).catch(() => minFreeBytes);
    return free < minFreeBytes;
  }
}

function backoffAfter(count: number): number {
  return backoffMs[Math.min(count, backoffMs.length - 1)] ?? 0;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
