// Reads a text with a long list in it, item by item: a YAML parser takes fifty times a text's size in memory, so a text
// with thousands of jobs can't be read whole. The text is cut where items begin, by the indent of their hyphens or, in
// JSON, by brackets. Each item is then read by itself, with its position in the whole.
import type { ErrorDetail } from '@opsconductor/protocol';
import type { Place, Places } from './places.ts';
import { readJsonValue } from './read-json-value.ts';
import { readYamlValue } from './read-yaml-value.ts';

/** Adds their positions in the text to details. The paths begin at the item. */
export type Locate = (details: readonly ErrorDetail[]) => ErrorDetail[];

export interface ListItem {
  /** Counted from 1. */
  position: number;
  /** Where the item begins. */
  place: Place;
  /** Undefined if it can't be read. */
  value: unknown;
  problems: ErrorDetail[];
  locate: Locate;
  /** How far the text has been read, in characters. */
  readTo: number;
}

export interface LongList {
  /** What stands next to the list, by name; empty if the text is the list itself. */
  beside: Record<string, unknown>;
  locateBeside: Locate;
  items: Iterable<ListItem>;
}

interface Cut {
  text: string;
  /** Number of its first line, from 0. */
  line: number;
  /** Column of its first character in that line, from 0. */
  column: number;
  end: number;
}

/**
 * @param key under which the list is; undefined if it is the whole text.
 * @returns the problems if there is no such list.
 */
