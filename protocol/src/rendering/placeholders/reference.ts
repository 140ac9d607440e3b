// The content of `${{ … }}`: a source, a path into it, and whether its text is spliced raw.

const referenceSources = ['parameters', 'target', 'run', 'job', 'steps'] as const;
export type ReferenceSource = (typeof referenceSources)[number];

export interface Reference {
  source: ReferenceSource;
  /** Keys and indexes after the source. */
  path: (string | number)[];
  /** `raw(…)`: the text itself instead of a reference to it. */
  raw: boolean;
}

export type ParsedReference =
  | { reference: Reference; end: number }
  | { problem: string; fix: string; at: number };

const identifier = /[A-Za-z_][A-Za-z0-9_]*/y;
const index = /(0|[1-9]\d{0,5})(?!\d)/y;
const key = /"(?:[^"\\\n]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*"/y;

/** Parses from after `${{` to after `}}`. */
export function parseReference(text: string, start: number): ParsedReference {
  const reader = new Reader(text, start);
  try {
    return { reference: reader.reference(), end: reader.at };
  } catch (error) {
    if (error instanceof Problem) return { problem: error.message, fix: error.fix, at: error.at };
    throw error;
  }
}

/** Returns a reference in its plain form, `parameters.servers[0].name`; equal references give equal texts. */
export function referenceText({ source, path }: Pick<Reference, 'source' | 'path'>): string {
  const rest = path.map((part) => {
    if (typeof part === 'number') return `[${part}]`;
    return /^[A-Za-z_][A-Za-z0-9_]*$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`;
  });
  return `${source}${rest.join('')}`;
}

/** Returns the placeholder as an author would write it. */
export function placeholderText(reference: Reference): string {
  const text = referenceText(reference);
  return `\${{ ${reference.raw ? `raw(${text})` : text} }}`;
}

class Problem extends Error {
  readonly fix: string;
  readonly at: number;
  constructor(message: string, fix: string, at: number) {
    super(message);
    this.fix = fix;
    this.at = at;
  }
}

const howToRefer =
  'Write ${{ parameters.name }}, ${{ target.name }}, ${{ run.id }}, ${{ job.name }} or ${{ steps.id.outputs.name }}.';

class Reader {
  readonly #text: string;
  readonly #start: number;
  at: number;

  constructor(text: string, start: number) {
    this.#text = text;
    this.#start = start;
    this.at = start;
  }

  reference(): Reference {
    this.#blanks();
    const raw = /^raw[ \t]*\(/.exec(this.#text.slice(this.at, this.at + 40))?.[0];
    if (raw !== undefined) {
      this.at += raw.length;
      this.#blanks();
    }
    const source = this.#source();
    const path = this.#path();
    this.#blanks();
    if (raw !== undefined) {
      if (!this.#take(')')) throw this.#unexpected('a closing parenthesis');
      this.#blanks();
    }
    if (!this.#take('}}')) throw this.#unexpected('}}');
    return { source, path, raw: raw !== undefined };
  }

  #source(): ReferenceSource {
    const at = this.at;
    const name = this.#match(identifier);
    if (name === undefined) throw this.#unexpected('a source');
    const source = referenceSources.find((known) => known === name);
    if (source !== undefined) return source;
    if (!this.#isClosed()) throw this.#unexpected('a source');
    throw new Problem(
      `${JSON.stringify(name)} is no source of values; there are ${referenceSources.join(', ')}`,
      howToRefer,
      at,
    );
  }

  #path(): (string | number)[] {
    const path: (string | number)[] = [];
    for (;;) {
      if (this.#take('.')) {
        const name = this.#match(identifier);
        if (name === undefined) throw this.#unexpected('a name after the dot');
        path.push(name);
      } else if (this.#take('[')) {
        path.push(this.#subscript());
      } else return path;
    }
  }

  #subscript(): string | number {
    this.#blanks();
    const number = this.#match(index);
    const quoted = number === undefined ? this.#match(key) : undefined;
    if (number === undefined && quoted === undefined) throw this.#unexpected('["key"] or [0]');
    this.#blanks();
    if (!this.#take(']')) throw this.#unexpected('a closing bracket');
    return number === undefined ? (JSON.parse(quoted as string) as string) : Number(number);
  }

  #unexpected(wanted: string): Problem {
    const rest = this.#text.slice(this.at);
    if (rest.startsWith('${{') || rest.startsWith('{{')) {
      return new Problem('A placeholder stands inside another one', 'Write each one by itself.', this.at);
    }
    if (!this.#isClosed()) {
      return new Problem(
        'The placeholder is not closed',
        'End it with }} on the same line, or write $${{ for the text ${{ itself.',
        this.#start - 3,
      );
    }
    const found = /^\s*\}\}/.test(rest) ? 'the end' : JSON.stringify([...rest].slice(0, 12).join(''));
    return new Problem(`Here ${wanted} is wanted and ${found} was found`, howToRefer, this.at);
  }

  #isClosed(): boolean {
    return /^[^\n]*\}\}/.test(this.#text.slice(this.#start));
  }

  #blanks(): void {
    while (/[ \t]/.test(this.#text[this.at] ?? '')) this.at += 1;
  }

  #take(wanted: string): boolean {
    if (!this.#text.startsWith(wanted, this.at)) return false;
    this.at += wanted.length;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.#text)?.[0];
    this.at += found?.length ?? 0;
    return found;
  }
}
