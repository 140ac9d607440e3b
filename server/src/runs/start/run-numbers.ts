// A run's number is drawn while its start is still looked at, so that a start that goes through waits for no round trip
// more. One that is refused puts its number back, so that people see no holes; only the last that was drawn is used
// again, so that later runs have higher numbers.
import type { Sql } from '../../store/database/connection.ts';

export class RunNumbers {
  #last = 0;
  #unused: number | undefined;

  /** @param draw given a number to use in place of another, where no other server has drawn one since. */
  async draw<T extends { runId: number }>(
    draw: (unused: number | undefined) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const unused = this.#unused;
    this.#unused = undefined;
    const drawn = await draw(unused);
    if (drawn !== undefined) this.#last = Math.max(this.#last, drawn.runId);
    else if (unused !== undefined) this.putBack(unused);
    return drawn;
  }

  /** Nothing was or will be stored under it. */
  putBack(number: number): void {
    if (number === this.#last) this.#unused = number;
  }
}

const numbersOf = new WeakMap<Sql, RunNumbers>();

/** Those of this process, for a database. */
export function runNumbers(sql: Sql): RunNumbers {
  const numbers = numbersOf.get(sql) ?? new RunNumbers();
  numbersOf.set(sql, numbers);
  return numbers;
}
