// `${{ raw(parameters.x) }}`: the value's own text becomes part of the script. Only where the author has said beforehand
// every text that it can be.
import type { TextField } from './fields.ts';
import { fieldPath, textFieldsOf } from './fields.ts';
import { placeholderText, type Reference, referenceText } from './reference.ts';
import type { Known } from './scope.ts';
import { parseTemplate, placeholdersOf, placeIn } from './template.ts';

/** What is wrong with a raw splice; undefined where it may stand. */
export function rawProblem(
  reference: Reference,
  { parameter, secret }: Known,
  field: TextField,
): { problem: string; fix: string } | undefined {
  const label = placeholderText(reference);
  const plain = `\${{ ${referenceText(reference)} }}`;
  if (field.kind !== 'shell')
    return { problem: `${label} is no part of a script here`, fix: `Write ${plain}.` };
  if (parameter === undefined) {
    return {
      problem: `${label} is no parameter, so that nothing says what its text can be`,
      fix: `Write ${plain}, or use a parameter with an enum.`,
    };
  }
  if (secret)
    return { problem: `${label} is secret, and a script is no place for a secret`, fix: `Write ${plain}.` };
  if (parameter.type === 'array' || parameter.type === 'object') {
    return { problem: `${label} is no text`, fix: 'Use a string, a number or a boolean.' };
  }
  if (parameter.type !== 'string' || parameter.enum !== undefined) return undefined;
  if (parameter.pattern !== undefined && isAnchored(parameter.pattern)) return undefined;
  return {
    problem: `${label} puts its text into the script, and any text can be given for it`,
    fix: `Give the parameter an enum, or a pattern that is anchored as a whole: ^(?:a|b)$. Or write ${plain}.`,
  };
}

const named = /\[:\^?[a-z]+:\]/y;

/**
 * Whether a pattern (RE2) matches whole texts only: begins with `^`, ends with `$`, has no alternative at its top, and no
 * flag that changes what these mean.
 */
export function isAnchored(pattern: string): boolean {
  if (!pattern.startsWith('^') || !pattern.endsWith('$') || pattern.length < 2) return false;
  if (/\(\?[a-zA-Z-]*m/.test(pattern) || pattern.includes('\\Q')) return false;
  let depth = 0;
  /** Where the class began that is open; undefined outside of one. */
  let classAt: number | undefined;
  for (let at = 1; at < pattern.length - 1; at += 1) {
    const char = pattern[at];
    if (char === '\\') {
      at += 1;
      // The dollar at the end is an escaped one.
      if (at === pattern.length - 1) return false;
    } else if (classAt !== undefined) {
      named.lastIndex = at;
      // `[[:alpha:]…]` is one class.
      if (named.test(pattern)) at = named.lastIndex - 1;
      // A bracket right behind the one that opened it is a member of the class.
      else if (char === ']' && !/^\[\^?$/.test(pattern.slice(classAt, at))) classAt = undefined;
    } else if (char === '[') classAt = at;
    else if (char === '(') depth += 1;
    else if (char === ')') depth -= 1;
    else if (char === '|' && depth === 0) return false;
  }
  return depth === 0 && classAt === undefined;
}

export interface RawSplice {
  /** Of the text that it is in: `steps[2].config.command`. */
  path: string;
  /** `Line 3, column 14` */
  place: string;
  /** As an author writes it, and without the marker. */
  raw: string;
  plain: string;
}

/** The raw splices of a step, which ask for a permission of their own. */
export function rawSplicesOf(step: { type: string; config: unknown }, path: string): RawSplice[] {
  return textFieldsOf(step.type, step.config).flatMap(({ keys, text }) =>
    !text.includes('raw')
      ? []
      : placeholdersOf(parseTemplate(text))
          .filter(({ reference }) => reference.raw)
          .map(({ reference, at }) => ({
            path: fieldPath(path, keys),
            place: placeIn(text, at),
            raw: placeholderText(reference),
            plain: placeholderText({ ...reference, raw: false }),
          })),
  );
}
