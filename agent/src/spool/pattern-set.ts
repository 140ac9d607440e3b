// Finds any of many byte patterns in one pass (Wu and Manber 1994): a table over three-byte blocks says how far it
// is safe to jump, so most bytes are never looked at.

const blockBytes = 3;
const tableSize = 1 << 16;

export interface Match {
  start: number;
  end: number;
}

export class PatternSet {
  /** Length of the longest pattern; 0 when there is none. */
  readonly maxBytes: number;
  readonly patterns: readonly Buffer[];
  readonly #windowBytes: number;
  readonly #jump: Uint8Array | undefined;
  /** Patterns by the hash of their window's last block, longest first. */
  readonly #byLastBlock = new Map<number, Buffer[]>();
  readonly #byFirstByte: Buffer[][] = [];

  /** @param patterns each of at least three bytes. */
  constructor(patterns: readonly Buffer[]) {
    this.patterns = patterns;
    const longestFirst = [...patterns].sort((a, b) => b.length - a.length);
    this.maxBytes = longestFirst[0]?.length ?? 0;
    this.#windowBytes = Math.min(longestFirst.at(-1)?.length ?? 0, 64);
    if (longestFirst.length === 0) return;
    const farthest = this.#windowBytes - blockBytes + 1;
    this.#jump = new Uint8Array(tableSize).fill(farthest);
    for (const pattern of longestFirst) {
      for (let end = blockBytes; end <= this.#windowBytes; end++) {
        const hash = blockHash(pattern, end);
        this.#jump[hash] = Math.min(this.#jump[hash] ?? 0, this.#windowBytes - end);
      }
      const last = blockHash(pattern, this.#windowBytes);
      this.#byLastBlock.set(last, [...(this.#byLastBlock.get(last) ?? []), pattern]);
      const first = pattern[0] ?? 0;
      this.#byFirstByte[first] = [...(this.#byFirstByte[first] ?? []), pattern];
    }
  }

  /** One that finds these as well. */
  with(more: readonly Buffer[]): PatternSet {
    return more.length === 0 ? this : new PatternSet([...this.patterns, ...more]);
  }

  /** The matches in order, overlapping ones joined; the first `alreadyMatched` bytes count as one. */
  find(data: Buffer, alreadyMatched = 0): Match[] {
    const matches: Match[] = alreadyMatched > 0 ? [{ start: 0, end: alreadyMatched }] : [];
    const jump = this.#jump;
    if (jump === undefined) return matches;
    let end = this.#windowBytes;
    while (end <= data.length) {
      const hash = blockHash(data, end);
      const distance = jump[hash] ?? 0;
      if (distance > 0) {
        end += distance;
        continue;
      }
      const start = end - this.#windowBytes;
      const matched = this.#longestAt(data, start, this.#byLastBlock.get(hash) ?? []);
      if (matched > 0) addMatch(matches, start, start + matched);
      end += 1;
    }
    return matches;
  }

  /** Where the longest end of the data begins that may be the beginning of a pattern; the data's length if none. */
  partialStart(data: Buffer): number {
    for (let start = Math.max(0, data.length - this.maxBytes + 1); start < data.length; start++) {
      const rest = data.length - start;
      const candidates = this.#byFirstByte[data[start] ?? 0];
      if (candidates?.some((p) => p.length > rest && data.compare(p, 0, rest, start) === 0)) return start;
    }
    return data.length;
  }

  #longestAt(data: Buffer, start: number, candidates: readonly Buffer[]): number {
    const found = candidates.find(
      (p) => start + p.length <= data.length && data.compare(p, 0, p.length, start, start + p.length) === 0,
    );
    return found?.length ?? 0;
  }
}

function addMatch(matches: Match[], start: number, end: number): void {
  const last = matches.at(-1);
  if (last !== undefined && start < last.end) last.end = Math.max(last.end, end);
  else matches.push({ start, end });
}

/** Of the three bytes before `end`. */
function blockHash(data: Buffer, end: number): number {
  const a = data[end - 3] as number;
  const b = data[end - 2] as number;
  const c = data[end - 1] as number;
  return (a ^ (b << 5) ^ (c << 9)) & (tableSize - 1);
}
