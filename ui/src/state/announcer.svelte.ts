/** Says things to screen readers: changes of state and page, never output. */
class Announcer {
  text = $state('');

  /** What is said twice is heard twice: a text that stays the same is no change that is read out. */
  say(text: string): void {
    this.text = text === this.text ? `${text}\u00a0` : text;
  }
}

export const announcer = new Announcer();
