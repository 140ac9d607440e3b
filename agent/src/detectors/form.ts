// A form of secrets as the scanner sees it: texts that it begins with, and a function that looks at what follows them.
import type { DetectedKind } from '@opsconductor/protocol';

/** The longest secret of one line. Anything longer is not taken for a secret. */
export const maxTokenBytes = 16 * 1024;

export type Look =
  /** A secret, from `start` (inclusive) to `end` (exclusive). */
  | { start: number; end: number }
  /** This may be the beginning of a secret; more data is needed to tell. */
  | 'cut_off'
  /** No secret here, nor anywhere before `noneBefore` where this form would begin. */
  | { noneBefore: number };

export interface Form {
  readonly kind: DetectedKind;
  /** The texts that a secret of this form may begin with. */
  readonly anchors: readonly Anchor[];
  /**
   * Looks at what follows an anchor. The verdict must not depend on how the data is cut, and the time must be linear in
   * the bytes that the verdict covers.
   *
   * @param from where the anchor begins.
   * @param after where the anchor ends.
   * @param isLast whether no data follows.
   */
  look(data: Buffer, from: number, after: number, isLast: boolean): Look;
}

export interface Anchor {
  readonly text: string;
  /**
   * Where in the text the four bytes begin that the scanner searches for; the rarer they are in logs, the faster. At -1
   * the first of them is the byte before the text, which may be any byte.
   */
  readonly windowAt: number;
  /** Whether letter case is ignored. The window itself is found only in all capitals or all small letters. */
  readonly ignoresCase?: boolean;
}

export const windowBytes = 4;
