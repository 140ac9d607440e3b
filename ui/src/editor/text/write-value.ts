// Writes values into the text of a definition, in the style of their surroundings.
import { stringify } from 'yaml';

export type Quoting = 'plain' | 'single' | 'double';

export interface Manner {
  /** Inside brackets, where a value can't use indentation. */
  flow: boolean;
  /** Write JSON: keys and strings in double quotes. */
  json: boolean;
  /** Column of the key or dash that the value belongs to. */
  indent: number;
}

const controls = /[\p{Cc}\u2028\u2029\ufeff]/u;
const maxFlowLength = 60;

/** Returns a value as it follows its key's colon: ` 5`, ` |\n  text`, `\n  a: 1`. */
export function writtenAfterKey(value: unknown, manner: Manner): string {
  if (isNested(value) && !manner.flow) {
    if (isShortList(value)) return ` ${writtenFlow(value, manner)}`;
    return `\n${indented(block(value), manner.indent + 2)}`;
  }
  return ` ${writtenScalarOrFlow(value, manner)}`;
}

/** Returns a list item: the dash and the value. */
export function writtenItem(value: unknown, manner: Manner): string {
  const text = isNested(value)
    ? indented(block(value), manner.indent + 2).trimStart()
    : writtenScalarOrFlow(value, manner);
  return `${' '.repeat(manner.indent)}- ${text}`;
}

export function writtenScalarOrFlow(value: unknown, manner: Manner): string {
  if (isNested(value)) return writtenFlow(value, manner);
  if (typeof value !== 'string') return JSON.stringify(value ?? null);
  return writtenString(value, manner.json ? 'double' : 'plain', manner);
}

export function writtenKey(key: string, manner: Pick<Manner, 'json'>): string {
  return manner.json
    ? JSON.stringify(key)
    : writtenString(key, 'plain', { flow: true, json: false, indent: 0 });
}

export function writtenString(value: string, quoting: Quoting, manner: Manner): string {
  if (manner.json) return JSON.stringify(value);
  if (value.includes('\n') && !manner.flow && canBeBlock(value))
    return writtenBlock(value, manner.indent + 2);
  if (controls.test(value)) return JSON.stringify(value);
  if (quoting === 'double') return JSON.stringify(value);
  if (quoting === 'single') return `'${value.replaceAll("'", "''")}'`;
  const plain = stringify(value, { lineWidth: 0, version: '1.2', schema: 'core' }).trimEnd();
  // The library writes plain text for block context; in flow context, brackets and commas would end it.
  if (manner.flow && /[[\]{},]/.test(plain) && !/^["']/.test(plain)) return JSON.stringify(value);
  return plain.includes('\n') ? JSON.stringify(value) : plain;
}

/**
 * Returns whether a literal block can hold a text unchanged, and keep it when the block moves: line breaks at its end
 * would mix with those before the next entry.
 */
export function canBeBlock(value: string): boolean {
  if (!/\S/.test(value) || /^[ \t]+$/m.test(value) || /\n\n$/.test(value)) return false;
  return !controls.test(value.replaceAll(/[\n\t]/g, ''));
}

/** Returns a literal block with its lines at a column. */
export function writtenBlock(value: string, column: number): string {
  const chomping = value.endsWith('\n') ? '' : '-';
  const lines = value.replace(/\n$/, '').split('\n');
  const first = lines.find((line) => line !== '') ?? '';
  const indicator = /^[ \t]/.test(first) || lines[0] === '' ? '2' : '';
  const pad = ' '.repeat(column);
  return `|${indicator}${chomping}\n${lines.map((line) => (line === '' ? '' : pad + line)).join('\n')}`;
}

function writtenFlow(value: unknown, manner: Manner): string {
  const inner = { ...manner, flow: true };
  if (Array.isArray(value)) return `[${value.map((one) => writtenScalarOrFlow(one, inner)).join(', ')}]`;
  const entries = Object.entries(value as object).map(
    ([key, one]) => `${writtenKey(key, inner)}: ${writtenScalarOrFlow(one, inner)}`,
  );
  if (entries.length === 0) return '{}';
  return manner.json ? `{${entries.join(', ')}}` : `{ ${entries.join(', ')} }`;
}

/** The block form, starting at column 0, without a line break at the end. */
function block(value: unknown): string {
  const manner: Manner = { flow: false, json: false, indent: 0 };
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    return value.map((item) => writtenItem(item, manner)).join('\n');
  }
  const entries = Object.entries(value as object);
  if (entries.length === 0) return '{}';
  return entries.map(([key, one]) => `${writtenKey(key, manner)}:${writtenAfterKey(one, manner)}`).join('\n');
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isShortList(value: object): boolean {
  if (!Array.isArray(value)) return Object.keys(value).length === 0;
  return (
    value.every((one) => !isNested(one) && !(typeof one === 'string' && one.includes('\n'))) &&
    JSON.stringify(value).length <= maxFlowLength
  );
}

function indented(text: string, columns: number): string {
  const pad = ' '.repeat(columns);
  return text
    .split('\n')
    .map((line) => (line === '' ? '' : pad + line))
    .join('\n');
}
