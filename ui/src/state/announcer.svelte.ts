const withinMs = 1_000;

/** Announces things to screen readers: changes of state and page, never output. */
class Announcer {
  text = $state('');
  #done: { text: string; untilMs: number } | undefined;

  /** Announces a text. A repeated text gets a space added, as an unchanged text would not be read out again. */
  say(text: string): void {
    const done = this.#done;
    this.#done = undefined;
    const whole = done === undefined || performance.now() > done.untilMs ? text : `${done.text}. ${text}`;
    this.text = whole === this.text ? `${whole}\u00a0` : whole;
  }

  /**
   * Announces what was done. It often leads to another page or row, which is announced in the next moment and would cut
   * this off: it is announced with it then.
   */
  sayDone(text: string): void {
    this.#done = undefined;
    this.say(text);
    this.#done = { text, untilMs: performance.now() + withinMs };
  }
}

export const announcer = new Announcer();
