// Finds any of many byte patterns in one pass (Wu and Manber 1994): a table over three-byte blocks says how far it is
// safe to jump, so most bytes are never looked at. What takes longer than any ordinary output counts as a match.
import { Turn } from '../timing/turn.ts';
import { Comparison, minWrapWidth, type Pattern } from './comparison.ts';

const blockBytes = 3;
/** A longer window allows longer jumps, but needs more windows for the line ends inside it. */
const maxWindowBytes = 24;
/** Sizes of the tables, in bits. With fewer entries per window the table fills up, and no jumps are possible. */
const tableBits = { least: 10, most: 19, perWindow: 6 } as const;
const lineEnds = [Buffer.from('\n'), Buffer.from('\r\n')];
/** So many are added before other work may have its turn, in far less time than a turn. */
const patternsAtATime = 256;
/** Entries of a list that are passed over in about the time that comparing takes. */
const entriesPerStep = 8;

export interface Match {
  start: number;
  end: number;
}

export class PatternSet {
  /** Length of the longest match; 0 if there are no patterns. */
  readonly maxBytes: number;
  readonly patterns: readonly Pattern[];
  readonly #windowBytes: number;
  readonly #shift: number;
  readonly #jump: Uint8Array;
  /**
   * The pattern that each window belongs to. A window is the beginning of a pattern, as it is or with a line end written
   * out at one of its places: lines are longer than a window, so it has no other.
   */
  readonly #patternOf: Int32Array;
  /** The first bytes of each window as one number. */
  readonly #heads: Int32Array;
  readonly #headMask: number;
  /**
   * For each window, the next one with the same last block, or the same first two bytes; -1 if there is none. Of the
   * windows of a pattern with the same first two bytes, only one is in the second list.
   */
  readonly #byWindow: Chains;
  readonly #byFirstTwo: Chains;
  /** 1 for each byte that a pattern begins with. */
  readonly #begins = new Uint8Array(256);

  /** Resolves once all patterns are found. */
  #ready: Promise<void> = Promise.resolve();

  /**
   * @param patterns each of at least three bytes.
   * @param inTurns whether other work goes on meanwhile; the set may be used once it is `#ready`.
   */
  constructor(patterns: readonly (Buffer | Pattern)[], inTurns = false) {
    this.patterns = patterns.map((each) => ('maxLineEnds' in each ? each : { bytes: each, maxLineEnds: 0 }));
    let windows = 0;
    let maxBytes = 0;
    let windowBytes = maxWindowBytes;
    for (const { bytes, maxLineEnds } of this.patterns) {
      maxBytes = Math.max(maxBytes, bytes.length + 2 * maxLineEnds);
      windowBytes = Math.min(windowBytes, bytes.length);
    }
    for (const { maxLineEnds } of this.patterns)
      windows += maxLineEnds === 0 ? 1 : 1 + lineEnds.length * (windowBytes - 1);
    this.maxBytes = maxBytes;
    this.#windowBytes = windowBytes;
    this.#headMask = windowBytes < headBytes ? 0xffffff : -1;
    this.#patternOf = new Int32Array(windows);
    this.#heads = new Int32Array(windows);
    const bits = Math.ceil(Math.log2(windows + 1)) + tableBits.perWindow;
    this.#shift = 32 - Math.min(tableBits.most, Math.max(tableBits.least, bits));
    this.#jump = new Uint8Array(1 << (32 - this.#shift)).fill(windowBytes - blockBytes + 1);
    this.#byWindow = new Chains(this.#jump.length, windows);
    this.#byFirstTwo = new Chains(this.#jump.length, windows);
    if (inTurns) this.#ready = this.#addInTurns();
    else for (const _ of this.#adding());
  }

  async #addInTurns(): Promise<void> {
    const turn = new Turn();
    for (const _ of this.#adding()) if (turn.isOver) await turn.next();
  }

  /** Adds the windows of all patterns, a few patterns at a time. */
  *#adding(): Generator<void> {
    const windowBytes = this.#windowBytes;
    const written = Buffer.alloc(windowBytes + 2);
    let window = 0;
    for (const [pattern, { bytes, maxLineEnds }] of this.patterns.entries()) {
      if (pattern % patternsAtATime === patternsAtATime - 1) yield;
      this.#begins[bytes[0] as number] = 1;
      this.#addWindow(window++, pattern, bytes, true);
      if (maxLineEnds === 0) continue;
      for (let place = 1; place < windowBytes; place++) {
        for (const lineEnd of lineEnds) {
          bytes.copy(written, 0, 0, place);
          lineEnd.copy(written, place);
          bytes.copy(written, place + lineEnd.length, place, windowBytes);
          this.#addWindow(window++, pattern, written, place === 1);
        }
      }
    }
  }

