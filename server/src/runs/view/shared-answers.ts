// One answer for all who ask the same while it is made. It is read after each of them has asked, so that nobody is told
// what was so before; and what takes long rests in between, so that a hundred readers who ask every few seconds
// are a part of the database's work, and one connection.

/** As long as the work, so many times. */
const restsPerWork = 3;
const longestRestMs = 1_000;

interface Line<T> {
  /** Of those who asked since the last answer was begun. */
  next: { begin: () => void; answer: Promise<T> } | undefined;
}

export class SharedAnswers<T> {
  readonly #lines = new Map<string, Line<T>>();

  /**
   * Begins at once where nobody else has asked just before.
   *
   * @param key says what is asked for and what it depends on: the caller's reaches.
   */
  ask(key: string, read: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(key);
    if (line === undefined) {
      const begun: Line<T> = { next: undefined };
      this.#lines.set(key, begun);
      return this.#read(key, begun, read);
    }
    if (line.next === undefined) {
      let begin = () => {};
      const begun = new Promise<void>((resolve) => {
        begin = resolve;
      });
      line.next = { begin, answer: begun.then(() => this.#read(key, line, read)) };
    }
    return line.next.answer;
  }

  #read(key: string, line: Line<T>, read: () => Promise<T>): Promise<T> {
    const begunAt = performance.now();
    const answer = read();
    const rest = () => {
      const restMs = Math.min(longestRestMs, restsPerWork * (performance.now() - begunAt));
      setTimeout(() => this.#goOn(key, line), restMs).unref();
    };
    answer.then(rest, rest);
    return answer;
  }

  #goOn(key: string, line: Line<T>): void {
    const { next } = line;
    line.next = undefined;
    if (next === undefined) this.#lines.delete(key);
    else next.begin();
  }
}
