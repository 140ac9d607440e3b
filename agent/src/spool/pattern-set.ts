// Finds any of many byte patterns in one pass (Wu and Manber 1994): a table over three-byte blocks says how far it is
// safe to jump, so most bytes are never looked at.

const blockBytes = 3;
/** Encoders wrap lines at this width or later, so the end of a shorter line is never inside a match. */
export const minWrapWidth = 60;
/** A longer window allows longer jumps, but needs more patterns for the line ends inside it. */
const maxWindowBytes = 24;
/** Sizes of the tables, in bits. With fewer entries per pattern the table fills up, and no jumps are possible. */
const tableBits = { least: 10, most: 19, perPattern: 6 } as const;

export interface Match {
  start: number;
  end: number;
}

export interface Pattern {
  bytes: Buffer;
  /**
   * How many line ends may occur in a match, at any place after a long line, because encoders wrap. `bytes` has none.
   */
  maxLineEnds: number;
}

export class PatternSet {
  /** Length of the longest match; 0 if there are no patterns. */
  readonly maxBytes: number;
  readonly patterns: readonly Pattern[];
  readonly #windowBytes: number;
  readonly #shift: number;
  readonly #jump: Uint8Array;
  /** The texts to find, with line ends inside the window written out. */
  readonly #bytes: Buffer[] = [];
  readonly #lineEnds: number[] = [];
  /** Position of the line end that was written out; -1 if there is none. */
  readonly #writtenEnds: number[] = [];
  /** The first bytes of each text as one number: its window has no other line ends than those written out. */
  readonly #heads: Int32Array;
  readonly #headMask: number;
  /** Distance from a match's first byte to its last, and that last byte; -1 if line ends may occur in between. */
  readonly #lastAt: Int32Array;
  readonly #last: Uint8Array;
  /**
   * For each text, the next one with the same last block in its window, or the same first two bytes; -1 if there is
   * none.
   */
  readonly #byWindow: Chains;
  readonly #byFirstTwo: Chains;

  /** @param patterns each of at least three bytes. */
  constructor(patterns: readonly (Buffer | Pattern)[]) {
    this.patterns = patterns.map((each) => ('maxLineEnds' in each ? each : { bytes: each, maxLineEnds: 0 }));
    const lengths = this.patterns.map(({ bytes }) => bytes.length);
    this.maxBytes = this.patterns.reduce(
      (most, { bytes, maxLineEnds }) => Math.max(most, bytes.length + 2 * maxLineEnds),
      0,
    );
    this.#windowBytes = lengths.reduce((least, length) => Math.min(least, length), maxWindowBytes);
    for (const pattern of this.patterns) this.#take(pattern);
    this.#headMask = this.#windowBytes < headBytes ? 0xffffff : -1;
    this.#heads = Int32Array.from(this.#bytes, (bytes) => headAt(bytes, 0) & this.#headMask);
    this.#lastAt = Int32Array.from(this.#bytes, ({ length }, at) =>
      this.#lineEnds[at] === 0 ? length - 1 : none,
    );
    this.#last = Uint8Array.from(this.#bytes, (bytes) => bytes.at(-1) as number);
    const bits = Math.ceil(Math.log2(this.#bytes.length + 1)) + tableBits.perPattern;
    this.#shift = 32 - Math.min(tableBits.most, Math.max(tableBits.least, bits));
    this.#jump = new Uint8Array(1 << (32 - this.#shift)).fill(this.#windowBytes - blockBytes + 1);
    this.#byWindow = new Chains(this.#jump.length, this.#bytes.length);
    this.#byFirstTwo = new Chains(this.#jump.length, this.#bytes.length);
    for (const [at, bytes] of this.#bytes.entries()) {
      for (let end = blockBytes; end <= this.#windowBytes; end++) {
        const hash = this.#hash(bytes, end);
        this.#jump[hash] = Math.min(this.#jump[hash] as number, this.#windowBytes - end);
      }
      this.#byWindow.add(this.#hash(bytes, this.#windowBytes), at);
      this.#byFirstTwo.add(firstTwo(bytes, 0, this.#shift), at);
    }
  }

  #take({ bytes, maxLineEnds }: Pattern): void {
    this.#bytes.push(bytes);
    this.#lineEnds.push(maxLineEnds);
    this.#writtenEnds.push(none);
    if (maxLineEnds === 0) return;
    for (let at = 1; at < this.#windowBytes; at++) {
      for (const lineEnd of ['\n', '\r\n']) {
        this.#bytes.push(Buffer.concat([bytes.subarray(0, at), Buffer.from(lineEnd), bytes.subarray(at)]));
        this.#lineEnds.push(maxLineEnds - 1);
        this.#writtenEnds.push(at);
      }
    }
  }

