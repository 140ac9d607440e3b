// Rules for text that people write for people: names in one line, descriptions in several. Neither may contain
// invisible characters, which could make a list, a log or a terminal show a different text.
import { Type } from 'typebox';

/** C0 and C1 controls, except tab, line feed and carriage return, which descriptions may contain. */
const controls = '\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f';
/**
 * Unicode's format characters (Cf): bidirectional controls, invisible operators, tags; the line and paragraph
 * separators; and letters and marks without a shape, such as the Hangul fillers. Joiners and variation selectors are
 * not included, because scripts and emoji need them inside a word.
 */
const formats =
  '\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}';
const joiners = '\\u200c\\u200d';
const variationSelectors = '\\u180b-\\u180d\\u180f\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}';
/** The empty pattern of braille looks like a space. */
const space = '\\s\\u2800';
const inName = `[^\\t\\n\\r${controls}${formats}]`;
const first = `[^${space}${joiners}${variationSelectors}${controls}${formats}]`;
const last = `[^${space}${joiners}${controls}${formats}]`;

export const namePattern = `^(?:${first}(?:${inName}*${last})?)?$`;
export const descriptionPattern = `^[^${controls}${formats}]*$`;

/** Names of targets: limited to what selectors and comma-separated lists can express. */
export const targetNamePattern = '^[A-Za-z0-9]([A-Za-z0-9_. -]*[A-Za-z0-9])?$';

/** A name chosen by a person, for one line of a list. */
export const DisplayName = (maxLength = 100) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: namePattern,
    description: 'One line of visible text, without spaces around it',
  });

/** Text by a person in one or more lines; may be empty. */
export const Description = (maxLength: number) =>
  Type.String({
    maxLength,
    pattern: descriptionPattern,
    description: 'Visible text, tabs and line breaks',
  });

const invisible = new RegExp(`[${controls}${formats}]`, 'u');
const words: Record<string, string> = {
  '0009': 'tab',
  '000A': 'line feed',
  '000D': 'carriage return',
  '001B': 'escape',
  '200E': 'left-to-right mark',
  '200F': 'right-to-left mark',
  '202A': 'left-to-right embedding',
  '202B': 'right-to-left embedding',
  '202C': 'end of a directional embedding',
  '202D': 'left-to-right override',
  '202E': 'right-to-left override',
  FEFF: 'byte order mark',
};

/**
 * Describes in one sentence why a text is not a name or description, and what to do; `undefined` for other patterns.
 */
export function describeTextProblem(pattern: unknown, text: string): string | undefined {
  if (pattern !== namePattern && pattern !== descriptionPattern) return undefined;
  const isName = pattern === namePattern;
  const found = invisible.exec(text) ?? (isName ? /[\t\n\r]/.exec(text) : null);
  if (found === null) {
    const what = text.trim() === text ? 'an invisible mark' : 'white space';
    return `Has ${what} at its beginning or end; remove it.`;
  }
  const code = codeOf(found[0]);
  const what = words[code] === undefined ? `U+${code}` : `U+${code} (${words[code]})`;
  const place = `character ${[...text.slice(0, found.index)].length + 1}`;
  return /[\t\n\r]/.test(found[0])
    ? `Has ${what} as ${place}; write it in one line.`
    : `Has ${what} as ${place}, which cannot be seen; remove it.`;
}

/** Reduces what a machine says about itself to one line of visible text; empty if nothing is left. */
export function visibleLine(text: string): string {
  const everyInvisible = new RegExp(`[\\t\\n\\r${controls}${formats}]`, 'gu');
  const halves = /\p{Surrogate}/gu;
  return text.replace(everyInvisible, '').replace(halves, '\ufffd').trim();
}

/** JSON text with invisible characters written as escapes. */
export function visibleJson(text: string): string {
  return JSON.stringify(text).replace(
    new RegExp(`[${controls}${formats}\\u200c\\u200d]`, 'gu'),
    (character) =>
      [...Array(character.length).keys()].map((at) => `\\u${hex(character.charCodeAt(at))}`).join(''),
  );
}

function codeOf(character: string): string {
  return hex(character.codePointAt(0) ?? 0).toUpperCase();
}

function hex(code: number): string {
  return code.toString(16).padStart(4, '0');
}
