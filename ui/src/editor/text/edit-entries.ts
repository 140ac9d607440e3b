// Removes, inserts and moves entries of lists and maps in the text, each with its own lines and comments.
import { isMap, type Pair, type ParsedNode, type YAMLMap, type YAMLSeq } from 'yaml';
import { lineEnd, lineStart } from './read-definition.ts';
import { isFlow, type Region, regionsOf } from './regions.ts';
import { writtenItem, writtenScalarOrFlow } from './write-value.ts';

type Collection = YAMLMap.Parsed | YAMLSeq.Parsed;

/** Returns the text without one entry. Unless `whole`, comments above it and at the end of its line stay. */
export function removeEntry(text: string, node: Collection, at: number, whole: boolean): string | undefined {
  if (isFlow(node)) return removeFlow(text, node, at);
  const regions = regionsOf(text, node);
  const region = regions[at];
  if (region === undefined) return undefined;
  if (regions.length === 1) return emptied(text, node, region, whole);
  if (!region.ownLine) return removeInline(text, regions, at);
  const from = whole ? region.from : region.headLine;
  const to = whole ? region.to : region.bodyTo;
  const kept = whole ? '' : keptComments(text, region);
  return text.slice(0, from) + kept + text.slice(Math.min(to + 1, text.length));
}

