// What is wrong with a selector and where, found by the console's own parser or by the server.
import { parseSelector, SelectorError } from '@opsconductor/protocol';
import type { ApiError } from '../../api/client.ts';

export interface SelectorProblem {
  message: string;
  /** From 1, in characters; undefined if it is about the whole selector. */
  column: number | undefined;
}

/** Returns undefined for a selector that can be parsed, and for an empty one. */
export function unreadable(text: string): SelectorProblem | undefined {
  if (text.trim() === '') return undefined;
  try {
    parseSelector(text);
    return undefined;
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    return { message: error.message, column: error.column };
  }
}

/** Returns what the server said about a selector; only the server knows which names exist. */
export function refused(error: ApiError | undefined, at?: string): SelectorProblem | undefined {
  const detail = error?.details.find(({ path }) =>
    at === undefined ? path === 'selector' || path.endsWith('.selector') : path === at,
  );
  if (detail === undefined) return undefined;
  const column = /^Column ([1-9][0-9]*):/.exec(detail.message)?.[1];
  return { message: detail.message, column: column === undefined ? undefined : Number(column) };
}

/** Splits a text into what is before a column, the character there (a blank at the end of the text), and the rest. */
export function splitAt(text: string, column: number): [before: string, at: string, after: string] {
  const characters = [...text];
  const at = Math.min(column - 1, characters.length);
  return [characters.slice(0, at).join(''), characters[at] ?? ' ', characters.slice(at + 1).join('')];
}
