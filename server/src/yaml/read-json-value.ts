// Reads JSON to a value with the position of everything in it, so that problems can be reported by line and column, as
// with YAML.
import type { ErrorDetail } from '@opsconductor/protocol';
import { findJsonError } from './json-error.ts';
import { type Place, Places } from './places.ts';
import type { YamlValue } from './read-yaml-value.ts';

const maxDepth = 64;

/** Reads one value. Messages never quote the text. */
export function readJsonValue(text: string): YamlValue {
  try {
    JSON.parse(text);
  } catch {
    const { line, column, expected } = findJsonError(text);
    return { problems: [problem({ line, column }, `${expected}.`)] };
  }
  const walk = new Walk(text);
  const value = walk.value(0);
  return walk.problems.length > 0 ? { problems: walk.problems } : { value, places: walk.places };
}

function problem({ line, column }: Place, message: string): ErrorDetail {
  return { path: '', message: `Line ${line}, column ${column}: ${message}`, line, column };
}

/** Walks through text that is known to be JSON. */
class Walk {
  readonly places = new Places();
  readonly problems: ErrorDetail[] = [];
  readonly #text: string;
  #at = 0;
  #line = 1;
  #lineStart = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): unknown {
    this.#skip();
    const character = this.#text[this.#at];
    if (depth > maxDepth) return this.#tooDeep();
    if (character === '{') return this.#object(depth);
    if (character === '[') return this.#list(depth);
    return JSON.parse(this.#scalar());
  }

  #object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.places.begin(object, this.#place());
    for (this.#at += 1; !this.#ends('}'); ) {
      const keyPlace = this.#place();
      const name = JSON.parse(this.#scalar()) as string;
      this.#skip();
      this.#at += 1; // the colon
      this.#skip();
      if (Object.hasOwn(object, name)) this.problems.push(problem(keyPlace, 'This key occurs twice.'));
      const isContainer = this.#text[this.#at] === '{' || this.#text[this.#at] === '[';
      this.places.set(object, name, isContainer ? keyPlace : this.#place(), keyPlace);
      const value = this.value(depth + 1);
      // Defines an own property, whatever its name is.
      Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
    }
    return object;
  }

  #list(depth: number): unknown[] {
    const list: unknown[] = [];
    this.places.begin(list, this.#place());
    for (this.#at += 1; !this.#ends(']'); ) {
      this.places.set(list, String(list.length), this.#place());
      list.push(this.value(depth + 1));
    }
    return list;
  }

  /** Moves past a comma, or past the bracket that ends the container; returns whether it ended. */
  #ends(bracket: string): boolean {
    this.#skip();
    if (this.#text[this.#at] === ',') {
      this.#at += 1;
      this.#skip();
    }
    if (this.#text[this.#at] !== bracket) return false;
    this.#at += 1;
    return true;
  }

  #scalar(): string {
    const start = this.#at;
    if (this.#text[start] !== '"') {
      scalarEnd.lastIndex = start;
      this.#at = scalarEnd.exec(this.#text)?.index ?? this.#text.length;
    } else {
      do {
        this.#at += this.#text[this.#at] === '\\' ? 2 : 1;
      } while (this.#text[this.#at] !== '"');
      this.#at += 1;
    }
    return this.#text.slice(start, this.#at);
  }

  #skip(): void {
    for (;;) {
      const character = this.#text[this.#at];
      if (character === '\n') {
        this.#line += 1;
        this.#lineStart = this.#at + 1;
      } else if (character !== ' ' && character !== '\t' && character !== '\r') return;
      this.#at += 1;
    }
  }

  #place(): Place {
    return { line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  #tooDeep(): null {
    this.problems.push(problem(this.#place(), `It is nested deeper than ${maxDepth} levels.`));
    this.#at = this.#text.length;
    return null;
  }
}

const scalarEnd = /[\s,\]}]/g;
