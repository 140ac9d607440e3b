// One answer for all who ask the same while it is made. It is read after each of them has asked, so that nobody is told
// what was so before; and what takes long rests in between, so that a hundred readers who ask every few seconds
// are a part of the database's work, and one connection.

/** As long as the work, so many times. */
const restsPerWork = 3;
const longestRestMs = 1_000;
/** What is not there by then may never come, as over a connection that says nothing any more: others don't wait for it. */
const lateMs = 10_000;

interface Shared<T> {
  answer: Promise<T>;
  /** Resolves when the answer is late. */
  late: Promise<void>;
}

interface Line<T> {
  /** Of those who asked since the last answer was begun. */
  next: ({ begin: () => void } & Shared<T>) | undefined;
}

export class SharedAnswers<T> {
  readonly #lines = new Map<string, Line<T>>();

  /**
   * Begins at once where nobody else has asked just before. Where the answer is late it is asked for once more.
   *
   * @param key says what is asked for and what it depends on: the caller's reaches.
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
