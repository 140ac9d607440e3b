// Compares patterns with one piece of output, and counts what that takes. Whoever prints may know the patterns and may
// even have chosen them: a text that repeats itself matches at each place, and nearly matches at many more.

/** Encoders wrap lines at this width or later, so the end of a shorter line is never inside a match. */
export const minWrapWidth = 60;

export interface Pattern {
  bytes: Buffer;
  /**
   * How many line ends may occur in a match, at any place after a long line, because encoders wrap. `bytes` has none.
   */
  maxLineEnds: number;
}

const cutOff = -1;
const [carriageReturn, lineFeed] = [0x0d, 0x0a];

/** What one piece may take, in steps: far more than any text that was not made for it. */
const stepsPerByte = 32;
const leastSteps = 1_000_000;
/** Comparing this many bytes at once takes about as long as one of the other steps. */
const bytesPerStep = 32;
/** From this length on, the call of a native comparison pays. */
const nativeBytes = 64;

export class Comparison {
  readonly #data: Buffer;
  readonly #column: number;
  #stepsLeft: number;
  /** The first line end at or after a place that was asked for. */
  #lineEnd = -1;
  /** The last match without line ends. */
  #last: { pattern: Pattern; start: number } | undefined;

  /** @param column how many bytes of its line precede the data. */
  constructor(data: Buffer, column: number) {
    this.#data = data;
    this.#column = column;
    this.#stepsLeft = Math.max(leastSteps, stepsPerByte * data.length);
  }

  /** Whether it took more than it may. */
  get isOver(): boolean {
    return this.#stepsLeft < 0;
  }

  spend(steps: number): void {
    this.#stepsLeft -= steps;
  }

  /** Returns the length of the pattern's match there; 0 if there is no complete one. */
  wholeAt(start: number, pattern: Pattern): number {
    const { bytes, maxLineEnds } = pattern;
    if (this.#isAt(start, pattern)) return bytes.length;
    if (maxLineEnds === 0 || this.#nextLineEnd(start) > start + bytes.length) return 0;
    return Math.max(0, this.#matchAt(start, pattern));
  }

  /** Whether the data ends inside what may be the pattern. */
  isCutOffAt(start: number, pattern: Pattern): boolean {
    const longest = pattern.bytes.length + 2 * pattern.maxLineEnds;
    return start + longest > this.#data.length && this.#matchAt(start, pattern) === cutOff;
  }

  /** Returns the length of the pattern's match there: 0 if there is none, `cutOff` if the data ends inside it. */
  #matchAt(start: number, { bytes, maxLineEnds }: Pattern): number {
    const data = this.#data;
    const { length } = data;
    let at = start;
    let lineEnds = maxLineEnds;
    for (let place = 0; place < bytes.length; place++, at++) {
      while (at < length && data[at] !== bytes[place]) {
        this.#stepsLeft -= 1;
        if (lineEnds === 0 || place === 0) return this.#after(at - start, 0);
        lineEnds -= 1;
        const end = at;
        if (data[at] === carriageReturn) at += 1;
        if (at < length && data[at] !== lineFeed) return this.#after(at - start, 0);
        if (!this.#endsLongLine(end)) return this.#after(at - start, 0);
        at += 1;
      }
      if (at >= length) return this.#after(at - start, cutOff);
    }
    return this.#after(at - start, at - start);
  }

  #after(steps: number, result: number): number {
    this.#stepsLeft -= steps;
    return result;
  }

  /** Whether the pattern is there without line ends. */
  #isAt(start: number, pattern: Pattern): boolean {
    const { bytes } = pattern;
    const data = this.#data;
    const end = start + bytes.length;
    // What is nearly a secret mostly has the same beginning, so the last byte rules most of them out.
    if (end > data.length || data[end - 1] !== bytes[bytes.length - 1]) return false;
    let from = 0;
    if (this.#last?.pattern === pattern && start < this.#last.start + bytes.length) {
      const distance = start - this.#last.start;
      if (distance === 0) return true;
      // Two copies can overlap only where the text repeats itself, and then just the rest has to be compared.
      if (!periodsOf(pattern).has(distance)) return false;
      from = bytes.length - distance;
    }
    this.#stepsLeft -= 1 + Math.floor((bytes.length - from) / bytesPerStep);
    if (bytes.length - from >= nativeBytes) {
      if (data.compare(bytes, from, bytes.length, start + from, end) !== 0) return false;
    } else for (let at = bytes.length - 2; at >= from; at--) if (data[start + at] !== bytes[at]) return false;
    this.#last = { pattern, start };
    return true;
  }

  #nextLineEnd(from: number): number {
    if (this.#lineEnd < from) {
      const found = this.#data.indexOf(lineFeed, from);
      this.#lineEnd = found === -1 ? Number.POSITIVE_INFINITY : found;
    }
    return this.#lineEnd;
  }

  /** Whether the line that ends here is at least as long as the shortest that encoders write. */
  #endsLongLine(end: number): boolean {
    const from = Math.max(0, end - minWrapWidth);
    for (let at = end - 1; at >= from; at--) if (this.#data[at] === lineFeed) return false;
    return end >= minWrapWidth || this.#column + end >= minWrapWidth;
  }
}

const known = new WeakMap<Pattern, ReadonlySet<number>>();

/** Returns the distances at which a copy of the text may begin inside another (Knuth, Morris and Pratt 1977). */
function periodsOf(pattern: Pattern): ReadonlySet<number> {
  const found = known.get(pattern);
  if (found !== undefined) return found;
  const { bytes } = pattern;
  /** For each beginning of the text, how much of its end is also its beginning. */
  const borders = new Int32Array(bytes.length + 1).fill(-1);
  for (let length = 1, border = -1; length <= bytes.length; length++) {
    while (border >= 0 && bytes[border] !== bytes[length - 1]) border = borders[border] as number;
    border += 1;
    borders[length] = border;
  }
  const periods = new Set<number>();
  for (let border = borders[bytes.length] as number; border > 0; border = borders[border] as number)
    periods.add(bytes.length - border);
  known.set(pattern, periods);
  return periods;
}
