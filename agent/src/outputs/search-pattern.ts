// Searches a command's output for an author's pattern; the last match counts. Both are hostile: one search looks at no
// more than it can in about half a second, and all searches of a step at no more than they can in two seconds.
import { compilePattern, isPattern, matchesOf } from '@opsconductor/protocol';

/** Bound on the size of a pattern times the number of characters that it is matched against. */
const maxSearchSteps = 8_000_000;
const maxTotalMs = 2_000;
/** The longest that other work of the agent has to wait between two matches. */
const turnMs = 25;

/** The time that the searches of one step may take together. */
export class SearchTime {
  #usedMs = 0;
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get isOver(): boolean {
    return this.#usedMs > maxTotalMs;
  }

  /** Returns the last generated value that is not undefined, among as many as there is time for. */
  async lastOf<T>(all: Iterator<T | undefined>): Promise<T | undefined> {
    let last: T | undefined;
    let began = this.#now();
    for (;;) {
      const next = all.next();
      if (next.done !== true) last = next.value ?? last;
      const ms = this.#now() - began;
      if (next.done !== true && ms < turnMs) continue;
      this.#usedMs += ms;
      if (next.done === true || this.isOver) return last;
      await new Promise(setImmediate);
      began = this.#now();
    }
  }
}

export type Found = { value: string } | { missing: string };

/** @param isWhole whether the text begins where the stream does. */
export async function searchPattern(
  source: string,
  text: string,
  time: SearchTime,
  isWhole = true,
): Promise<Found> {
  const pattern = compilePattern(source);
  if (!isPattern(pattern)) return { missing: 'its pattern is not a valid one' };
  const room = Math.floor(maxSearchSteps / pattern.size);
  const searched = text.length > room ? text.slice(text.length - room) : text;
  const isAll = isWhole && searched.length === text.length;
  const value = await time.lastOf(matchesOf(source, isAll ? searched : fromLineStart(searched)));
  if (time.isOver) return { missing: 'looking for its pattern took more than two seconds' };
  if (value !== undefined) return { value };
  const kib = Math.max(1, Math.round(Buffer.byteLength(searched) / 1024));
  return { missing: isAll ? 'its pattern matches nowhere' : `its pattern is not in the last ${kib} KiB` };
}

/** `^` must not match at a line whose beginning was cut off. */
function fromLineStart(text: string): string {
  const end = text.indexOf('\n');
  return end === -1 ? text : text.slice(end + 1);
}
