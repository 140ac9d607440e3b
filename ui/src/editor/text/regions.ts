// Finds the lines that belong to each entry of a block list or map: its own, the comments right above it, and those
// inside it. What is between two entries (blank lines, detached comments) belongs to neither.
import { isMap, isScalar, isSeq, type Pair, type ParsedNode, type YAMLMap, type YAMLSeq } from 'yaml';
import { lineEnd, lineStart } from './read-definition.ts';

export interface Region {
  /** Start of its first line, including the comments above. */
  from: number;
  /** End of its last line, before the line break. */
  to: number;
  /** Offset of its key or dash. */
  head: number;
  /** Start of the line that has its key or dash. */
  headLine: number;
  /** End of the last line of the entry itself, before the line break. */
  bodyTo: number;
  /** End of its content, before a trailing comment. */
  contentTo: number;
  /** Whether its key or dash is the first thing on the line. */
  ownLine: boolean;
  column: number;
}

type Collection = YAMLMap.Parsed | YAMLSeq.Parsed;

export function isFlow(node: Collection): boolean {
  return node.flow === true;
}

/** Returns the entries of a block map or list with what belongs to each. */
export function regionsOf(text: string, node: Collection): Region[] {
  const heads = isMap(node) ? mapHeads(node) : seqHeads(node as YAMLSeq.Parsed);
  const bodies = heads.map(({ head, end }) => {
    const contentTo = contentEnd(text, head, end);
    const headLine = lineStart(text, head);
    return {
      head,
      headLine,
      contentTo,
      bodyTo: lineEnd(text, contentTo),
      ownLine: /^\s*$/.test(text.slice(headLine, head)),
      column: head - headLine,
    };
  });
  let floor = 0;
  return bodies.map((body, at) => {
    const next = bodies[at + 1]?.headLine ?? text.length;
    const to = withCommentsBelow(text, body.bodyTo, body.column, next);
    const from = body.ownLine ? withCommentsAbove(text, body.headLine, floor) : body.headLine;
    floor = to + 1;
    return { ...body, from, to };
  });
}

function mapHeads(map: YAMLMap.Parsed) {
  return (map.items as Pair[]).map((pair) => {
    const key = pair.key as ParsedNode;
    const value = pair.value as ParsedNode | null;
    return { head: key.range[0], end: endOf(value) ?? key.range[1] };
  });
}

function seqHeads(seq: YAMLSeq.Parsed) {
  const tokens = seq.srcToken?.type === 'block-seq' ? seq.srcToken.items : [];
  const dashes = tokens.flatMap(({ start }) =>
    start.filter(({ type }) => type === 'seq-item-ind').map(({ offset }) => offset),
  );
  return (seq.items as ParsedNode[]).map((item, at) => {
    const head = dashes[at] ?? item.range[0];
    return { head, end: endOf(item) ?? head + 1 };
  });
}

/** End of a node's content, without its last line break unless that is part of the value. */
function endOf(node: ParsedNode | null | undefined): number | undefined {
  if (node === null || node === undefined) return undefined;
  if (isMap(node) && !isFlow(node as YAMLMap.Parsed)) {
    const last = node.items.at(-1) as Pair | undefined;
    return (
      endOf(last?.value as ParsedNode) ?? (last?.key as ParsedNode | undefined)?.range[1] ?? node.range[1]
    );
  }
  if (isSeq(node) && !isFlow(node as unknown as YAMLSeq.Parsed))
    return endOf(node.items.at(-1) as ParsedNode) ?? node.range[1];
  return node.range[1];
}

function contentEnd(text: string, head: number, end: number): number {
  let to = end;
  while (to > head + 1 && /\s/.test(text[to - 1] ?? '')) to -= 1;
  return to;
}

function withCommentsAbove(text: string, headLine: number, floor: number): number {
  let from = headLine;
  while (from > floor) {
    const above = lineStart(text, from - 1);
    if (above < floor || !/^[ \t]*#/.test(text.slice(above, from - 1))) break;
    from = above;
  }
  return from;
}

/** Comments below the entry belong to it if they are indented deeper than its key or dash. */
function withCommentsBelow(text: string, bodyTo: number, column: number, next: number): number {
  let to = bodyTo;
  for (let at = to + 1; at < next && at < text.length; ) {
    const end = lineEnd(text, at);
    const found = /^([ ]*)#/.exec(text.slice(at, end));
    if (found === null || (found[1] ?? '').length <= column) break;
    to = end;
    at = end + 1;
  }
  return to;
}

/** Returns whether a scalar is a block scalar. */
export function isBlockScalar(node: unknown): boolean {
  return isScalar(node) && (node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED');
}
