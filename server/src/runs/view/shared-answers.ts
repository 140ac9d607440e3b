// Gives one answer to everyone who asks the same thing at the same time. The answer is always read after the question
// was asked, so nobody gets an outdated one. Between reads there is a rest that is longer if answers are slow, so that
// a hundred readers who ask every few seconds cost the database one connection and only part of its time.

/** Length of the rest, as a multiple of the time that reading took. */
const restsPerWork = 3;
const longestRestMs = 1_000;
/**
 * After this time an answer may never come, for example on a connection that has gone silent: others no longer wait for
 * it.
 */
const lateMs = 10_000;

interface Shared<T> {
  answer: Promise<T>;
  /** Resolves when the answer is late. */
  late: Promise<void>;
}

interface Line<T> {
  /** The answer for those who have asked since the last read began. */
  next: ({ begin: () => void } & Shared<T>) | undefined;
}

export class SharedAnswers<T> {
  readonly #lines = new Map<string, Line<T>>();

  /**
   * Reads at once if nobody else has asked shortly before. If the answer is late, it is asked for once more.
   *
   * @param key identifies the question and everything that the answer depends on, such as the caller's reaches.
   */
  ask(key: string, read: () => Promise<T>): Promise<T> {
    const { answer, late } = this.#join(key, read);
    return Promise.race([answer, late.then(() => this.#join(key, read).answer)]);
  }

  #join(key: string, read: () => Promise<T>): Shared<T> {
    const line = this.#lines.get(key);
    if (line === undefined) {
      const begun: Line<T> = { next: undefined };
      this.#lines.set(key, begun);
      return this.#read(key, begun, read);
    }
    if (line.next === undefined) {
      let begin = () => {};
      const reading = new Promise<Shared<T>>((resolve) => {
        begin = () => resolve(this.#read(key, line, read));
      });
      line.next = {
        begin,
        answer: reading.then(({ answer }) => answer),
        late: reading.then(({ late }) => late),
      };
    }
    return line.next;
  }

  #read(key: string, line: Line<T>, read: () => Promise<T>): Shared<T> {
    const begunAt = performance.now();
    const answer = read();
    const late = new Promise<void>((resolve) => {
      let hasGoneOn = false;
      const goOn = () => {
        if (!hasGoneOn) this.#goOn(key, line);
        hasGoneOn = true;
      };
      const timer = setTimeout(() => {
        resolve();
        goOn();
      }, lateMs).unref();
      const rest = () => {
        clearTimeout(timer);
        const restMs = Math.min(longestRestMs, restsPerWork * (performance.now() - begunAt));
        setTimeout(goOn, restMs).unref();
      };
      answer.then(rest, rest);
    });
    return { answer, late };
  }

  #goOn(key: string, line: Line<T>): void {
    const { next } = line;
    line.next = undefined;
    if (next === undefined) this.#lines.delete(key);
    else next.begin();
  }
}
