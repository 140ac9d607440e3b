// Names for copies of jobs that already exist: `Patch (copy)`, `Patch (copy 2)` and so on.
import type { Queryable } from '../../../store/database/connection.ts';
import { takenJobNames } from '../../../store/jobs/job-bundles.ts';

const maxNameChars = 100;
const namesAtATime = 50;

export class CopyNames {
  readonly #sql: Queryable;
  readonly #taken: { has(name: string): boolean };
  /** The next number to try, by the first name of the copies: a file may have thousands of jobs of one name. */
  readonly #next = new Map<string, number>();

  /** @param taken names that jobs of the import have or will have. */
  constructor(sql: Queryable, taken: { has(name: string): boolean }) {
    this.#sql = sql;
    this.#taken = taken;
  }

  /** Returns a name that no job has and that is not taken; never the same one twice. */
  async free(name: string): Promise<string> {
    const first = copyOf(name, 1);
    for (let from = this.#next.get(first) ?? 1; ; from += namesAtATime) {
      const names = Array.from({ length: namesAtATime }, (_, n) => copyOf(name, from + n));
      const inUse = await takenJobNames(this.#sql, names);
      const at = names.findIndex((one) => !inUse.has(one) && !this.#taken.has(one));
      if (at < 0) continue;
      this.#next.set(first, from + at + 1);
      return names[at] as string;
    }
  }
}

function copyOf(name: string, n: number): string {
  const suffix = n === 1 ? ' (copy)' : ` (copy ${n})`;
  const room = maxNameChars - suffix.length;
  const short = [...name].reduce(
    (text, char) => (text.length + char.length <= room ? text + char : text),
    '',
  );
  return `${short.trimEnd()}${suffix}`;
}
