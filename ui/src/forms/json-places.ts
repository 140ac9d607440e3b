// Reads JSON (RFC 8259) and remembers where each value stands, so that an error that names `steps[2].config.timeout`
// can be shown at its line.

export interface JsonPlace {
  /** Offsets into the text. */
  from: number;
  to: number;
}

export interface JsonText {
  value: unknown;
  /** By path, as the API writes them: `steps[2].config.timeout`; the whole is ''. */
  places: Map<string, JsonPlace>;
}

/** Not JSON: what was expected, and where. */
export class JsonError extends Error {
  override name = 'JsonError';
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

const maxDepth = 100;

/** @throws {JsonError} */
export function readJson(text: string): JsonText {
  const reader = new Reader(text);
  const value = reader.readWhole();
  return { value, places: reader.places };
}

/** Line and column, from 1, of an offset. */
export function lineOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - before.lastIndexOf('\n') };
}

/** The place of a path, or of the nearest value around it that exists. */
export function nearestPlace(places: ReadonlyMap<string, JsonPlace>, path: string): JsonPlace | undefined {
  let current = path;
  for (;;) {
    const place = places.get(current);
    if (place !== undefined) return place;
    if (current === '') return undefined;
    current = current.slice(0, Math.max(0, current.lastIndexOf('.'), current.lastIndexOf('[')));
  }
}

class Reader {
  readonly places = new Map<string, JsonPlace>();
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readWhole(): unknown {
    const value = this.#value('', 0);
    this.#space();
    if (this.#at < this.#text.length)
      throw new JsonError('Nothing may follow the end of the definition.', this.#at);
    return value;
  }

  #value(path: string, depth: number): unknown {
    this.#space();
    const from = this.#at;
    if (depth > maxDepth) throw new JsonError('It is nested too deeply.', from);
    const value = this.#read(path, depth);
    this.places.set(path, { from, to: this.#at });
    return value;
  }

  #read(path: string, depth: number): unknown {
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(path, depth);
      case '[':
        return this.#array(path, depth);
      case '"':
        return this.#string();
      default:
        return this.#scalar();
    }
  }

  #object(path: string, depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.#at += 1;
    this.#space();
    if (this.#take('}')) return object;
    for (;;) {
      this.#space();
      if (this.#text[this.#at] !== '"')
        throw new JsonError('A property name in double quotes is expected.', this.#at);
      const nameAt = this.#at;
      const name = this.#string();
      if (Object.hasOwn(object, name))
        throw new JsonError(`The property ${JSON.stringify(name)} stands twice.`, nameAt);
      this.#space();
      if (!this.#take(':')) throw new JsonError('A colon is expected after the property name.', this.#at);
      const value = this.#value(path === '' ? name : `${path}.${name}`, depth + 1);
      Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
      this.#space();
      if (this.#take('}')) return object;
      if (!this.#take(',')) throw new JsonError('A comma or } is expected.', this.#at);
    }
  }

  #array(path: string, depth: number): unknown[] {
    const array: unknown[] = [];
    this.#at += 1;
    this.#space();
    if (this.#take(']')) return array;
    for (;;) {
      array.push(this.#value(`${path}[${array.length}]`, depth + 1));
      this.#space();
      if (this.#take(']')) return array;
      if (!this.#take(',')) throw new JsonError('A comma or ] is expected.', this.#at);
    }
  }

  #string(): string {
    const from = this.#at;
    for (let at = from + 1; at < this.#text.length; at += 1) {
      const char = this.#text[at];
      if (char === '\\') at += 1;
      else if (char === '"') {
        this.#at = at + 1;
        return this.#parsed(from) as string;
      } else if ((char ?? '') < ' ') {
        throw new JsonError(
          char === '\n'
            ? 'A string ends on its line: write \\n for a new line.'
            : 'A control character must be escaped.',
          at,
        );
      }
    }
    throw new JsonError('The string does not end.', from);
  }

  #scalar(): unknown {
    const from = this.#at;
    while (this.#at < this.#text.length && /[-+.\w]/.test(this.#text[this.#at] ?? '')) this.#at += 1;
    if (this.#at === from) {
      const what = from >= this.#text.length ? 'The definition ends too early' : 'A value is expected';
      throw new JsonError(`${what}.`, from);
    }
    return this.#parsed(from);
  }

  #parsed(from: number): unknown {
    const piece = this.#text.slice(from, this.#at);
    try {
      return JSON.parse(piece);
    } catch {
      throw new JsonError(
        piece.startsWith('"')
          ? 'The string has an escape that JSON does not know.'
          : `${piece} is no JSON value: strings stand in double quotes.`,
        from,
      );
    }
  }

  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #space() {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? '')) this.#at += 1;
  }
}
