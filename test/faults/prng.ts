// Seeded random numbers: the same seed gives the same round on every machine.
import { createHash } from 'node:crypto';

export class Prng {
  readonly #state: Uint32Array;

  constructor(...seeds: readonly (string | number)[]) {
    const digest = createHash('sha256').update(seeds.join('/')).digest();
    this.#state = Uint32Array.from([0, 4, 8, 12], (at) => digest.readUInt32LE(at));
  }

  /** From 0 (included) to 1 (excluded); sfc32. */
  next(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#state;
    const sum = (a + b + d) >>> 0;
    this.#state.set([
      b ^ (b >>> 9),
      (c + (c << 3)) >>> 0,
      (((c << 21) | (c >>> 11)) + sum) >>> 0,
      (d + 1) >>> 0,
    ]);
    return sum / 2 ** 32;
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error('nothing to pick from');
    const item = items[this.between(0, items.length - 1)] as T;
    return item;
  }
}
