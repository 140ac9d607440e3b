// Whose turn it is to read output from the database: some at a time, of one user after the other. Who has few live streams
// never waits for who has many, and many of one user do not keep the server at nothing else while their connections fill, read or not.

const atATime = 3;
/** As many as somebody looks at side by side. Of a user of whom more wait than this one is read at a time, with pauses. */
const fewOfEach = 8;
/** A pause is as long as so many reads as the one before it, */
const pauseInReads = 5;
/** and no longer than this, however long that one waited for the database. */
const maxPauseMs = 250;

interface Line {
  waiting: (() => void)[];
  underWay: number;
  isPausing: boolean;
}

export class StoredReads {
  /** By user, in the order in which these have their turn. */
  readonly #lines = new Map<string, Line>();
  readonly #now: () => number;
  #free = atATime;

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** Resolves when it is the turn of a reader of this user, with what is to be called afterwards, whatever happened. */
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
      // To the end of the round, which comes to it once more.
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
