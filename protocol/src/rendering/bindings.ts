// The values that a script refers to, each under a name that its author can't have used.
import type { ParameterType } from '../api/jobs/parameters.ts';
import { type Reference, referenceText } from './placeholders/reference.ts';
import type { Known } from './placeholders/scope.ts';

export interface Binding {
  /** Name of the variable. */
  name: string;
  type: ParameterType;
  value: unknown;
  secret: boolean;
}

/** Assigns names to values; the same reference always gets the same name. */
export class Bindings {
  readonly #prefix: string;
  readonly #byReference = new Map<string, Binding>();

  /** @param stem Names consist of this, enough `_` that no text of the step contains it, and a number. */
  constructor(stem: string, texts: readonly string[]) {
    const taken = new RegExp(`${stem}_+`, 'gi');
    let longest = stem.length;
    for (const text of texts) {
      for (const [found] of text.matchAll(taken)) longest = Math.max(longest, found.length);
    }
    this.#prefix = stem.padEnd(longest + 1, '_');
  }

  bind(reference: Reference, known: Known, value: unknown): Binding {
    const key = referenceText(reference);
    const bound = this.#byReference.get(key);
    if (bound !== undefined) return bound;
    const name = `${this.#prefix}${this.#byReference.size + 1}`;
    const binding = { name, type: known.type, value, secret: known.secret };
    this.#byReference.set(key, binding);
    return binding;
  }

  all(): Binding[] {
    return [...this.#byReference.values()];
  }
}
