// Finds where a character of a value is in the definition's text: a line of a block scalar, a column of a quoted one.
import { isScalar } from 'yaml';
import type { Path } from '../text/path.ts';
import { type DefinitionText, lineEnd, lineStart, nodeAt } from '../text/read-definition.ts';
import { isBlockScalar } from '../text/regions.ts';

/**
 * Returns the offset in the text of a line and column (from 1) of a string value, or undefined if it can't be
 * determined.
 */
export function offsetInValue(
  read: DefinitionText,
  path: Path,
  line: number,
  column: number,
): number | undefined {
  const node = nodeAt(read, path);
  if (!isScalar(node) || typeof node.value !== 'string' || !node.range) return undefined;
  const [from, to] = node.range;
  if (isBlockScalar(node)) return inBlock(read.text, from, to, line, column);
  const quote = read.text[from] === '"' || read.text[from] === "'" ? 1 : 0;
  if (line !== 1) return quote === 1 ? inDoubleQuotes(read.text, from, to, line, column) : undefined;
  return Math.min(to, from + quote + escapedLength(read.text.slice(from, to), quote, column - 1));
}

function inBlock(text: string, from: number, to: number, line: number, column: number): number {
  let at = lineEnd(text, from) + 1;
  const indent = blockIndent(text.slice(at, to));
  for (let current = 1; current < line && at < to; current += 1) at = lineEnd(text, at) + 1;
  return Math.min(at + indent + column - 1, lineEnd(text, at));
}

function blockIndent(body: string): number {
  return /^( *)\S/m.exec(body)?.[1]?.length ?? 0;
}

/** In double quotes, a line break is written as `\n`. */
function inDoubleQuotes(text: string, from: number, to: number, line: number, column: number): number {
  let at = from + 1;
  for (let current = 1; current < line && at < to; at += 1) {
    if (text[at] !== '\\') continue;
    if (text[at + 1] === 'n') current += 1;
    at += 1;
  }
  return Math.min(to, at + escapedLength(text.slice(at - 1, to), 1, column - 1));
}

/** Length in the source of the first characters of a quoted string, escapes included. */
function escapedLength(source: string, quote: number, characters: number): number {
  let at = quote;
  const escaping = source[0] === "'" ? "''" : '\\';
  for (let count = 0; count < characters && at < source.length; count += 1) {
    if (quote === 1 && source.startsWith("''", at) && escaping === "''") at += 2;
    else if (quote === 1 && source[at] === '\\' && escaping === '\\') at += source[at + 1] === 'u' ? 6 : 2;
    else at += 1;
  }
  return at - quote;
}

/** Returns line and column of an offset, both from 1. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  return { line: before.split('\n').length, column: offset - lineStart(text, offset) + 1 };
}