export function readLongList(text: string, key: string | undefined): LongList | { problems: ErrorDetail[] } {
  const plain = text.replace(/^\ufeff/, '');
  const first = /^\s*([[{])/.exec(plain)?.[1];
  const list = first === undefined ? cutYaml(plain, key) : cutJson(plain, key);
  return list ?? readWhole(plain, key, first !== undefined);
}

// ------------------------------------------------------------------ YAML

function cutYaml(text: string, key: string | undefined): LongList | { problems: ErrorDetail[] } | undefined {
  const lines = lineStarts(text);
  const lineAt = (n: number) => text.slice(lines[n], lines[n + 1]);
  let from = 0;
  let to = lines.length - 1;
  let beside: Record<string, unknown> = {};
  let locateBeside: Locate = (details) => [...details];
  if (key !== undefined) {
    const keyLine = new RegExp(`^(?:${key}|"${key}"|'${key}'):[ \\t]*(?:#.*)?\\r?\\n?$`);
    from = lines.findIndex((_, n) => n < lines.length - 1 && keyLine.test(lineAt(n))) + 1;
    if (from === 0) return undefined;
    to = from;
    while (to < lines.length - 1 && /^(?:[ \t#\r\n]|-[ \t\r\n])/.test(lineAt(to))) to += 1;
    // The list and its lines, of which there may be too many for a parser, are left out here; `withLines` corrects the
    // line numbers.
    const rest = `${text.slice(0, lines[from - 1])}${text.slice(lines[to])}`;
    if (rest.trim() !== '') {
      const read = readYamlValue(rest);
      const [before, left] = [from - 1, to - from + 1];
      if ('problems' in read) return { problems: withLines(read.problems, before, left) };
      if (typeof read.value !== 'object' || read.value === null) return undefined;
      beside = read.value as Record<string, unknown>;
      locateBeside = (details) => withLines(read.places.locate(details), before, left);
    }
  }
  const starts = itemStarts(lineAt, from, to);
  if (starts === undefined) return undefined;
  const cuts = function* (): Generator<Cut> {
    for (const [n, start] of starts.entries()) {
      const end = lines[starts[n + 1] ?? to] ?? text.length;
      yield { text: text.slice(lines[start], end), line: start, column: 0, end };
    }
  };
  const whole = () => readWhole(text, key, false);
  return { beside, locateBeside, items: readYamlItems(cuts(), whole) };
}

/** Corrects the line numbers of details after the lines that were left out. */
function withLines(details: readonly ErrorDetail[], before: number, left: number): ErrorDetail[] {
  return details.map((detail) => {
    const { line, column } = detail;
    if (line === undefined || column === undefined || line <= before) return detail;
    return atPlace(detail, { line: line + left, column });
  });
}

/** Returns the lines on which items begin; undefined if something else is there. */
function itemStarts(lineAt: (n: number) => string, from: number, to: number): number[] | undefined {
  const starts: number[] = [];
  let indent: number | undefined;
  for (let n = from; n < to; n += 1) {
    const line = lineAt(n);
    const hyphen = /^( *)-[ \t\r\n]/.exec(line) ?? /^( *)-$/.exec(line);
    const isFirst = indent === undefined;
    if (isFirst && hyphen === null) {
      if (/^\s*(#.*)?$/.test(line) || /^---\s*$/.test(line)) continue;
      return undefined;
    }
    indent ??= hyphen?.[1]?.length ?? 0;
    if (hyphen !== null && hyphen[1]?.length === indent) starts.push(n);
    else if (/^(?:---|\.\.\.)\s/.test(line)) return undefined;
  }
  return starts;
}

function* readYamlItems(
  cuts: Iterable<Cut>,
  readAll: () => LongList | { problems: ErrorDetail[] },
): Generator<ListItem> {
  let position = 0;
  for (const cut of cuts) {
    position += 1;
    const read = readYamlValue(cut.text);
    if ('problems' in read) {
      // An alias may refer to another item; then the text must be short enough to be read whole.
      const rest = read.problems.some(({ message }) => message.includes('refers to nothing')) && readAll();
      if (rest && 'items' in rest) {
        for (const item of rest.items) if (item.position >= position) yield item;
        return;
      }
      yield itemOf(cut, position, undefined, moved(read.problems, cut));
    } else if (Array.isArray(read.value) && read.value.length === 1) {
      yield itemOf(cut, position, read.value[0], [], read.places);
    } else {
      const problem = {
        line: cut.line + 1,
        column: 1,
        message: 'This is not an item of the list.',
        path: '',
      };
      yield itemOf(cut, position, undefined, [problem]);
    }
  }
}

function itemOf(
  cut: Cut,
  position: number,
  value: unknown,
  problems: ErrorDetail[],
  places?: Places,
): ListItem {
  const locate: Locate = (details) =>
    places === undefined
      ? [...details]
      : moved(
          places.locate(details.map((detail) => ({ ...detail, path: inList(detail.path) }))),
          cut,
          details.map(({ path }) => path),
        );
  const own = places?.find('[0]');
  const place = own === undefined ? { line: cut.line + 1, column: cut.column + 1 } : movedPlace(own, cut);
  return { position, place, value, problems, locate, readTo: cut.end };
}

const inList = (path: string) => (path === '' || path.startsWith('[') ? `[0]${path}` : `[0].${path}`);

function movedPlace({ line, column }: Place, cut: Cut): Place {
  return { line: line + cut.line, column: line === 1 ? column + cut.column : column };
}

/** Converts positions in the cut to positions in the whole; `paths` are the original paths. */
function moved(details: readonly ErrorDetail[], cut: Cut, paths?: readonly string[]): ErrorDetail[] {
  return details.map((detail, n) => {
    const { line, column } = detail;
    const path = paths?.[n] ?? detail.path;
    if (line === undefined || column === undefined) return { ...detail, path };
    return { ...atPlace(detail, movedPlace({ line, column }, cut)), path };
  });
}

/** Returns the detail with another position, which is also replaced in its message. */
function atPlace(detail: ErrorDetail, { line, column }: Place): ErrorDetail {
  const message = detail.message.replace(/^Line \d+, column \d+: /, `Line ${line}, column ${column}: `);
  return { ...detail, line, column, message };
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  if (starts.at(-1) !== text.length) starts.push(text.length);
  return starts;
}

// ------------------------------------------------------------------ JSON

function cutJson(text: string, key: string | undefined): LongList | { problems: ErrorDetail[] } | undefined {
  const scan = new JsonScan(text);
  const found = scan.findList(key);
  if (found === undefined) return undefined;
  const rest = `${text.slice(0, found.start + 1)}${'\n'.repeat(found.lines)}${text.slice(found.end)}`;
  const read = readJsonValue(rest);
  // Problems with its brackets are reported by reading it whole.
  if ('problems' in read) return undefined;
  const beside = key === undefined ? {} : { ...(read.value as Record<string, unknown>) };
  if (key !== undefined) delete beside[key];
  const items = function* (): Generator<ListItem> {
    for (const [n, cut] of found.items.entries()) {
      const item = readJsonValue(cut.text);
      const shifted = { ...cut, end: cut.end };
      if ('problems' in item) yield itemOf(shifted, n + 1, undefined, moved(item.problems, cut));
      else yield jsonItem(cut, n + 1, item.value, item.places);
    }
  };
  return { beside, locateBeside: (details) => read.places.locate(details), items: items() };
}

function jsonItem(cut: Cut, position: number, value: unknown, places: Places): ListItem {
  const locate: Locate = (details) =>
    moved(
      places.locate(details),
      cut,
      details.map(({ path }) => path),
    );
  return {
    position,
    place: { line: cut.line + 1, column: cut.column + 1 },
    value,
    problems: [],
    locate,
    readTo: cut.end,
  };
}

interface FoundList {
  /** Offset of the opening bracket. */
  start: number;
  /** Offset of the closing bracket. */
  end: number;
  /** Number of line breaks in between. */
  lines: number;
  items: Cut[];
}

/** Finds a list only by brackets and quotes. Invalid JSON is found when the parts are parsed. */
class JsonScan {
  readonly #text: string;
  #at = 0;
  #line = 0;
  #lineStart = 0;

  constructor(text: string) {
    this.#text = text;
  }

  findList(key: string | undefined): FoundList | undefined {
    this.#space();
    const open = this.#text[this.#at];
    if (key === undefined) return open === '[' ? this.#list() : undefined;
    if (open !== '{') return undefined;
    this.#at += 1;
    for (;;) {
      this.#space();
      if (this.#text[this.#at] === ',') {
        this.#at += 1;
        continue;
      }
      if (this.#text[this.#at] !== '"') return undefined;
      const name = this.#string();
      this.#space();
      if (this.#text[this.#at] !== ':') return undefined;
      this.#at += 1;
      this.#space();
      if (name === `"${key}"`) return this.#text[this.#at] === '[' ? this.#list() : undefined;
      this.#value();
    }
  }

  #list(): FoundList | undefined {
    const start = this.#at;
    const startLine = this.#line;
    const items: Cut[] = [];
    this.#at += 1;
    for (;;) {
      this.#space();
      const character = this.#text[this.#at];
      if (character === ']') return { start, end: this.#at, lines: this.#line - startLine, items };
      if (character === undefined) return undefined;
      if (items.length > 0) {
        if (character !== ',') return undefined;
        this.#at += 1;
        this.#space();
      }
      const from = this.#at;
      const [line, column] = [this.#line, from - this.#lineStart];
      this.#value();
      if (this.#at === from) return undefined;
      items.push({ text: this.#text.slice(from, this.#at), line, column, end: this.#at });
    }
  }

  /** Moves past a value, whatever it contains. */
  #value(): void {
    let depth = 0;
    for (; this.#at < this.#text.length; ) {
      const character = this.#text[this.#at];
      if (character === '"') {
        this.#string();
      } else if (character === '[' || character === '{') {
        depth += 1;
        this.#at += 1;
      } else if (character === ']' || character === '}') {
        if (depth === 0) return;
        depth -= 1;
        this.#at += 1;
      } else if (character === ',' && depth === 0) {
        return;
      } else if (character === ' ' || character === '\n' || character === '\r' || character === '\t') {
        if (depth === 0) return;
        this.#space();
        continue;
      } else this.#at += 1;
      if (depth === 0 && (character === '"' || character === ']' || character === '}')) return;
    }
  }

  #string(): string {
    const start = this.#at;
    this.#at += 1;
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"') {
      this.#at += this.#text[this.#at] === '\\' ? 2 : 1;
    }
    this.#at += 1;
    return this.#text.slice(start, this.#at);
  }

  #space(): void {
    for (;;) {
      const character = this.#text[this.#at];
      if (character === '\n') {
        this.#line += 1;
        this.#lineStart = this.#at + 1;
      } else if (character !== ' ' && character !== '\t' && character !== '\r') return;
      this.#at += 1;
    }
  }
}

// ------------------------------------------------------------------ whole

/** Reads a text that is written in some other way, if it is not too long for that. */
function readWhole(
  text: string,
  key: string | undefined,
  isJson: boolean,
): LongList | { problems: ErrorDetail[] } {
  const read = isJson ? readJsonValue(text) : readYamlValue(text);
  if ('problems' in read) return read;
  const { value, places } = read;
  const list = key === undefined ? value : Object(value)[key];
  if (!Array.isArray(list)) {
    const message =
      key === undefined ? 'Must be a list of jobs.' : `Has no list \`${key}\`; the jobs are in it.`;
    return { problems: places.locate([{ path: key ?? '', message }]) };
  }
  const beside = key === undefined ? {} : { ...(value as Record<string, unknown>) };
  if (key !== undefined) delete beside[key];
  const prefix = key ?? '';
  const items = list.map((item: unknown, n): ListItem => {
    const root = `${prefix}[${n}]`;
    const locate: Locate = (details) =>
      places
        .locate(
          details.map((one) => ({
            ...one,
            path:
              one.path === ''
                ? root
                : one.path.startsWith('[')
                  ? `${root}${one.path}`
                  : `${root}.${one.path}`,
          })),
        )
        .map((one, at) => ({ ...one, path: details[at]?.path ?? '' }));
    return {
      position: n + 1,
      place: places.find(root) ?? { line: 1, column: 1 },
      value: item,
      problems: [],
      locate,
      readTo: Math.round((text.length * (n + 1)) / list.length),
    };
  });
  return { beside, locateBeside: (details) => places.locate(details), items };
}
