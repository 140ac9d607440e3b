// Replaces single values in the text in the style they are written in, and adds keys with values.
import {
  isMap,
  isScalar,
  isSeq,
  type Pair,
  type ParsedNode,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import { insertFlow, isJsonLike } from './edit-entries.ts';
import { keyText, lineEnd, lineStart } from './read-definition.ts';
import { isBlockScalar, isFlow, regionsOf } from './regions.ts';
import {
  canBeBlock,
  type Manner,
  type Quoting,
  writtenAfterKey,
  writtenBlock,
  writtenKey,
  writtenScalarOrFlow,
  writtenString,
} from './write-value.ts';

type Collection = YAMLMap.Parsed | YAMLSeq.Parsed;

/** Replaces the value of a key, or an item, which is given as a pair without a key. */
export function replaceValue(
  text: string,
  parent: Collection,
  pair: Pair,
  value: unknown,
): string | undefined {
  const node = pair.value as ParsedNode | null;
  const key = pair.key as ParsedNode | null | undefined;
  if (node !== null && !isScalar(node) && !isMap(node) && !isSeq(node)) return undefined;
  if (node?.anchor !== undefined || (isScalar(node) && node.tag !== undefined)) return undefined;
  const start = key?.range?.[0] ?? node?.range?.[0];
  if (start === undefined) return undefined;
  const manner = mannerOf(text, parent, start, key === undefined || key === null);
  if (node === null || isNothing(text, node)) {
    const after = colonAfter(text, key?.range?.[1] ?? -1);
    if (after === undefined) return undefined;
    return text.slice(0, after) + writtenAfterKey(value, manner) + text.slice(after);
  }
  const [from, to] = node.range;
  if (isScalar(node) && (typeof value !== 'object' || value === null)) {
    const end = endWithoutBreak(text, node);
    const after = isBlockScalar(node)
      ? ''
      : (/^[ \t]+#.*/.exec(text.slice(end, lineEnd(text, end)))?.[0] ?? '');
    const comment = isBlockScalar(node) ? headerComment(text.slice(from, to)) : after;
    const written =
      typeof value === 'string'
        ? asBefore(text, node as Scalar.Parsed, value, manner)
        : writtenScalarOrFlow(value, manner);
    // The comment after the value goes behind the block's header, the only place for it.
    const lines = written.split('\n');
    const whole = [`${lines[0]}${comment}`, ...lines.slice(1)].join('\n');
    return text.slice(0, from) + whole + text.slice(end + after.length);
  }
  if (typeof value === 'object' && value !== null && !manner.flow && key !== undefined && key !== null) {
    const colon = colonAfter(text, key.range[1]);
    if (colon === undefined || /#/.test(text.slice(colon, from))) return undefined;
    return text.slice(0, colon) + writtenAfterKey(value, manner) + text.slice(endWithoutBreak(text, node));
  }
  return text.slice(0, from) + writtenScalarOrFlow(value, manner) + text.slice(endWithoutBreak(text, node));
}

function headerComment(block: string): string {
  return /[ \t]+#.*$/.exec(block.slice(0, lineEnd(block, 0)))?.[0] ?? '';
}

function isFlowNode(node: ParsedNode): boolean {
  return (isMap(node) || isSeq(node)) && isFlow(node as YAMLMap.Parsed);
}

function isNothing(text: string, node: ParsedNode): boolean {
  return isScalar(node) && node.value === null && text.slice(node.range[0], node.range[1]).trim() === '';
}

function colonAfter(text: string, keyEnd: number): number | undefined {
  const found = keyEnd < 0 ? null : /^\s*:/.exec(text.slice(keyEnd));
  return found === null ? undefined : keyEnd + found[0].length;
}

/** End of a node, without the line break that ends a block. */
function endWithoutBreak(text: string, node: ParsedNode): number {
  let end = node.range[1];
  if (isScalar(node) && !isBlockScalar(node)) return end;
  if (isFlowNode(node)) return end;
  while (end > node.range[0] && text[end - 1] === '\n') end -= 1;
  return end;
}

function asBefore(text: string, node: Scalar.Parsed, value: string, manner: Manner): string {
  const [from, to] = node.range;
  const source = text.slice(from, to);
  if (isBlockScalar(node) && canBeBlock(value)) {
    const header = source.slice(0, lineEnd(source, 0));
    const pad = /\n( +)\S/.exec(source.slice(header.length))?.[1]?.length;
    const column = manner.indent + 2;
    const isIndented = /^[|>]\d|^[|>][-+]\d/.test(header);
    // Keep the column that the block has, if it can be told and needs no explicit indicator.
    const keeps = pad !== undefined && pad > manner.indent && !isIndented && !/^[ \t\n]/.test(value);
    return writtenBlock(value, keeps ? pad : column);
  }
  const quoting: Quoting = source[0] === '"' ? 'double' : source[0] === "'" ? 'single' : 'plain';
  return writtenString(value, quoting, manner);
}

function mannerOf(text: string, parent: Collection, start: number, isItem: boolean): Manner {
  const flow = isFlow(parent) || isInFlow(text, parent);
  const column = isItem ? indentOfItem(text, parent, start) : start - lineStart(text, start);
  return { flow, json: flow && isJsonLike(text, parent), indent: column };
}

function isInFlow(text: string, parent: Collection): boolean {
  return text[parent.range[0]] === '{' || text[parent.range[0]] === '[';
}

function indentOfItem(text: string, parent: Collection, start: number): number {
  const region = regionsOf(text, parent).findLast(({ head }) => head <= start);
  return region?.column ?? 0;
}

/** Adds a key after those that precede it in the order. */
export function addPair(
  text: string,
  map: YAMLMap.Parsed,
  key: string,
  value: unknown,
  order: readonly string[],
): string | undefined {
  const names = (map.items as Pair[]).map(keyText);
  const rank = (name: string) => {
    const at = order.indexOf(name);
    return at === -1 ? order.length : at;
  };
  const after = names.findLastIndex((name) => rank(name) <= rank(key));
  if (isFlow(map) || names.length === 0) {
    const json = isJsonLike(text, map);
    const manner: Manner = { flow: true, json, indent: 0 };
    const written = `${writtenKey(key, manner)}: ${flowValue(text, map, value, manner)}`;
    return insertFlow(text, map, after + 1, written);
  }
  const regions = regionsOf(text, map);
  const first = regions[0];
  if (first === undefined) return undefined;
  const manner: Manner = { flow: false, json: false, indent: first.column };
  const written = `${writtenKey(key, manner)}:${writtenAfterKey(value, manner)}`;
  const pad = ' '.repeat(first.column);
  if (after === -1) {
    // Before the first key: on a line of its own above it, or in its place after the dash.
    return first.ownLine
      ? `${text.slice(0, first.from)}${pad}${written}\n${text.slice(first.from)}`
      : `${text.slice(0, first.head)}${written}\n${pad}${text.slice(first.head)}`;
  }
  const region = regions[after];
  if (region === undefined) return undefined;
  const rest = text.slice(region.to);
  return `${text.slice(0, region.to)}\n${pad}${written}${rest === '' ? '\n' : rest}`;
}

function flowValue(text: string, map: YAMLMap.Parsed, value: unknown, manner: Manner): string {
  const first = (map.items as Pair[])[0]?.key as ParsedNode | undefined;
  const onLines = first !== undefined && /\n[ \t]*$/.test(text.slice(map.range[0], first.range[0]));
  if (manner.json && onLines && first !== undefined && typeof value === 'object' && value !== null) {
    const column = first.range[0] - lineStart(text, first.range[0]);
    return JSON.stringify(value, null, 2).replaceAll('\n', `\n${' '.repeat(column)}`);
  }
  return writtenScalarOrFlow(value, manner);
}
