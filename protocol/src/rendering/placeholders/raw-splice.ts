// `${{ raw(parameters.x) }}`: the text of the value becomes part of the script. Allowed only if the author has declared
// in advance every text that it can be.
import type { TextField } from './fields.ts';
import { fieldPath, textFieldsOf } from './fields.ts';
import { placeholderText, type Reference, referenceText } from './reference.ts';
import type { Known } from './scope.ts';
import { parseTemplate, placeholdersOf, placeIn } from './template.ts';

/** Returns what is wrong with a raw splice; `undefined` if it is allowed. */
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
/** `^*` need not be at the beginning of the text; flags in between change nothing about that. */
const repeatedStart = /^\^(?:\(\?[A-Za-z-]*\))*(?:[*+?]|\{\d)/;

/**
 * Whether a pattern (RE2) only matches whole texts: begins with `^` exactly once, ends with `$`, has no alternative at
 * the top level, and no flag that changes what these mean.
 */
export function isAnchored(pattern: string): boolean {
  if (!pattern.startsWith('^') || !pattern.endsWith('$') || pattern.length < 2) return false;
  if (/\(\?[a-zA-Z-]*m/.test(pattern) || pattern.includes('\\Q')) return false;
  if (repeatedStart.test(pattern)) return false;
  let depth = 0;
  /** Where the open character class began; `undefined` outside of one. */
  let classAt: number | undefined;
  for (let at = 1; at < pattern.length - 1; at += 1) {
    const char = pattern[at];
    if (char === '\\') {
      at += 1;
      // The final dollar is escaped.
      if (at === pattern.length - 1) return false;
    } else if (classAt !== undefined) {
      named.lastIndex = at;
      // `[[:alpha:]…]` is a single class.
      if (named.test(pattern)) at = named.lastIndex - 1;
      // A bracket directly after the opening one is a member of the class.
      else if (char === ']' && !/^\[\^?$/.test(pattern.slice(classAt, at))) classAt = undefined;
    } else if (char === '[') classAt = at;
    else if (char === '(') depth += 1;
    else if (char === ')') depth -= 1;
    else if (char === '|' && depth === 0) return false;
  }
  return depth === 0 && classAt === undefined;
}

export interface RawSplice {
  /** Path of the text that contains it: `steps[2].config.command`. */
  path: string;
  /** `Line 3, column 14` */
  place: string;
  /** As written by an author, with and without the marker. */
  raw: string;
  plain: string;
}

/** Returns the raw splices of a step, which need a permission of their own. */
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
