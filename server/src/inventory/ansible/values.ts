// Values of variables, as far as they can be carried over: a text, a number, a boolean. Any other value is kept as the
// reason why not; it still hides the values that it takes precedence over.
import type { Place } from '../report.ts';

export type Unusable = 'composite' | 'template' | 'vault';
export type Scalar = string | number | boolean | null;

export interface Value {
  /** Undefined if it is unusable. */
  scalar: Scalar | undefined;
  unusable: Unusable | undefined;
  place: Place;
}

export function scalarValue(scalar: Scalar, place: Place): Value {
  const isTemplate = typeof scalar === 'string' && /\{\{|\{%|\{#/.test(scalar);
  return isTemplate ? unusable('template', place) : { scalar, unusable: undefined, place };
}

export function unusable(why: Unusable, place: Place): Value {
  return { scalar: undefined, unusable: why, place };
}

export const whyUnusable: Record<Unusable, string> = {
  composite: 'it is a list or a mapping, where one value is needed',
  template: 'it is a Jinja template, and templates are not evaluated; write the value itself',
  vault: 'it is encrypted by Ansible Vault; create a credential instead',
};

/** Returns the value as text; undefined for null and for unusable values. */
export function textOf(value: Value): string | undefined {
  return value.scalar === undefined || value.scalar === null ? undefined : String(value.scalar);
}

/**
 * Returns what Ansible takes a value in an INI inventory for: a Python literal if it is one, otherwise text. Lists,
 * tuples and mappings are only distinguished from text.
 */
export function readPythonLiteral(text: string, place: Place): Value {
  const trimmed = text.trim();
  const number = /^([+-]?)(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|0+|[1-9][0-9_]*)\s*(?:#.*)?$/.exec(
    trimmed,
  );
  if (number !== null && !/__|_$/.test(number[2] ?? '')) {
    const size = Number((number[2] ?? '').replaceAll('_', ''));
    if (!Number.isSafeInteger(size)) return scalarValue((number[1] ?? '') + number[2], place);
    return scalarValue(number[1] === '-' ? -size : size, place);
  }
  const word = /^(True|False|None)\s*(?:#.*)?$/.exec(trimmed)?.[1];
  if (word !== undefined) return scalarValue(word === 'None' ? null : word === 'True', place);
  const string = /^[urURbB]?(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)')\s*(?:#.*)?$/s.exec(trimmed);
  if (string !== null) return scalarValue(withoutEscapes(string[1] ?? string[2] ?? ''), place);
  if (/^\[.*\]$|^\(.*\)$|^\{[^{%#].*\}$|^\{\}$/s.test(trimmed) && !/^\{\{/.test(trimmed))
    return unusable('composite', place);
  return scalarValue(text, place);
}

const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', '\\': '\\', "'": "'", '"': '"' };

function withoutEscapes(text: string): string {
  return text.replaceAll(/\\(.)/gs, (whole, character: string) => escapes[character] ?? whole);
}
