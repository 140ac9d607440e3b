/** Announces things to screen readers: changes of state and page, never output. */
class Announcer {
  text = $state('');

  /** Announces a text. A repeated text gets a space added, as an unchanged text would not be read out again. */
  say(text: string): void {
    this.text = text === this.text ? `${text}\u00a0` : text;
  }
}

export const announcer = new Announcer();
