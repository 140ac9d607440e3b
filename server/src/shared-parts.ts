// Schemas name no part twice, as TypeBox writes each where it stands. To compile a definition's, whose parameters hold
// parameters four levels deep, would so take three times as long as with each part once.
import type { TSchema } from 'typebox';

type Json = { [word: string]: unknown };

/** Words whose values are no schemas, and unions: which branch was meant is told from where in them an error stands. */
const leftAlone = new Set(['anyOf', 'oneOf', 'enum', 'const', 'default']);

/** The same schema, in which objects that are described more than once stand in `$defs`. */
export function withSharedParts(schema: TSchema): TSchema {
  const parts = new SharedParts();
  parts.count(schema);
  const shared = parts.referring(schema) as Json;
  return parts.definitions.size === 0
    ? schema
    : ({ ...shared, $defs: Object.fromEntries(parts.definitions) } as unknown as TSchema);
}

class SharedParts {
  readonly definitions = new Map<string, unknown>();
  readonly #counts = new Map<string, number>();
  readonly #names = new Map<string, string>();

  count(value: unknown): void {
    if (isObjectSchema(value)) {
      const key = JSON.stringify(value);
      const before = this.#counts.get(key) ?? 0;
      this.#counts.set(key, before + 1);
      if (before > 0) return;
    }
    for (const [word, inner] of entriesOf(value)) if (!leftAlone.has(word)) this.count(inner);
  }

  /** A copy that refers to what is shared, itself whole. */
  referring(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((inner) => this.#placed(inner));
    if (typeof value !== 'object' || value === null) return value;
    const entries = entriesOf(value).map(([word, inner]) => [
      word,
      leftAlone.has(word) ? inner : this.#placed(inner),
    ]);
    return Object.fromEntries(entries);
  }

  #placed(value: unknown): unknown {
    const key = isObjectSchema(value) ? JSON.stringify(value) : undefined;
    if (key === undefined || (this.#counts.get(key) ?? 0) < 2) return this.referring(value);
    let name = this.#names.get(key);
    if (name === undefined) {
      name = `part${this.#names.size + 1}`;
      this.#names.set(key, name);
      this.definitions.set(name, this.referring(value));
    }
    return { $ref: `#/$defs/${name}` };
  }
}

function entriesOf(value: unknown): [word: string, inner: unknown][] {
  return typeof value === 'object' && value !== null ? Object.entries(value) : [];
}

function isObjectSchema(value: unknown): value is Json {
  return (
    typeof value === 'object' && value !== null && 'properties' in value && (value as Json).type === 'object'
  );
}
