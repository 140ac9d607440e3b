// What a form of secrets is to the scanner: texts that it begins with, and a look at what follows one of them.
import type { DetectedKind } from '@opsconductor/protocol';

/** Longest secret of one line; what is longer is not taken for one. */
export const maxTokenBytes = 16 * 1024;

export type Look =
  /** A secret, from `start` to before `end`. */
  | { start: number; end: number }
  /** What is there may be the beginning of one: more is to come. */
  | 'cut_off'
  /** None here, nor where this form would begin before `noneBefore`. */
  | { noneBefore: number };

export interface Form {
  readonly kind: DetectedKind;
  /** One of them stands at its beginning. */
  readonly anchors: readonly Anchor[];
  /**
   * Looks at what follows an anchor. Must judge the same however the data is cut, and in time that is linear in what it
   * says to be done with.
   *
   * @param from where the anchor begins.
   * @param after where it ends.
   * @param isLast nothing comes after the data.
   */
  look(data: Buffer, from: number, after: number, isLast: boolean): Look;
}

export interface Anchor {
  readonly text: string;
  /** Where in it the four bytes begin that the scanner looks for: the rarer in logs, the faster. The first of them may be any byte where it stands before the text, at -1. */
  readonly windowAt: number;
  /** Of other case, too. The window is looked for in capitals and in small letters alone. */
  readonly ignoresCase?: boolean;
}

export const windowBytes = 4;
