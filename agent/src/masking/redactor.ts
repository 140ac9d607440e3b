// Masks secrets in one stream of an attempt's output, however the stream is cut into pieces. It prevents accidents; it
// does not stop an author who wants to leak a secret.
import type { DetectedKind } from '@opsconductor/protocol';
import type { Finding, SecretDetector } from '../detectors/secret-detector.ts';
import { minWrapWidth } from './comparison.ts';
import { addMatch, type Match, type PatternSet } from './pattern-set.ts';

export const mask = Buffer.from('********');
const nothing = Buffer.alloc(0);

/** Also finds secrets that nobody named. */
export interface Detecting {
  detector: SecretDetector;
  /** Called for each secret that is masked only for its form. */
  onDetected(kind: DetectedKind): void;
}

export interface RedactorOptions {
  /** How many of the first bytes are the end of a secret whose mask has already been shown. */
  maskedBytes?: number | undefined;
  /** How many bytes of its line precede the first byte; a long line by default. */
  column?: number | undefined;
  detecting?: Detecting | undefined;
}

export class Redactor {
  readonly #patterns: PatternSet;
  readonly #detecting: Detecting | undefined;
  /** The end of the input, held back while it may be the beginning of a secret. */
  #held: Buffer = nothing;
  /** How many bytes of `#held` are the end of a secret whose mask has already been shown. */
  #heldMaskedBytes: number;
  /** How many bytes of its line precede what is held, or else what comes next. */
  #column: number;

  constructor(patterns: PatternSet, options: RedactorOptions = {}) {
    this.#patterns = patterns;
    this.#heldMaskedBytes = options.maskedBytes ?? 0;
    this.#column = options.column ?? minWrapWidth;
    this.#detecting = options.detecting;
  }

  /** How many bytes of what is held back, or else of what comes next, are already masked. */
  get heldMaskedBytes(): number {
    return this.#heldMaskedBytes;
  }

  /** How many bytes of the stream's end are held back. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /**
   * Takes the next piece and returns what may be shown now, possibly nothing. The result may be the piece itself.
   *
   * @param roomBeforeBytes how much of the memory in front of the piece may be overwritten, which avoids a copy.
   */
  push(piece: Buffer, roomBeforeBytes = 0): Buffer {
    if (this.#patterns.maxBytes === 0 && this.#detecting === undefined) return piece;
    const data = this.#afterHeld(piece, roomBeforeBytes);
    const { found, openFrom } = this.#detecting?.detector.find(data, false) ?? nothingFound;
    const cut = Math.min(openFrom, this.#patterns.partialStart(data, this.#column));
    return this.#release(data, notWithin(found, cut), found);
  }

  #afterHeld(piece: Buffer, roomBeforeBytes: number): Buffer {
    const held = this.#held;
    if (held.length === 0) return piece;
    if (held.length > roomBeforeBytes) return Buffer.concat([held, piece]);
    const data = Buffer.from(piece.buffer, piece.byteOffset - held.length, held.length + piece.length);
    data.set(held);
    return data;
  }

  /** Ends the stream: returns what was held back, masked if it is a secret. */
  end(): Buffer {
    const data = this.#held;
    const { found } = this.#detecting?.detector.find(data, true) ?? nothingFound;
    return this.#release(data, data.length, found);
  }

  /** Returns the data up to `cut`, masked, and holds the rest. */
  #release(data: Buffer, cut: number, found: readonly Finding[]): Buffer {
    const parts: Buffer[] = [];
    let shownTo = 0;
    let maskedBeyondCut = 0;
    const continued = this.#heldMaskedBytes > 0;
    const named = this.#patterns.find(data, this.#heldMaskedBytes, this.#column);
    for (const { start, end } of found.length === 0 ? named : this.#withFound(named, found, cut)) {
      const begunBefore = continued && start === 0;
      // A secret that begins in what is held is decided with what follows: it may be part of a longer one.
      if (start >= cut && !begunBefore) break;
      if (!begunBefore) parts.push(data.subarray(shownTo, start), mask);
      shownTo = Math.min(end, cut);
      maskedBeyondCut = Math.max(0, end - cut);
    }
    this.#held = cut === data.length ? nothing : Buffer.from(data.subarray(cut));
    this.#heldMaskedBytes = maskedBeyondCut;
    this.#column = columnAt(data, cut, this.#column);
    if (parts.length === 0) return data.subarray(shownTo, cut);
    parts.push(data.subarray(shownTo, cut));
    return Buffer.concat(parts);
  }

  /**
   * Joins the named matches with what was found by its form, and reports each such finding that is shown now and was
   * not named.
   */
  #withFound(named: readonly Match[], found: readonly Finding[], cut: number): Match[] {
    let toldTo = 0;
    let next = 0;
    for (const { kind, from, start, end } of found) {
      while ((named[next]?.end ?? Number.POSITIVE_INFINITY) <= start) next += 1;
      const { start: namedStart, end: namedEnd } = named[next] ?? { start: end, end };
      const isNamed = namedStart <= start && end <= namedEnd;
      if (from >= cut || start < toldTo || isNamed) continue;
      this.#detecting?.onDetected(kind);
      toldTo = end;
    }
    const matches: Match[] = [];
    for (const { start, end } of [...named, ...found].sort((a, b) => a.start - b.start))
      addMatch(matches, start, end);
    return matches;
  }
}

const nothingFound = { found: [], openFrom: Number.POSITIVE_INFINITY };

/** Returns the last place at or before this one that is not inside a finding. */
function notWithin(found: readonly Finding[], cut: number): number {
  let place = cut;
  for (const { from, end } of [...found].sort((a, b) => b.from - a.from)) {
    if (from < place && end > place) place = from;
  }
  return place;
}

function columnAt(data: Buffer, at: number, column: number): number {
  const lineEnd = at === 0 ? -1 : data.lastIndexOf(10, at - 1);
  return lineEnd === -1 ? Math.min(column + at, minWrapWidth) : at - lineEnd - 1;
}
