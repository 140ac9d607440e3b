// Masks secrets in one stream of an attempt's output, however the stream is cut into pieces. It stops accidents, not
// an author who means it.
import { minWrapWidth, type PatternSet } from './pattern-set.ts';

export const mask = Buffer.from('********');
const nothing = Buffer.alloc(0);

export class Redactor {
  readonly #patterns: PatternSet;
  /** The end of what was given, held back while it may be the beginning of a secret. */
  #held: Buffer = nothing;
  /** So many bytes of `#held` are the end of a secret whose mask was given out already. */
  #heldMaskedBytes: number;
  /** Bytes of the line that what is held, or what comes next, goes on with. */
  #column: number;

  /**
   * @param maskedBytes so much of what comes first is the end of a secret whose mask was given out already.
   * @param column so long is the line already that goes on with what comes first; taken for a long one unless told.
   */
  constructor(patterns: PatternSet, maskedBytes = 0, column = minWrapWidth) {
    this.#patterns = patterns;
    this.#heldMaskedBytes = maskedBytes;
    this.#column = column;
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
    if (this.#patterns.maxBytes === 0) return piece;
    const data = this.#afterHeld(piece, roomBeforeBytes);
    return this.#release(data, this.#patterns.partialStart(data, this.#column));
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
    return this.#release(this.#held, this.#held.length);
  }

  /** Gives out the data up to `cut`, masked, and holds the rest. */
  #release(data: Buffer, cut: number): Buffer {
    const parts: Buffer[] = [];
    let shownTo = 0;
    let maskedBeyondCut = 0;
    const continued = this.#heldMaskedBytes > 0;
    for (const { start, end } of this.#patterns.find(data, this.#heldMaskedBytes, this.#column)) {
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
}

function columnAt(data: Buffer, at: number, column: number): number {
  const lineEnd = at === 0 ? -1 : data.lastIndexOf(10, at - 1);
  return lineEnd === -1 ? Math.min(column + at, minWrapWidth) : at - lineEnd - 1;
}

/** A text that is whole, with what is secret in it masked. */
export function maskText(text: string, secrets: PatternSet): string {
  const redactor = new Redactor(secrets);
  return Buffer.concat([redactor.push(Buffer.from(text)), redactor.end()]).toString();
}