/** The comment at the end of the entry's last line, as a line of its own at the entry's column. */
function keptComments(text: string, region: Region): string {
  const comment = /^[ \t]*(#.*)$/.exec(text.slice(region.contentTo, region.bodyTo))?.[1];
  return comment === undefined ? '' : `${' '.repeat(region.column)}${comment}\n`;
}

/** The first entry follows a dash on its line; the next entry takes its place there. */
function removeInline(text: string, regions: readonly Region[], at: number): string | undefined {
  const [region, next] = [regions[at], regions[at + 1]];
  if (region === undefined || next === undefined || !next.ownLine) return undefined;
  const between = text.slice(Math.min(region.bodyTo + 1, text.length), next.headLine);
  const comment = keptComments(text, region);
  const head = text.slice(0, region.head);
  // No comment can be between the dash and the entry that is now first, so it goes above the dash.
  const above = lineStart(text, region.head);
  const moved = (comment + between).replaceAll(/^[ \t]*(?=#)/gm, ' '.repeat(indentOf(text, above)));
  return text.slice(0, above) + moved + head.slice(above) + text.slice(next.head);
}

function indentOf(text: string, from: number): number {
  return /^ */.exec(text.slice(from, lineEnd(text, from)))?.[0].length ?? 0;
}

/** The only entry is removed: `{}` or `[]` is left. */
function emptied(text: string, node: Collection, region: Region, whole: boolean): string | undefined {
  if (!region.ownLine) return undefined;
  const lead = text.slice(0, region.headLine).replace(/\s+$/, '');
  const brackets = isMap(node) ? ' {}' : ' []';
  if (!/:$/.test(lead)) return undefined;
  const kept = whole ? '' : keptComments(text, region);
  return `${lead}${brackets}\n${kept}${text.slice(Math.min((whole ? region.to : region.bodyTo) + 1, text.length))}`;
}

/** Inserts a new item at an index, or at the end. */
export function insertItem(
  text: string,
  list: YAMLSeq.Parsed,
  at: number,
  value: unknown,
): string | undefined {
  if (isFlow(list)) return insertFlow(text, list, at, writtenFlowItem(text, list, value));
  const column = regionsOf(text, list)[0]?.column;
  if (column === undefined) return undefined;
  return insertRaw(text, list, at, writtenItem(value, { flow: false, json: false, indent: column }));
}

/** Inserts the text of an entry at an index, or at the end. */
export function insertRaw(text: string, node: Collection, at: number, raw: string): string | undefined {
  if (isFlow(node)) return insertFlow(text, node, at, raw);
  const regions = regionsOf(text, node);
  const [before, last] = [regions[at], regions.at(-1)];
  if (before !== undefined) {
    return before.ownLine ? `${text.slice(0, before.from)}${raw}\n${text.slice(before.from)}` : undefined;
  }
  if (last === undefined) return undefined;
  const rest = text.slice(last.to);
  return `${text.slice(0, last.to)}\n${raw}${rest === '' ? '\n' : rest}`;
}

export function entryText(text: string, node: Collection, at: number): string | undefined {
  if (isFlow(node)) {
    const span = flowSpans(node)[at];
    return span === undefined ? undefined : text.slice(span.from, span.to);
  }
  const region = regionsOf(text, node)[at];
  return region === undefined || !region.ownLine ? undefined : text.slice(region.from, region.to);
}

/** Moves an entry; what is between the entries stays where it is. */
export function moveEntry(text: string, node: Collection, from: number, to: number): string | undefined {
  const spans = isFlow(node) ? flowSpans(node) : regionsOf(text, node);
  if (!isFlow(node) && (spans as Region[]).some(({ ownLine }) => !ownLine)) return undefined;
  const [first, last] = [spans[0], spans.at(-1)];
  if (first === undefined || last === undefined) return text;
  const pieces = spans.map((span) => text.slice(span.from, span.to));
  pieces.splice(to, 0, ...pieces.splice(from, 1));
  const gaps = spans.slice(1).map((span, at) => text.slice(spans[at]?.to, span.from));
  const written = pieces.map((piece, at) => piece + (gaps[at] ?? '')).join('');
  return text.slice(0, first.from) + written + text.slice(last.to);
}

interface FlowSpan {
  from: number;
  to: number;
}

function flowSpans(node: Collection): FlowSpan[] {
  return (node.items as (Pair | ParsedNode)[]).map((item) => {
    if (!isMap(node)) return spanOfNode(item as ParsedNode);
    const { key, value } = item as { key: ParsedNode; value: ParsedNode | null };
    return { from: key.range[0], to: Math.max(key.range[1], value?.range?.[1] ?? 0) };
  });
}

function spanOfNode(node: ParsedNode): FlowSpan {
  return { from: node.range[0], to: node.range[1] };
}

function removeFlow(text: string, node: Collection, at: number): string | undefined {
  const spans = flowSpans(node);
  const span = spans[at];
  if (span === undefined) return undefined;
  const [before, after] = [spans[at - 1], spans[at + 1]];
  const [open, close] = [node.range[0] + 1, node.range[1] - 1];
  const [from, to] =
    after !== undefined
      ? [span.from, after.from]
      : before !== undefined
        ? [before.to, span.to]
        : [open, close];
  const gone = text.slice(from, span.from) + text.slice(span.to, to);
  return /#/.test(gone) ? undefined : text.slice(0, from) + text.slice(to);
}

/** Inserts between brackets, on a line of its own if the other entries have theirs. */
export function insertFlow(text: string, node: Collection, at: number, written: string): string | undefined {
  const spans = flowSpans(node);
  const [open, close] = [node.range[0] + 1, node.range[1] - 1];
  const first = spans[0];
  if (first === undefined) {
    const pad = isMap(node) && text[open - 1] === '{' && !isJsonLike(text, node) ? ' ' : '';
    return text.slice(0, open) + pad + written + pad + text.slice(close);
  }
  const lead = /\n[ \t]*$/.exec(text.slice(open, first.from))?.[0];
  const gap =
    lead ??
    (spans[1] === undefined ? ' ' : (/[ \t]*$/.exec(text.slice(spans[0]?.to, spans[1].from))?.[0] ?? ' '));
  const next = spans[at];
  if (next !== undefined) return `${text.slice(0, next.from)}${written},${gap}${text.slice(next.from)}`;
  const last = spans.at(-1) ?? first;
  return `${text.slice(0, last.to)},${gap}${written}${text.slice(last.to)}`;
}

/** Returns whether the keys and strings around are written as JSON, all in double quotes. */
export function isJsonLike(text: string, node: Collection): boolean {
  if (isMap(node) && node.items.length > 0)
    return (node.items as Pair[]).every((pair) => text[(pair.key as ParsedNode).range[0]] === '"');
  return /^\s*[{[]/.test(text) && /"\s*:/.test(text);
}

function writtenFlowItem(text: string, list: YAMLSeq.Parsed, value: unknown): string {
  const json = isJsonLike(text, list);
  const span = flowSpans(list)[0];
  const onLines = span !== undefined && /\n[ \t]*$/.test(text.slice(list.range[0], span.from));
  if (json && onLines && typeof value === 'object' && value !== null && span !== undefined) {
    const column = span.from - lineStart(text, span.from);
    return JSON.stringify(value, null, 2).replaceAll('\n', `\n${' '.repeat(column)}`);
  }
  return writtenScalarOrFlow(value, { flow: true, json, indent: 0 });
}
