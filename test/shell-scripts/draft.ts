// The choices that make a random script, and what it has so far: its placeholders, here-documents and nesting.
import { seeded } from '../support/hostile-strings.ts';

/** How a reference to the value is written at its place: in quotes of its own, as it is, or in parentheses. */
export type Form = 'word' | 'plain' | 'number';

export const variableNames = ['a', 'b', 'c', 'x', 'y', 'line'];
export const functionNames = ['f', 'g', 'run_it'];
const deepest = 4;

export class Draft {
  /** Of each placeholder. */
  readonly forms: Form[] = [];
  /** Variable of the step's environment that holds a value of its own. */
  readonly environment: string | undefined;
  /** How many here-documents there are, which numbers the marks of their ends. */
  documents = 0;
  readonly #random: () => number;
  #depth = 0;

  constructor(seed: number) {
    this.#random = seeded(seed * 2_654_435_761);
    for (let skipped = 0; skipped < 3; skipped += 1) this.#random();
    if (this.chance(0.12)) this.environment = this.pick(['NAME', 'x', 'FILES']);
  }

  chance(of: number): boolean {
    return this.#random() < of;
  }

  number(below: number): number {
    return Math.floor(this.#random() * below);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.number(from.length)] as T;
  }

  /** Runs one of the makers; the others make nothing, so that they use up no placeholders. */
  one(...makers: readonly (() => string)[]): string {
    return this.pick(makers)();
  }

  variable(): string {
    return this.environment !== undefined && this.chance(0.3) ? this.environment : this.pick(variableNames);
  }

  hole(form: Form): string {
    this.forms.push(form);
    return `⟪${this.forms.length - 1}⟫`;
  }

  get isDeep(): boolean {
    return this.#depth >= deepest;
  }

  /** Makes something within what is being made, or `undefined` if that is deep enough. */
  deeper(make: () => string): string | undefined {
    if (this.isDeep) return undefined;
    this.#depth += 1;
    try {
      return make();
    } finally {
      this.#depth -= 1;
    }
  }
}
