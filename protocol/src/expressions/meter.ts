// What evaluating an expression costs, counted and not timed: every part that is evaluated, and the sizes of what it
// handles. CEL has no loops without end, but loops inside loops over a list of ten thousand come near it.
import { limits } from '../limits.ts';
import { PatternBudget } from '../patterns/pattern.ts';

export class TooCostly extends Error {
  constructor() {
    super('The expression costs more than is allowed');
    this.name = 'TooCostly';
  }
}

/** One for all: where the library swallows it, it is thrown by the thousand, and making an error takes its time. */
const tooCostly = new TooCostly();

export class Meter {
  steps = 0;
  /** Stays true where the library goes on after the error, as `||` does when its other side is true. */
  exceeded = false;
  readonly patterns = new PatternBudget();
  readonly #weights = new WeakMap<object, number>();

  spend(steps: number): void {
    if (this.exceeded || this.steps + steps > limits.maxExpressionSteps) this.exceed();
    this.steps += steps;
  }

  /** With what patterns took, ten of whose steps count as one. */
  get cost(): number {
    return this.steps + Math.ceil((limits.maxPatternSteps - this.patterns.left) / 10);
  }

  exceed(): never {
    this.exceeded = true;
    throw tooCostly;
  }

  /** What it costs to look at a value whole. */
  weigh(value: unknown): number {
    if (typeof value === 'string') return value.length >> 5;
    if (typeof value !== 'object' || value === null) return 0;
    const known = this.#weights.get(value);
    if (known !== undefined) return known;
    let weight = 1;
    const inner = Array.isArray(value) || value instanceof Map ? value.values() : Object.values(value);
    for (const one of inner) weight += 1 + this.weigh(one);
    this.#weights.set(value, weight);
    return weight;
  }
}

let current: Meter | undefined;

export type Metered<T> = ({ value: T } | { error: unknown }) & { steps: number };

/** Evaluates under a meter of its own. Evaluation is synchronous, so there is one at a time. */
export function metered<T>(evaluate: () => T): Metered<T> {
  const own = new Meter();
  const outer = current;
  current = own;
  try {
    const value = evaluate();
    return own.exceeded ? { error: tooCostly, steps: own.cost } : { value, steps: own.cost };
  } catch (error) {
    return { error: own.exceeded ? tooCostly : error, steps: own.cost };
  } finally {
    current = outer;
  }
}

/** The meter of the evaluation that goes on. */
export function meter(): Meter {
  if (current === undefined) throw new Error('An expression is evaluated outside of metered()');
  return current;
}
