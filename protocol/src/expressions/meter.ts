// Counts, instead of timing, what evaluating an expression costs: every node evaluated, and the size of what it
// handles. CEL has no endless loops, but nested loops over a list of ten thousand come close.
import { limits } from '../limits.ts';
import { PatternBudget } from '../patterns/pattern.ts';

/** Thrown by a `Meter` once the limit on the steps of an expression is exceeded. */
export class TooCostly extends Error {
  constructor() {
    super('The expression costs more than is allowed');
    this.name = 'TooCostly';
  }
}

/** Shared, because creating an error takes time, and it is thrown thousands of times if the library swallows it. */
const tooCostly = new TooCostly();

/** What one evaluation has cost so far, in steps. */
class Meter {
  steps = 0;
  /** Stays true if the library continues after the error, as `||` does if its other side is true. */
  exceeded = false;
  readonly patterns = new PatternBudget();
  readonly #weights = new WeakMap<object, number>();

  spend(steps: number): void {
    if (this.exceeded || this.steps + steps > limits.maxExpressionSteps) this.exceed();
    this.steps += steps;
  }

  /** Including the cost of patterns, ten of whose steps count as one. */
  get cost(): number {
    return this.steps + Math.ceil((limits.maxPatternSteps - this.patterns.left) / 10);
  }

  exceed(): never {
    this.exceeded = true;
    throw tooCostly;
  }

  /** The cost of looking at a whole value. */
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

/** Evaluates with a meter of its own. Evaluation is synchronous, so only one is current at a time. */
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

/** Returns the meter of the current evaluation. */
export function meter(): Meter {
  if (current === undefined) throw new Error('An expression is evaluated outside of metered()');
  return current;
}
