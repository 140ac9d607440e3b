// Values as they are written into the text of a definition: in the manner of what stands around them.
import { stringify } from 'yaml';

export type Quoting = 'plain' | 'single' | 'double';

export interface Manner {
  /** Inside of brackets, where a value must not span lines by its indentation. */
  flow: boolean;
  /** As JSON: keys and strings in double quotes. */
  json: boolean;
  /** Of the key or dash that the value belongs to, in columns. */
  indent: number;
}

const controls = /[\p{Cc}\u2028\u2029\ufeff]/u;
const maxFlowLength = 60;

/** A value after its key, with what stands between: ` 5`, ` |\n  text`, `\n  a: 1`. */
export function writtenAfterKey(value: unknown, manner: Manner): string {
  if (isNested(value) && !manner.flow) {
    if (isShortList(value)) return ` ${writtenFlow(value, manner)}`;
    return `\n${indented(block(value), manner.indent + 2)}`;
  }
  return ` ${writtenScalarOrFlow(value, manner)}`;
}

/** A value after the dash of its item, the dash included. */
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
  // The library writes for a block; brackets and commas end a plain text inside of others.
  if (manner.flow && /[[\]{},]/.test(plain) && !/^["']/.test(plain)) return JSON.stringify(value);
  return plain.includes('\n') ? JSON.stringify(value) : plain;
}

/**
 * Text that a literal block can hold as it is, and keeps when the block is moved: line breaks at its end would be
 * those that stand before the next entry.
 */
export function canBeBlock(value: string): boolean {
  if (!/\S/.test(value) || /^[ \t]+$/m.test(value) || /\n\n$/.test(value)) return false;
  return !controls.test(value.replaceAll(/[\n\t]/g, ''));
}

/** A literal block, its lines at a column. */
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

/** The block form, beginning at the left edge and without a line break at the end. */
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

/** Whether a value that is nested has lines of its own: an empty one has not. */
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
