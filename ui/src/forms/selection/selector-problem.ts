// What is wrong with a selector and where, whether the console's own parser found it or the server.
import { parseSelector, SelectorError } from '@opsconductor/protocol';
import type { ApiError } from '../../api/client.ts';

export interface SelectorProblem {
  message: string;
  /** From 1, in characters; undefined where the whole is meant. */
  column: number | undefined;
}

/** Undefined for what can be read, and for nothing at all. */
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

/** What the server said about a selector: names that aren't there only it knows. */
export function refused(error: ApiError | undefined, at?: string): SelectorProblem | undefined {
  const detail = error?.details.find(({ path }) =>
    at === undefined ? path === 'selector' || path.endsWith('.selector') : path === at,
  );
  if (detail === undefined) return undefined;
  const column = /^Column ([1-9][0-9]*):/.exec(detail.message)?.[1];
  return { message: detail.message, column: column === undefined ? undefined : Number(column) };
}

/** The text before the column, the character there (a blank behind the end), and what follows. */
export function splitAt(text: string, column: number): [before: string, at: string, after: string] {
  const characters = [...text];
  const at = Math.min(column - 1, characters.length);
  return [characters.slice(0, at).join(''), characters[at] ?? ' ', characters.slice(at + 1).join('')];
}
