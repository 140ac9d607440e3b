// The problems of a definition and where they are in the text: one list for the text, the fields and the count in the
// header.
import type { ErrorDetail } from '@opsconductor/protocol';
import { isWithin, type Path, parsePath } from '../text/path.ts';
import { type DefinitionText, markOf } from '../text/read-definition.ts';
import { lineAndColumn, offsetInValue } from './place-in-text.ts';

export interface Fix {
  /** Text of the button. */
  label: string;
  /** The line after the fix. */
  becomes?: string | undefined;
  /** The whole definition after the fix. */
  text: string;
}

export interface Problem {
  /** Path as the server writes it; empty for the definition as a whole. */
  path: string;
  place: Path;
  message: string;
  found?: string | undefined;
  allowed?: string | undefined;
  from: number;
  to: number;
  line: number;
  column: number;
}

/** Locates problems in the text, in text order and without duplicates. */
export function placeProblems(read: DefinitionText, details: readonly ErrorDetail[]): Problem[] {
  const placed = details.map((detail) => placed1(read, detail));
  const seen = new Set<string>();
  return placed
    .filter(({ path, message }) => {
      const key = `${path}\n${message}`;
      return seen.has(key) ? false : seen.add(key);
    })
    .toSorted((a, b) => a.from - b.from);
}

function placed1(read: DefinitionText, { path, message, found, allowed }: ErrorDetail): Problem {
  const place = parsePath(path);
  const mark = markOf(read, place);
  const inside = /^Line (\d+), column (\d+)/.exec(message);
  const at = inside === null ? undefined : offsetInValue(read, place, Number(inside[1]), Number(inside[2]));
  const from = at ?? mark.from;
  const end = read.text.indexOf('\n', from);
  const lineTo = end === -1 ? read.text.length : end;
  const to = at === undefined ? mark.to : placeholderEnd(read.text, at, lineTo);
  return {
    path,
    place,
    message,
    found,
    allowed,
    from,
    to: Math.max(to, Math.min(from + 1, read.text.length)),
    ...lineAndColumn(read.text, from),
  };
}

/** Returns the end of the placeholder that begins here, or of the line if there is none. */
function placeholderEnd(text: string, from: number, lineTo: number): number {
  const end = text.startsWith('${{', from) ? text.indexOf('}}', from) : -1;
  return end === -1 || end > lineTo ? lineTo : end + 2;
}

export function textProblems(read: DefinitionText): Problem[] {
  return read.problems.map(({ message, from, to }) => ({
    path: '',
    place: [],
    message,
    from,
    to,
    ...lineAndColumn(read.text, from),
  }));
}

/** Returns the problems of a place and, unless `inside` is false, of everything within it. */
export function problemsAt(problems: readonly Problem[], place: Path, inside = true): Problem[] {
  return problems.filter((one) =>
    inside ? isWithin(one.place, place) : one.place.length === place.length && isWithin(one.place, place),
  );
}

/** Everything that a problem says, in one sentence. */
export function problemText({ place, message, found, allowed }: Problem): string {
  // Something missing has no place in the text, so its name is in the message.
  const missing = /^Is missing\b/.test(message) ? place.at(-1) : undefined;
  const parts = [missing === undefined ? message : message.replace(/^Is/, `\`${missing}\` is`)];
  if (found !== undefined && !/^Line \d+/.test(message) && found !== 'undefined')
    parts.push(`Found ${found}.`);
  if (allowed !== undefined && !message.includes(allowed))
    parts.push(`Allowed: ${allowed.replace(/\.$/, '')}.`);
  return parts.join(' ');
}
