// The values that a script refers to, each under a name that its author can't have used.
import type { ParameterType } from '../api/parameters.ts';
import { type Reference, referenceText } from './reference.ts';
import type { Known } from './scope.ts';

export interface Binding {
  /** Of the variable. */
  name: string;
  type: ParameterType;
  value: unknown;
  secret: boolean;
}

/** Gives names to values, the same to the same one. */
export class Bindings {
  readonly #prefix: string;
  readonly #byReference = new Map<string, Binding>();

  /** @param stem Names are this and a number; `_` is put between until no text of the step has it. */
  constructor(stem: string, texts: readonly string[]) {
    let prefix = `${stem}_`;
    const folded = texts.map((text) => text.toUpperCase());
    while (folded.some((text) => text.includes(prefix.toUpperCase()))) prefix += '_';
    this.#prefix = prefix;
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
