// Finds what may be written at a place, by indentation, because text that is being typed can seldom be parsed as a
// whole.
import { JobDefinitionSchema, stepConfigSchema } from '@opsconductor/protocol';
import type { FieldSchema } from '../fields/field-kinds.ts';

export interface Place {
  /** Keys and item indexes that lead to the cursor, without the key that is being written. */
  path: (string | number)[];
  /** The key whose value is being written, if any. */
  key?: string;
  /** What has been typed of a key or value, and where that starts. */
  typed: string;
  from: number;
  /** Keys that already exist in the same map. */
  siblings: string[];
  /** Type of the step that contains the place. */
  stepType?: string;
}

interface Line {
  indent: number;
  dash: boolean;
  key?: string;
  value: string;
}

function readLine(text: string): Line | undefined {
  const found = /^( *)((?:- +)*)(?:(?:"([^"]*)"|'([^']*)'|([A-Za-z_][\w.-]*)) *:(?=\s|$))?(.*)$/.exec(text);
  if (found === null || /^\s*(#|$)/.test(text)) return undefined;
  const [, spaces = '', dashes = '', a, b, c, rest = ''] = found;
  const key = a ?? b ?? c;
  const line: Line = { indent: spaces.length + dashes.length, dash: dashes !== '', value: rest.trim() };
  return key === undefined ? line : { ...line, key };
}

/** Returns the place of a cursor, found from the text before and after it. */
export function placeAt(text: string, offset: number): Place | undefined {
  const lineFrom = text.lastIndexOf('\n', offset - 1) + 1;
  const before = text.slice(lineFrom, offset);
  if (/^\s*#/.test(before) || /[{[]/.test(before)) return undefined;
  const above = text.slice(0, lineFrom).split('\n').slice(0, -1);
  const atValue = /^( *)((?:- +)*)(?:"([^"]*)"|'([^']*)'|([A-Za-z_][\w.-]*)) *: +(["']?)([^"'#]*)$/.exec(
    before,
  );
  const keyOf = /^( *)((?:- +)*)(["']?)([\w.-]*)$/.exec(before);
  const found = atValue ?? keyOf;
  if (found === null) return undefined;
  const indent = (found[1] ?? '').length + (found[2] ?? '').length;
  const typed = atValue?.[7] ?? keyOf?.[4] ?? '';
  const key = atValue === null ? undefined : (atValue[3] ?? atValue[4] ?? atValue[5]);
  const { path, siblings, stepType } = pathAbove(
    above,
    indent,
    (found[2] ?? '') !== '',
    text.slice(lineFrom),
  );
  return {
    path,
    typed,
    from: offset - typed.length,
    siblings,
    ...(key === undefined ? {} : { key }),
    ...(stepType === undefined ? {} : { stepType }),
  };
}

function pathAbove(above: string[], indent: number, onDash: boolean, after: string) {
  const path: (string | number)[] = [];
  const siblings: string[] = [];
  let stepType: string | undefined;
  let [limit, isSibling] = [indent, !onDash];
  let items = 0;
  let dashed = onDash;
  for (let at = above.length - 1; at >= 0; at -= 1) {
    const line = readLine(above[at] ?? '');
    if (line === undefined) continue;
    const column = line.indent;
    if (isSibling && column === limit && line.key !== undefined && path.length === 0) {
      siblings.push(line.key);
      if (line.key === 'type') stepType ??= line.value;
    }
    if (line.key === 'type' && column <= limit + 2 && stepType === undefined && path.length > 0) {
      if (column === limit) stepType = line.value;
    }
    const dashColumn = line.dash ? (/^ */.exec(above[at] ?? '')?.[0].length ?? 0) : column;
    if (dashed && line.dash && dashColumn === limit - 2) items += 1;
    if (line.dash && !dashed && column === limit) {
      dashed = true;
      isSibling = false;
      continue;
    }
    if (line.key !== undefined && (dashed ? dashColumn <= limit - 2 && !line.dash : column < limit)) {
      if (dashed) path.unshift(items);
      path.unshift(line.key);
      limit = column;
      isSibling = false;
      [dashed, items] = [line.dash, 0];
    }
    if (limit === 0) break;
  }
  for (const text of after.split('\n').slice(1)) {
    const line = readLine(text);
    if (line === undefined) continue;
    if (line.indent < indent || line.dash) break;
    if (line.indent === indent && line.key !== undefined) {
      siblings.push(line.key);
      if (line.key === 'type') stepType ??= line.value;
    }
  }
  return { path, siblings, stepType };
}

/** Returns the schema of a path, or undefined if anything is allowed there. */
export function schemaAt(path: readonly (string | number)[], stepType?: string): FieldSchema | undefined {
  let schema: FieldSchema | undefined = JobDefinitionSchema as FieldSchema;
  for (const [at, part] of path.entries()) {
    if (schema === undefined) return undefined;
    if (part === 'config' && path[0] === 'steps' && at === 2)
      schema = stepType === undefined ? undefined : (stepConfigSchema(stepType) as FieldSchema | undefined);
    else if (typeof part === 'number') schema = schema.items;
    else schema = schema.properties?.[part] ?? Object.values(schema.patternProperties ?? {})[0];
  }
  return schema;
}