  /** Returns a set that finds these patterns as well. */
  with(more: readonly Pattern[]): PatternSet {
    return more.length === 0 ? this : new PatternSet([...this.patterns, ...more]);
  }

  /** Like `with`, but returns the existing set to anyone who recently asked for the very same patterns. */
  sharedWith(more: readonly Pattern[]): PatternSet {
    if (more.length === 0) return this;
    const patterns = [...this.patterns, ...more];
    const at = recent.findIndex((set) => isSame(set.deref()?.patterns ?? [], patterns));
    const found = recent.splice(at, at === -1 ? 0 : 1)[0]?.deref() ?? new PatternSet(patterns);
    recent.unshift(new WeakRef(found));
    recent.length = Math.min(recent.length, maxRecent);
    return found;
  }

  /**
   * Returns the matches in order, with overlapping ones joined. The first `alreadyMatched` bytes count as a match.
   *
   * @param column how many bytes of its line precede the data; a long line by default.
   */
  find(data: Buffer, alreadyMatched = 0, column = minWrapWidth): Match[] {
    const matches: Match[] = alreadyMatched > 0 ? [{ start: 0, end: alreadyMatched }] : [];
    if (this.maxBytes === 0) return matches;
    const jump = this.#jump;
    const window = this.#windowBytes;
    const shift = this.#shift;
    const { length } = data;
    let end = window;
    while (end <= length) {
      const hash = hashOf(data[end - 3] as number, data[end - 2] as number, data[end - 1] as number, shift);
      const distance = jump[hash] as number;
      if (distance > 0) {
        end += distance;
        continue;
      }
      const start = end - window;
      const matched = this.#longestAt(data, start, this.#byWindow.first(hash), column);
      if (matched > 0) addMatch(matches, start, start + matched);
      end += 1;
    }
    return matches;
  }

