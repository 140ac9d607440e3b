// Reads YAML like Ansible does (1.1), with the line of everything. Aliases are looked up and never copied, so that a
// file of a few lines can't become one of millions. Nesting and size are limited while the text is read.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Scalar as YamlScalar } from 'yaml';
import { composeDocuments } from '../../yaml/compose-documents.ts';
import { InventoryTooLarge, type Place, type Report } from '../report.ts';
import { scalarValue, unusable, type Value } from './values.ts';

const maxDepth = 64;
const maxNodes = 1_000_000;

export type YamlNode =
  | { kind: 'map'; entries: YamlEntry[]; place: Place }
  | { kind: 'list'; place: Place }
  | { kind: 'scalar'; value: Value; place: Place };
export interface YamlEntry {
  /** Undefined for a key that is not text: 42, null, a list. */
  key: string | undefined;
  node: YamlNode;
  place: Place;
}

/** Returns the document's root; undefined, with a report, if it is empty or can't be read. */
export function readYaml(file: string, text: string, report: Report): YamlNode | undefined {
  const lines = new LineCounter();
  const placeAt = (offset: number): Place => ({ file, line: Math.max(1, lines.linePos(offset).line) });
  const [document, another] = composeDocuments(
    text,
    lines,
    { version: '1.1' },
    {
      maxDepth,
      maxTokens: maxNodes * 8,
      tooDeep: (offset) =>
        new InventoryTooLarge(placeAt(offset), `The YAML is nested deeper than ${maxDepth} levels.`),
      tooLong: () => new InventoryTooLarge({ file, line: null }, 'The YAML file is too large.'),
    },
  );
  if (another !== undefined) {
    report.error({ file, line: 1 }, 'The file has more than one YAML document; keep one.');
    return undefined;
  }
  if (document === undefined || document.contents === null) return undefined;
  for (const error of document.errors) {
    const what = error.code.toLowerCase().replaceAll('_', ' ');
    report.error(placeAt(error.pos[0]), `This is not valid YAML (${what}).`);
  }
  if (document.errors.length > 0) return undefined;
  return new Reading(placeAt, report).node(document.contents as Node);
}

class Reading {
  readonly #anchors = new Map<string, YamlNode>();
  readonly #placeAt: (offset: number) => Place;
  readonly #report: Report;
  #nodes = 0;

  constructor(placeAt: (offset: number) => Place, report: Report) {
    this.#placeAt = placeAt;
    this.#report = report;
  }

  node(node: Node | null | undefined, fallback?: Place): YamlNode {
    const place = node?.range ? this.#placeAt(node.range[0]) : (fallback ?? { file: '', line: null });
    this.#count(place);
    if (node === null || node === undefined)
      return { kind: 'scalar', value: scalarValue(null, place), place };
    if (isAlias(node)) {
      const known = this.#anchors.get(node.source);
      if (known !== undefined) return known;
      this.#report.error(place, 'This alias refers to nothing before it.');
      return { kind: 'list', place };
    }
    const read = this.#read(node, place);
    const { anchor } = node as { anchor?: string };
    if (anchor !== undefined) this.#anchors.set(anchor, read);
    return read;
  }

  #read(node: Node, place: Place): YamlNode {
    if (isScalar(node)) return { kind: 'scalar', value: scalarOf(node, place), place };
    if (isSeq(node)) {
      // Items of a list are not used, but there may be anchors in them.
      for (const item of node.items) this.node(item as Node, place);
      return { kind: 'list', place };
    }
    return isMap(node)
      ? { kind: 'map', entries: this.#entries(node, place), place }
      : { kind: 'list', place };
  }

  #entries(map: Node, place: Place): YamlEntry[] {
    const entries = new Map<string, YamlEntry>();
    const others: YamlEntry[] = [];
    const merged: YamlEntry[] = [];
    for (const pair of (map as unknown as { items: { key: Node; value: Node | null }[] }).items) {
      const keyPlace = pair.key?.range ? this.#placeAt(pair.key.range[0]) : place;
      const key = keyOf(pair.key);
      const isMerge = key === '<<' && isPlain(pair.key);
      const node = isMerge ? undefined : this.node(pair.value, keyPlace);
      if (node === undefined) merged.push(...this.#merged(pair.value, keyPlace));
      else if (key === undefined) others.push({ key, node, place: keyPlace });
      else {
        if (entries.has(key)) {
          this.#report.found(
            'note',
            keyPlace,
            'This key occurs twice in one mapping; the last one counts, as in Ansible.',
          );
          entries.delete(key);
        }
        entries.set(key, { key, node, place: keyPlace });
      }
    }
    for (const entry of merged) {
      if (entry.key !== undefined && !entries.has(entry.key)) entries.set(entry.key, entry);
    }
    return [...entries.values(), ...others];
  }

  /** Returns what `<<` merges: one mapping, or several, of which the first wins. */
  #merged(value: Node | null, place: Place): YamlEntry[] {
    const sources = isSeq(value) ? (value.items as Node[]) : [value];
    return sources.flatMap((source) => {
      const node = this.node(source, place);
      if (node.kind !== 'map') {
        this.#report.error(place, '<< takes a mapping, or a list of mappings.');
        return [];
      }
      for (const _ of node.entries) this.#count(place);
      return node.entries;
    });
  }

  #count(place: Place): void {
    this.#nodes += 1;
    if (this.#nodes > maxNodes)
      throw new InventoryTooLarge(place, `The YAML has more than ${maxNodes} values, including merged ones.`);
  }
}

function isPlain(node: Node): boolean {
  return isScalar(node) && node.type === 'PLAIN';
}

function keyOf(key: unknown): string | undefined {
  if (!isScalar(key)) return undefined;
  if (typeof key.value === 'string') return key.value;
  // In some versions of the schema, `<<` is a symbol to the library.
  if (key.source === '<<') return '<<';
  return /^[yYnN]$/.test(key.source ?? '') ? key.source : undefined;
}

function scalarOf(node: YamlScalar, place: Place): Value {
  if (node.tag === '!vault') return unusable('vault', place);
  const { value, source = '' } = node;
  if (value === null || value === undefined) return scalarValue(null, place);
  if (typeof value === 'string') return scalarValue(value, place);
  // PyYAML takes these for text.
  if (typeof value === 'boolean') return scalarValue(/^[yYnN]$/.test(source) ? source : value, place);
  if (typeof value === 'number' && source.includes('.')) {
    return scalarValue(Number.isInteger(value) ? `${value}.0` : String(value), place);
  }
  const isInteger =
    typeof value === 'bigint' || (typeof value === 'number' && !/^[-+]?[0-9]+[eE]/.test(source));
  if (isInteger && Number.isSafeInteger(Number(value))) return scalarValue(Number(value), place);
  return scalarValue(source, place);
}
