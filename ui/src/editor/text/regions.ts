// The lines that belong to each entry of a list or map that is written in lines: its own, the comments right above it,
// and those within it. What is between two entries (blank lines, comments that stand alone) belongs to neither.
import { isMap, isScalar, isSeq, type Pair, type ParsedNode, type YAMLMap, type YAMLSeq } from 'yaml';
import { lineEnd, lineStart } from './read-definition.ts';

export interface Region {
  /** Where its first line begins, comments above included. */
  from: number;
  /** Where the last of its lines ends, before the line break. */
  to: number;
  /** Its key or dash. */
  head: number;
  /** Where the line of its head begins. */
  headLine: number;
  /** Where the lines of the entry itself end, before the line break. */
  bodyTo: number;
  /** Where its content ends, before a comment that follows on the line. */
  contentTo: number;
  /** Whether nothing stands before its head on the line. */
  ownLine: boolean;
  column: number;
}

type Collection = YAMLMap.Parsed | YAMLSeq.Parsed;

export function isFlow(node: Collection): boolean {
  return node.flow === true;
}

/** Entries of a block map or list with what belongs to them. */
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

/** Where the content of a node ends; its last line break is left out unless it is kept as text. */
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

/** Comments below that stand deeper than the entry's head are of the entry. */
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

/** Whether a scalar is a block that keeps the line breaks at its end. */
export function isBlockScalar(node: unknown): boolean {
  return isScalar(node) && (node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED');
}
