// Masks secrets in one stream of an attempt's output, however the stream is cut into pieces. It stops accidents, not
// an author who means it.
import type { DetectedKind } from '@opsconductor/protocol';
import type { Finding, SecretDetector } from '../detectors/secret-detector.ts';
import { addMatch, type Match, minWrapWidth, type PatternSet } from './pattern-set.ts';

export const mask = Buffer.from('********');
const nothing = Buffer.alloc(0);

/** Looks also for what nobody has named. */
export interface Detecting {
  detector: SecretDetector;
  /** Told of each secret that is masked for its form alone. */
  onDetected(kind: DetectedKind): void;
}

export interface RedactorOptions {
  /** So much of what comes first is the end of a secret whose mask was given out already. */
  maskedBytes?: number | undefined;
  /** So long is the line already that goes on with what comes first; taken for a long one unless told. */
  column?: number | undefined;
  detecting?: Detecting | undefined;
}

export class Redactor {
  readonly #patterns: PatternSet;
  readonly #detecting: Detecting | undefined;
  /** The end of what was given, held back while it may be the beginning of a secret. */
  #held: Buffer = nothing;
  /** So many bytes of `#held` are the end of a secret whose mask was given out already. */
  #heldMaskedBytes: number;
  /** Bytes of the line that what is held, or what comes next, goes on with. */
  #column: number;

  constructor(patterns: PatternSet, options: RedactorOptions = {}) {
    this.#patterns = patterns;
    this.#heldMaskedBytes = options.maskedBytes ?? 0;
    this.#column = options.column ?? minWrapWidth;
    this.#detecting = options.detecting;
  }

  /** So much of what is held back, or of what comes next, is masked already. */
  get heldMaskedBytes(): number {
    return this.#heldMaskedBytes;
  }

  /** How much of the stream's end is held back. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /**
   * What may be shown of the stream so far; may be empty. The result may be the piece itself.
   *
   * @param roomBeforeBytes so much of the memory ahead of the piece may be written; it spares copying the piece.
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

  /** The stream is over: what was held back, masked where it is a secret. */
  end(): Buffer {
    const data = this.#held;
    const { found } = this.#detecting?.detector.find(data, true) ?? nothingFound;
    return this.#release(data, data.length, found);
  }

  /** Gives out the data up to `cut`, masked, and holds the rest. */
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

  /** Joined with what was found by its form; tells of what is given out now and was not named. */
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

/** The last place at or before this one that is not within what was found. */
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
