// Decides whose turn it is to read output from the database: a few reads at a time, users in turn. A user with few live
// streams never waits for a user with many, and many streams of one user don't keep the server busy with nothing else
// while their connections fill up, whether anybody reads from these or not.

const atATime = 3;
/**
 * Streams that a person may watch side by side. If more than this wait for one user, only one of them reads at a time,
 * with pauses.
 */
const fewOfEach = 8;
/** Length of a pause, as a multiple of the read before it. */
const pauseInReads = 5;
/** Longest pause, however long the read before it took. */
const maxPauseMs = 250;

interface Line {
  waiting: (() => void)[];
  underWay: number;
  isPausing: boolean;
}

export class StoredReads {
  /** By user, in the order of their turns. */
  readonly #lines = new Map<string, Line>();
  readonly #now: () => number;
  #free = atATime;

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Resolves when it is the turn of a reader of this user. Call the returned function afterwards, whatever happened.
   */
  async take(whose: string): Promise<() => void> {
    const line = this.#lines.get(whose) ?? { waiting: [], underWay: 0, isPausing: false };
    this.#lines.set(whose, line);
    await new Promise<void>((resolve) => {
      line.waiting.push(resolve);
      this.#serve();
    });
    const beganMs = this.#now();
    return () => this.#done(line, this.#now() - beganMs);
  }

  #serve(): void {
    for (const [whose, line] of this.#lines) {
      if (this.#free === 0) return;
      const most = line.waiting.length > fewOfEach ? 1 : atATime;
      const next = line.isPausing || line.underWay >= most ? undefined : line.waiting.shift();
      const isIdle = line.waiting.length === 0 && line.underWay === 0 && !line.isPausing;
      if (next !== undefined || isIdle) this.#lines.delete(whose);
      if (next === undefined) continue;
      // Put at the end of this round, which will get to it once more.
      this.#lines.set(whose, line);
      line.underWay += 1;
      this.#free -= 1;
      next();
    }
  }

  #done(line: Line, tookMs: number): void {
    this.#free += 1;
    line.underWay -= 1;
    if (line.waiting.length > fewOfEach && !line.isPausing) {
      line.isPausing = true;
      const pause = setTimeout(
        () => {
          line.isPausing = false;
          this.#serve();
        },
        Math.min(pauseInReads * tookMs, maxPauseMs),
      );
      pause.unref();
    }
    this.#serve();
  }
}
