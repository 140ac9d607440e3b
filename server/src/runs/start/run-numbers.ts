// Draws the number of a run while its start is still being checked, which saves a successful start one round trip. A
// refused start puts its number back, so that people see no gaps. Only the last number drawn is used again, so that
// later runs always have higher numbers.
import type { Sql } from '../../store/database/connection.ts';

export class RunNumbers {
  #last = 0;
  #unused: number | undefined;

  /** @param draw draws a number, or uses the given unused one if no other server has drawn a number since. */
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

  /** Gives a number back. Call it only if nothing was or will be stored under it. */
  putBack(number: number): void {
    if (number === this.#last) this.#unused = number;
  }
}

const numbersOf = new WeakMap<Sql, RunNumbers>();

/** Returns the numbers that this process draws for a database. */
export function runNumbers(sql: Sql): RunNumbers {
  const numbers = numbersOf.get(sql) ?? new RunNumbers();
  numbersOf.set(sql, numbers);
  return numbers;
}
