// Parses the text of a definition: its value, where each part is, and what can't be read. YAML 1.2, of which JSON is a
// subset.
import { ownYamlErrors, yamlErrorWords } from '@opsconductor/protocol';
import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  type ParsedNode,
  parseDocument,
} from 'yaml';
import type { Path } from './path.ts';

export interface Span {
  from: number;
  to: number;
}

export interface TextProblem extends Span {
  message: string;
}

export interface DefinitionText {
  readonly text: string;
  readonly doc: Document.Parsed<ParsedNode>;
  /** Plain data; undefined if the text can't be parsed. */
  readonly value: unknown;
  readonly problems: readonly TextProblem[];
}

/** Aliases can expand a few nodes to very many; no real definition exceeds this. */
const maxAliases = 100;

export function readDefinition(text: string): DefinitionText {
  const doc = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    keepSourceTokens: true,
    uniqueKeys: true,
    prettyErrors: false,
    logLevel: 'silent',
    lineCounter: new LineCounter(),
  });
  const problems: TextProblem[] = ownYamlErrors(text, doc.errors).map((error) => ({
    message: sentence(error.code, error.message) ?? yamlErrorWords(text, error),
    from: Math.min(error.pos[0], text.length),
    to: Math.min(Math.max(error.pos[1], error.pos[0] + 1), text.length),
  }));
  if (problems.length > 0) return { text, doc, value: undefined, problems };
  try {
    return { text, doc, value: doc.toJS({ maxAliasCount: maxAliases }), problems };
  } catch (error) {
    const message = `${error instanceof Error ? error.message : String(error)}.`;
    return { text, doc, value: undefined, problems: [{ message, from: 0, to: Math.min(1, text.length) }] };
  }
}

/** Words for the console, where they differ from the server's. */
function sentence(code: string, message: string): string | undefined {
  switch (code) {
    case 'DUPLICATE_KEY':
      return 'This key appears twice; remove one of them.';
    case 'TAB_AS_INDENT':
      return 'A tab can’t indent in YAML; use spaces.';
    case 'BAD_INDENT':
      return `The indentation is wrong. ${message}.`;
    case 'MISSING_CHAR':
      return /quote/.test(message) ? 'The quoted text does not end; close it.' : undefined;
    case 'MULTIPLE_DOCS':
      return 'A definition is one document; remove what begins with `---`.';
    default:
      return undefined;
  }
}

export function pairIn(map: { items: Pair[] }, key: string): Pair | undefined {
  return map.items.find((pair) => keyText(pair) === key);
}

export function keyText(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

/** Returns the node at a path, or undefined if there is none or it is behind an alias. */
export function nodeAt({ doc }: DefinitionText, path: Path): ParsedNode | undefined {
  let node: unknown = doc.contents;
  for (const part of path) {
    if (isMap(node)) node = pairIn(node as unknown as { items: Pair[] }, String(part))?.value;
    else if (isSeq(node) && typeof part === 'number') node = node.items[part];
    else return undefined;
  }
  return (node ?? undefined) as ParsedNode | undefined;
}

/** Returns where a path is in the text (key and value), or the nearest enclosing path that exists. */
export function spanOf(read: DefinitionText, path: Path): Span {
  for (let length = path.length; length > 0; length -= 1) {
    const part = path[length - 1];
    const parent = nodeAt(read, path.slice(0, length - 1));
    if (isMap(parent)) {
      const pair = pairIn(parent as unknown as { items: Pair[] }, String(part));
      const key = pair?.key as ParsedNode | undefined;
      const value = pair?.value as ParsedNode | null | undefined;
      if (key?.range)
        return { from: key.range[0], to: trimmedEnd(read.text, value?.range?.[1] ?? key.range[1]) };
    } else if (isSeq(parent) && typeof part === 'number') {
      const item = parent.items[part] as ParsedNode | undefined;
      if (item?.range) return { from: item.range[0], to: trimmedEnd(read.text, item.range[1]) };
    }
  }
  const range = read.doc.contents?.range;
  return range ? { from: range[0], to: trimmedEnd(read.text, range[1]) } : { from: 0, to: 0 };
}

/** Returns what to mark of a place when the whole would be too much: its first line. */
export function markOf(read: DefinitionText, path: Path): Span {
  const span = spanOf(read, path);
  const lineEnd = read.text.indexOf('\n', span.from);
  return { from: span.from, to: lineEnd === -1 ? span.to : Math.min(span.to, lineEnd) };
}

/** Returns the innermost path that contains an offset. */
export function pathAtOffset(read: DefinitionText, offset: number): Path {
  const path: (string | number)[] = [];
  let node: unknown = read.doc.contents;
  for (;;) {
    if (isMap(node)) {
      const pair = (node.items as Pair[]).findLast((one) => (one.key as ParsedNode)?.range?.[0] <= offset);
      if (pair === undefined) return path;
      path.push(keyText(pair));
      node = pair.value;
    } else if (isSeq(node)) {
      const at = node.items.findLastIndex((one) => {
        const range = (one as ParsedNode)?.range;
        return range !== undefined && range !== null && lineStart(read.text, range[0]) <= offset;
      });
      if (at < 0) return path;
      path.push(at);
      node = node.items[at];
    } else return path;
  }
}

export function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1;
}

export function lineEnd(text: string, offset: number): number {
  const at = text.indexOf('\n', offset);
  return at === -1 ? text.length : at;
}

function trimmedEnd(text: string, offset: number): number {
  let end = offset;
  while (end > 0 && /\s/.test(text[end - 1] ?? '')) end -= 1;
  return end;
}
