// Reads YAML 1.2 (core schema) to a JSON value, with the position of everything in it. The text may be hostile: values
// are counted and nesting is limited, aliases are expanded within that count, and we check for equal keys ourselves,
// because the library compares each with every other.
import { type ErrorDetail, ownYamlErrors, yamlErrorWords } from '@opsconductor/protocol';
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type YAMLMap } from 'yaml';
import { composeDocuments } from './compose-documents.ts';
import { type Place, Places } from './places.ts';

export interface YamlLimits {
  maxTokens: number;
  /** Number of values, including those that aliases repeat. */
  maxValues: number;
  /**
   * Characters of texts and keys that aliases repeat. A text of a megabyte would otherwise count as thousands of
   * megabytes for all who look at each value.
   */
  maxRepeated: number;
  maxDepth: number;
}
const defaultLimits: YamlLimits = {
  maxTokens: 60_000,
  maxValues: 100_000,
  maxRepeated: 1_000_000,
  maxDepth: 64,
};
const maxProblems = 20;

export type YamlValue = { value: unknown; places: Places } | { problems: ErrorDetail[] };

/** Reads one document. Problems are reported with line and column; messages never quote the text. */
export function readYamlValue(text: string, limits: YamlLimits = defaultLimits): YamlValue {
  const lines = new LineCounter();
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  try {
    const [document, another] = compose(text, lines, limits);
    if (another !== undefined) {
      const place = placeAt(another.range?.[0] ?? 0);
      return { problems: [problem(place, 'A second document begins here; send one.')] };
    }
    const errors = ownYamlErrors(text, document?.errors ?? []);
    if (errors.length > 0) {
      const told = errors
        .slice(0, maxProblems)
        .map((error) => problem(placeAt(error.pos[0]), yamlErrorWords(text, error)));
      return { problems: told };
    }
    if (document === undefined || document.contents === null) {
      return { problems: [problem({ line: 1, column: 1 }, 'There is nothing in it.')] };
    }
    const reading = new Reading(placeAt, limits);
    const value = reading.value(document.contents as Node, 0);
    if (reading.problems.length > 0) return { problems: reading.problems };
    return { value, places: reading.places };
  } catch (error) {
    if (error instanceof TooMuch) return { problems: [problem(placeAt(error.offset), error.message)] };
    throw error;
  }
}

class TooMuch extends Error {
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.name = 'TooMuch';
    this.offset = offset;
  }
}

function problem({ line, column }: Place, message: string): ErrorDetail {
  return { path: '', message: `Line ${line}, column ${column}: ${message}`, line, column };
}

function compose(text: string, lines: LineCounter, { maxDepth, maxTokens }: YamlLimits): Document[] {
  return composeDocuments(
    text,
    lines,
    { version: '1.2', schema: 'core', merge: false },
    {
      maxDepth,
      maxTokens,
      tooDeep: (offset) => new TooMuch(offset, `It is nested deeper than ${maxDepth} levels.`),
      tooLong: (offset) =>
        new TooMuch(
          offset,
          `It has more than ${maxTokens} parts of YAML up to here; send JSON, which may have more.`,
        ),
    },
  );
}

class Reading {
  readonly places = new Places();
  readonly problems: ErrorDetail[] = [];
  readonly #anchors = new Map<string, Node>();
  readonly #open = new Set<Node>();
  readonly #placeAt: (offset: number) => Place;
  readonly #limits: YamlLimits;
  #values = 0;
  /** How many aliases what is being read stands in. */
  #aliases = 0;
  #repeated = 0;

  constructor(placeAt: (offset: number) => Place, limits: YamlLimits) {
    this.#placeAt = placeAt;
    this.#limits = limits;
  }

