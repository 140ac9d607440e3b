// This server hears of its own changes twice: at once from its own code, and from the bus. The second time is no news.
const maxRemembered = 2_000;

export class HeardNews {
  readonly #marks = new Set<string>();

  /** Whether any of these events is new. News that name no run are always new. */
  isNew(runs: readonly { id: number; seq: number }[]): boolean {
    let isNew = runs.length === 0;
    for (const { id, seq } of runs) {
      const mark = `${id}.${seq}`;
      if (this.#marks.delete(mark)) continue;
      isNew = true;
      this.#marks.add(mark);
    }
    for (const oldest of this.#marks) {
      if (this.#marks.size <= maxRemembered) break;
      this.#marks.delete(oldest);
    }
    return isNew;
  }
}