  #addWindow(window: number, pattern: number, bytes: Buffer, hasOtherStart: boolean): void {
    this.#patternOf[window] = pattern;
    this.#heads[window] = headAt(bytes, 0) & this.#headMask;
    for (let end = blockBytes; end <= this.#windowBytes; end++) {
      const hash = this.#hash(bytes, end);
      this.#jump[hash] = Math.min(this.#jump[hash] as number, this.#windowBytes - end);
    }
    this.#byWindow.add(this.#hash(bytes, this.#windowBytes), window);
    if (hasOtherStart) this.#byFirstTwo.add(firstTwo(bytes, 0, this.#shift), window);
  }

  /** Returns a set that finds these patterns as well. Other work goes on while it is made. */
  async with(more: readonly Pattern[]): Promise<PatternSet> {
    if (more.length === 0) return this;
    const set = new PatternSet([...this.patterns, ...more], true);
    await set.#ready;
    return set;
  }

  /** Like `with`, but returns the existing set to anyone who recently asked for the very same patterns. */
  async sharedWith(more: readonly Pattern[]): Promise<PatternSet> {
    if (more.length === 0) return this;
    const patterns = [...this.patterns, ...more];
    const at = recent.findIndex((set) => isSame(set.deref()?.patterns ?? [], patterns));
    const found = recent.splice(at, at === -1 ? 0 : 1)[0]?.deref() ?? new PatternSet(patterns, true);
    recent.unshift(new WeakRef(found));
    recent.length = Math.min(recent.length, maxRecent);
    await found.#ready;
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
    const comparison = new Comparison(data, column);
    let end = window;
    while (end <= length) {
      const hash = hashOf(data[end - 3] as number, data[end - 2] as number, data[end - 1] as number, shift);
      const distance = jump[hash] as number;
      if (distance > 0) {
        end += distance;
        continue;
      }
      const start = end - window;
      const matched = this.#longestAt(comparison, data, start, this.#byWindow.first(hash));
      if (matched > 0) addMatch(matches, start, start + matched);
      if (comparison.isOver) {
        addMatch(matches, start, length);
        break;
      }
      end += 1;
    }
    return matches;
  }

  /**
   * Returns where the longest end of the data that may be the beginning of a pattern begins; the data's length if none.
   * A longer end if it takes too long to tell.
   */
  partialStart(data: Buffer, column = minWrapWidth): number {
    const { length } = data;
    const comparison = new Comparison(data, column);
    for (let start = Math.max(0, length - this.maxBytes + 1); start < length - 1; start++) {
      if (this.#begins[data[start] as number] === 0) continue;
      let window = this.#byFirstTwo.first(firstTwo(data, start, this.#shift));
      for (; window !== none; window = this.#byFirstTwo.next(window)) {
        if (comparison.isCutOffAt(start, this.#patternAt(window))) return start;
      }
      if (comparison.isOver) return start;
    }
    const last = data[length - 1];
    return last !== undefined && this.#begins[last] === 1 ? length - 1 : length;
  }

  #patternAt(window: number): Pattern {
    return this.patterns[this.#patternOf[window] as number] as Pattern;
  }

  #longestAt(comparison: Comparison, data: Buffer, start: number, first: number): number {
    let longest = 0;
    let entries = 0;
    const head = headAt(data, start) & this.#headMask;
    for (let window = first; window !== none; window = this.#byWindow.next(window)) {
      entries += 1;
      if (head !== this.#heads[window]) continue;
      longest = Math.max(longest, comparison.wholeAt(start, this.#patternAt(window)));
    }
    comparison.spend(Math.floor(entries / entriesPerStep));
    return longest;
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