  value(node: Node | null, depth: number): unknown {
    const offset = node?.range?.[0] ?? 0;
    if (++this.#values > this.#limits.maxValues) {
      throw new TooMuch(
        offset,
        `It has more than ${this.#limits.maxValues} values, those that aliases repeat included.`,
      );
    }
    if (depth > this.#limits.maxDepth) {
      throw new TooMuch(offset, `It is nested deeper than ${this.#limits.maxDepth} levels.`);
    }
    if (node === null) return null;
    if (isAlias(node)) return this.#alias(node.source, offset, depth);
    const { anchor, tag } = node as { anchor?: string; tag?: string };
    if (anchor !== undefined) this.#anchors.set(anchor, node);
    if (tag !== undefined && !/^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/.test(tag)) {
      this.#tell(offset, 'This tag is not known; leave it out.');
    }
    return this.#inside(node, depth);
  }

  #inside(node: Node, depth: number): unknown {
    if (isScalar(node)) return this.#scalar(node.value, node.range?.[0] ?? 0);
    this.#open.add(node);
    try {
      if (isMap(node)) return this.#map(node, depth);
      if (!isSeq(node)) return null;
      const list: unknown[] = [];
      this.places.begin(list, this.#placeAt(node.range?.[0] ?? 0));
      for (const [index, item] of node.items.entries()) {
        const inner = item as Node | null;
        this.places.set(list, String(index), this.#placeAt(inner?.range?.[0] ?? node.range?.[0] ?? 0));
        list.push(this.value(inner, depth + 1));
      }
      return list;
    } finally {
      this.#open.delete(node);
    }
  }

  #alias(name: string, offset: number, depth: number): unknown {
    const node = this.#anchors.get(name);
    if (node === undefined) this.#tell(offset, 'This alias refers to nothing before it.');
    else if (this.#open.has(node)) this.#tell(offset, 'This alias refers to what it stands in.');
    else {
      this.#aliases += 1;
      const value = this.#inside(node, depth);
      this.#aliases -= 1;
      return value;
    }
    return null;
  }

  #countRepeated(text: string, offset: number): void {
    const { maxRepeated } = this.#limits;
    this.#repeated += text.length;
    if (this.#repeated <= maxRepeated) return;
    throw new TooMuch(offset, `Its aliases repeat more than ${maxRepeated} characters of text.`);
  }

  #scalar(value: unknown, offset: number): unknown {
    if (typeof value === 'number' && !Number.isFinite(value)) {
      this.#tell(offset, 'JSON has no such number; put it in quotes if it is text.');
      return null;
    }
    if (this.#aliases > 0 && typeof value === 'string') this.#countRepeated(value, offset);
    return value;
  }

  #map(map: YAMLMap, depth: number): unknown {
    const object: Record<string, unknown> = {};
    this.places.begin(object, this.#placeAt(map.range?.[0] ?? 0));
    for (const { key, value } of map.items) {
      const keyOffset = (key as Node | null)?.range?.[0] ?? map.range?.[0] ?? 0;
      const name = this.#key(key as Node | null, keyOffset);
      if (name === undefined) continue;
      if (Object.hasOwn(object, name)) this.#tell(keyOffset, 'This key occurs twice.');
      const place = isScalar(value) ? (value.range?.[0] ?? keyOffset) : keyOffset;
      this.places.set(object, name, this.#placeAt(place), this.#placeAt(keyOffset));
      const inner = this.value(value as Node | null, depth + 1);
      // Defines an own property, whatever its name is.
      Object.defineProperty(object, name, {
        value: inner,
        enumerable: true,
        writable: true,
        configurable: true,
      });
    }
    return object;
  }

  #key(key: Node | null, offset: number): string | undefined {
    const named = isAlias(key) ? (this.#anchors.get(key.source) ?? null) : key;
    if (isScalar(named) && named.value !== null) {
      const { anchor } = named as { anchor?: string };
      if (anchor !== undefined) this.#anchors.set(anchor, named);
      const name = typeof named.value === 'string' ? named.value : (named.source ?? String(named.value));
      if (this.#aliases > 0 || isAlias(key)) this.#countRepeated(name, offset);
      return name;
    }
    this.#tell(offset, 'A key is text.');
    return undefined;
  }

  #tell(offset: number, message: string): void {
    if (this.problems.length < maxProblems) this.problems.push(problem(this.#placeAt(offset), message));
  }
}