  /**
   * Returns where the longest end of the data that may be the beginning of a pattern begins; the data's length if none.
   */
  partialStart(data: Buffer, column = minWrapWidth): number {
    const { length } = data;
    for (let start = Math.max(0, length - this.maxBytes + 1); start < length - 1; start++) {
      let at = this.#byFirstTwo.first(firstTwo(data, start, this.#shift));
      for (; at !== none; at = this.#byFirstTwo.next(at)) {
        if (this.#matchAt(data, start, at, column) === cutOff) return start;
      }
    }
    const last = data[length - 1];
    return last !== undefined && this.#bytes.some((bytes) => bytes[0] === last) ? length - 1 : length;
  }

  #longestAt(data: Buffer, start: number, first: number, column: number): number {
    let longest = 0;
    const head = headAt(data, start) & this.#headMask;
    for (let at = first; at !== none; at = this.#byWindow.next(at)) {
      if (head !== this.#heads[at]) continue;
      // What is nearly a secret mostly has the same beginning, so the last byte rules most of them out.
      const lastAt = this.#lastAt[at] as number;
      if (lastAt !== none && data[start + lastAt] !== this.#last[at]) continue;
      if (lastAt !== none && !isAt(data, start, this.#bytes[at] as Buffer)) continue;
      const matched = this.#matchAt(data, start, at, column);
      if (matched > longest) longest = matched;
    }
    return longest;
  }

  #matchAt(data: Buffer, start: number, at: number, column: number): number {
    const matched = matchAt(data, start, this.#bytes[at] as Buffer, this.#lineEnds[at] as number, column);
    const writtenEnd = start + (this.#writtenEnds[at] as number);
    // A match that is cut off before its line end may still turn out to be in a long line.
    if (matched === 0 || writtenEnd < start || writtenEnd >= data.length) return matched;
    return endsLongLine(data, writtenEnd, column) ? matched : 0;
  }

  #hash(bytes: Buffer, end: number): number {
    return hashOf(bytes[end - 3] as number, bytes[end - 2] as number, bytes[end - 1] as number, this.#shift);
  }
}

/**
 * Building a set of fifty secrets takes about ten milliseconds, and every step of a run asks for one. Only their users
 * hold the sets: this cache must not keep opened secrets in memory.
 */
const maxRecent = 32;
const recent: WeakRef<PatternSet>[] = [];

/** Whether they are the same objects: comparing so many bytes would take too long. */
function isSame(some: readonly Pattern[], others: readonly Pattern[]): boolean {
  return some.length === others.length && some.every((pattern, at) => pattern === others[at]);
}

const none = -1;
const headBytes = 4;

function headAt(bytes: Buffer, at: number): number {
  const [a, b] = [bytes[at] as number, bytes[at + 1] as number];
  return a | (b << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24);
}

/** Lists of numbers by key, in two arrays. */
class Chains {
  readonly #first: Int32Array;
  readonly #next: Int32Array;

  constructor(keys: number, numbers: number) {
    this.#first = new Int32Array(keys).fill(none);
    this.#next = new Int32Array(numbers).fill(none);
  }

  add(key: number, number: number): void {
    this.#next[number] = this.#first[key] as number;
    this.#first[key] = number;
  }

  first(key: number): number {
    return this.#first[key] as number;
  }

  next(number: number): number {
    return this.#next[number] as number;
  }
}

const cutOff = -1;
const [carriageReturn, lineFeed] = [0x0d, 0x0a];

/** Returns the length of the pattern's match there: 0 if there is none, `cutOff` if the data ends inside it. */
function matchAt(data: Buffer, start: number, pattern: Buffer, maxLineEnds: number, column: number): number {
  const { length } = data;
  let at = start;
  let lineEnds = maxLineEnds;
  for (let place = 0; place < pattern.length; place++, at++) {
    while (at < length && data[at] !== pattern[place]) {
      if (lineEnds === 0 || place === 0) return 0;
      lineEnds -= 1;
      const end = at;
      if (data[at] === carriageReturn) at += 1;
      if (at < length && data[at] !== lineFeed) return 0;
      if (!endsLongLine(data, end, column)) return 0;
      at += 1;
    }
    if (at >= length) return cutOff;
  }
  return at - start;
}

/** Whether these bytes are there, given that the first and last ones are. */
function isAt(data: Buffer, start: number, bytes: Buffer): boolean {
  for (let at = bytes.length - 2; at >= headBytes; at--) if (data[start + at] !== bytes[at]) return false;
  return true;
}

/** Whether the line that ends here is at least as long as the shortest that encoders write. */
function endsLongLine(data: Buffer, end: number, column: number): boolean {
  const before = end === 0 ? -1 : data.lastIndexOf(lineFeed, end - 1);
  return (before === -1 ? column + end : end - before - 1) >= minWrapWidth;
}

/** Adds a match that begins with the last one or later; overlapping ones are joined. */
export function addMatch(matches: Match[], start: number, end: number): void {
  const last = matches.at(-1);
  if (last !== undefined && start < last.end) last.end = Math.max(last.end, end);
  else matches.push({ start, end });
}

/** A hash of three bytes, spread well so that ordinary text rarely collides. */
function hashOf(a: number, b: number, c: number, shift: number): number {
  return Math.imul(a | (b << 8) | (c << 16), 0x9e3779b1) >>> shift;
}

function firstTwo(bytes: Buffer, at: number, shift: number): number {
  return hashOf(bytes[at] as number, bytes[at + 1] as number, 0, shift);
}
