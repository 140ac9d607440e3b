// Edits a definition in its text: what doesn't change stays as written, with comments, order and quotes. The result is
// parsed again after each edit; if it isn't what was meant, the document is written out again, keeping its comments.
import { isMap, isScalar, isSeq, type Pair, type ParsedNode, type YAMLMap, type YAMLSeq } from 'yaml';
import { applyEdit, type Edit, sameValue } from './apply-edit.ts';
import { entryText, insertItem, insertRaw, moveEntry, removeEntry } from './edit-entries.ts';
import { addPair, replaceValue } from './edit-values.ts';
import type { Path } from './path.ts';
import { type DefinitionText, keyText, nodeAt, pairIn, readDefinition } from './read-definition.ts';
import { writtenKey } from './write-value.ts';

export type { Edit } from './apply-edit.ts';

export interface EditOptions {
  /** Order of the keys of a map, for where to insert a new one. */
  orderOf?: (path: Path) => readonly string[];
  /** Called when an edit could not be made in place. */
  onRewrite?: (edit: Edit) => void;
}

/** Returns the text after an edit. Text that can't be parsed is returned unchanged. */
export function editDefinition(text: string, edit: Edit, options: EditOptions = {}): string {
  const read = readDefinition(text);
  if (read.problems.length > 0) return text;
  const expected = applyEdit(read.value, edit);
  const next = inPlace(read, edit, options);
  if (next !== undefined && comesTo(next, expected, edit)) return next;
  options.onRewrite?.(edit);
  return rewritten(text, edit, expected);
}

/** Returns the text of one entry of a list or map, to restore it later. */
export function textOfEntry(text: string, path: Path, at: number): string | undefined {
  const node = nodeAt(readDefinition(text), path);
  return isMap(node) || isSeq(node) ? entryText(text, node as YAMLMap.Parsed, at) : undefined;
}

/** Puts the text of an entry back, or its value if that text doesn't fit there anymore. */
export function restoreEntry(text: string, path: Path, at: number, raw: string, edit: Edit): string {
  const read = readDefinition(text);
  if (read.problems.length > 0) return text;
  const expected = applyEdit(read.value, edit);
  const node = nodeAt(read, path);
  const next = isMap(node) || isSeq(node) ? insertRaw(text, node as YAMLMap.Parsed, at, raw) : undefined;
  if (next !== undefined && comesTo(next, expected)) return next;
  return editDefinition(text, edit);
}

function comesTo(text: string, expected: unknown, edit?: Edit): boolean {
  const { problems, value } = readDefinition(text);
  if (problems.length > 0 || !sameValue(value, expected)) return false;
  const isOrdered = edit?.kind === 'move' || edit?.kind === 'rename';
  return !isOrdered || JSON.stringify(value) === JSON.stringify(expected);
}

function inPlace(read: DefinitionText, edit: Edit, options: EditOptions): string | undefined {
  switch (edit.kind) {
    case 'set':
      return setValue(read, edit.path, edit.value, options);
    case 'remove': {
      const parent = nodeAt(read, edit.path.slice(0, -1));
      const at = entryIndex(parent, edit.path.at(-1));
      return at === undefined
        ? read.text
        : removeEntry(read.text, parent as YAMLMap.Parsed, at, edit.whole === true);
    }
    case 'insert': {
      const list = nodeAt(read, edit.path);
      if (isSeq(list) && list.items.length > 0)
        return insertItem(read.text, list as unknown as YAMLSeq.Parsed, edit.at, edit.value);
      return setValue(read, edit.path, [edit.value], options);
    }
    case 'move': {
      const node = nodeAt(read, edit.path);
      return isMap(node) || isSeq(node)
        ? moveEntry(read.text, node as YAMLMap.Parsed, edit.from, edit.to)
        : undefined;
    }
    case 'rename':
      return renamed(read, edit.path, edit.to);
  }
}

function entryIndex(parent: unknown, part: string | number | undefined): number | undefined {
  const at = isMap(parent)
    ? (parent.items as Pair[]).findIndex((pair) => keyText(pair) === String(part))
    : isSeq(parent) && typeof part === 'number' && part < parent.items.length
      ? part
      : -1;
  return at === -1 ? undefined : at;
}

