// Decides whose turn it is to do what keeps the server or its database busy, such as reading output for live streams: a
// few pieces of work at a time, users in turn. A user with little of it never waits for a user with much, and the work
// of one user, such as for many streams that nobody reads, doesn't keep the server busy with nothing else.

const atATime = 3;
/** A person may watch this many streams side by side. */
const fewOfEach = 8;
/** Length of a pause, as a multiple of the work before it. */
const pauseInWork = 5;
/** Longest pause, however long the work before it took. */
const maxPauseMs = 250;

interface Line {
  waiting: (() => void)[];
  underWay: number;
  isPausing: boolean;
}

export interface UserTurnsOptions {
  now?: () => number;
  /** How many pieces of work are done at a time; 3 by default. */
  most?: number;
  /** If more than this wait for one user, they are done one at a time, with pauses; 8 by default. */
  few?: number;
}

export class UserTurns {
  /** By user, in the order of their turns. */
  readonly #lines = new Map<string, Line>();
  readonly #now: () => number;
  readonly #most: number;
  readonly #few: number;
  #free: number;

  constructor({ now = () => performance.now(), most = atATime, few = fewOfEach }: UserTurnsOptions = {}) {
    this.#now = now;
    this.#most = most;
    this.#few = few;
    this.#free = most;
  }

  /** Resolves when it is this user's turn. Call the returned function afterwards, whatever happened. */
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
      const most = line.waiting.length > this.#few ? 1 : this.#most;
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
    if (line.waiting.length > this.#few && !line.isPausing) {
      line.isPausing = true;
      const pause = setTimeout(
        () => {
          line.isPausing = false;
          this.#serve();
        },
        Math.min(pauseInWork * tookMs, maxPauseMs),
      );
      pause.unref();
    }
    this.#serve();
  }
}