/** Changes as little as possible to reach the value: equal parts inside stay untouched. */
function setValue(
  read: DefinitionText,
  path: Path,
  value: unknown,
  options: EditOptions,
): string | undefined {
  const node = nodeAt(read, path);
  const parent = path.length === 0 ? undefined : nodeAt(read, path.slice(0, -1));
  if (node !== undefined && sameValue(jsOf(read, node), value)) return read.text;
  if (isMap(node) && node.items.length > 0 && isPlainObject(value)) return setMap(read, path, value, options);
  if (isSeq(node) && node.items.length > 0 && Array.isArray(value))
    return setList(read, path, value, options);
  if (path.length === 0) return undefined;
  if (isMap(parent)) {
    const key = String(path.at(-1));
    const pair = pairIn(parent as unknown as { items: Pair[] }, key);
    if (pair !== undefined) return replaceValue(read.text, parent as YAMLMap.Parsed, pair, value);
    return addPair(
      read.text,
      parent as YAMLMap.Parsed,
      key,
      value,
      options.orderOf?.(path.slice(0, -1)) ?? [],
    );
  }
  if (isSeq(parent) && node !== undefined)
    return replaceValue(
      read.text,
      parent as unknown as YAMLSeq.Parsed,
      { value: node } as unknown as Pair,
      value,
    );
  // The parent doesn't exist yet, or is empty.
  return setValue(read, path.slice(0, -1), wrap(path.at(-1), value), options);
}

function setMap(
  read: DefinitionText,
  path: Path,
  value: Record<string, unknown>,
  options: EditOptions,
): string | undefined {
  const before = jsOf(read, nodeAt(read, path)) as Record<string, unknown>;
  let text: string | undefined = read.text;
  const step = (edit: Edit) => {
    text = text === undefined ? undefined : inPlace(readDefinition(text), edit, options);
  };
  for (const [key, inner] of Object.entries(value))
    if (!Object.hasOwn(before, key) || !sameValue(before[key], inner))
      step({ kind: 'set', path: [...path, key], value: inner });
  for (const key of Object.keys(before))
    if (!Object.hasOwn(value, key)) step({ kind: 'remove', path: [...path, key] });
  return text;
}

function setList(
  read: DefinitionText,
  path: Path,
  value: unknown[],
  options: EditOptions,
): string | undefined {
  const before = jsOf(read, nodeAt(read, path)) as unknown[];
  let start = 0;
  while (start < before.length && start < value.length && sameValue(before[start], value[start])) start += 1;
  let end = 0;
  while (
    end < before.length - start &&
    end < value.length - start &&
    sameValue(before[before.length - 1 - end], value[value.length - 1 - end])
  )
    end += 1;
  let text: string | undefined = read.text;
  const step = (edit: Edit) => {
    text = text === undefined ? undefined : inPlace(readDefinition(text), edit, options);
  };
  const both = Math.min(before.length, value.length) - start - end;
  for (let at = start; at < start + both; at += 1)
    step({ kind: 'set', path: [...path, at], value: value[at] });
  for (let at = before.length - end - 1; at >= start + both && at >= value.length - end; at -= 1)
    step({ kind: 'remove', path: [...path, at] });
  for (let at = start + both; at < value.length - end; at += 1)
    step({ kind: 'insert', path, at, value: value[at] });
  return text;
}

function renamed(read: DefinitionText, path: Path, to: string): string | undefined {
  const parent = nodeAt(read, path.slice(0, -1));
  if (!isMap(parent)) return undefined;
  const pair = pairIn(parent as unknown as { items: Pair[] }, String(path.at(-1)));
  const key = pair?.key as ParsedNode | undefined;
  if (!isScalar(key) || key.range === undefined || key.range === null) return undefined;
  const [from, end] = key.range;
  return read.text.slice(0, from) + writtenKey(to, { json: read.text[from] === '"' }) + read.text.slice(end);
}

function rewritten(text: string, edit: Edit, expected: unknown): string {
  const { doc } = readDefinition(text);
  if (edit.kind === 'set' && edit.path.length > 0) doc.setIn(edit.path, doc.createNode(edit.value));
  else if (edit.kind === 'remove') doc.deleteIn(edit.path);
  const written = doc.toString({ lineWidth: 0 });
  if (comesTo(written, expected)) return written;
  doc.contents = doc.createNode(expected) as ParsedNode;
  return doc.toString({ lineWidth: 0 });
}

function jsOf({ doc }: DefinitionText, node: ParsedNode | undefined): unknown {
  return node?.toJS(doc);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrap(part: string | number | undefined, value: unknown): unknown {
  return typeof part === 'number' ? [value] : { [String(part)]: value };
}
