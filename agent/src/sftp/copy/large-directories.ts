// Bounds how many entries of directories are held at a time, whatever the other side lists. Of large directories only
// one is looked at, and then what it contains: its entries are held until everything in it is done.

import { Semaphore } from '../../timing/semaphore.ts';
import type { Entry } from '../tree/tree.ts';
import { tooManyHeld } from './refusals/tree-refusals.ts';

/** Entries of both sides from which on a directory is large. */
const largeEntries = 10_000;
/** Limit on the entries of large directories that are inside one another: they take some hundred bytes each. */
const maxHeldEntries = 2_500_000;

/** The entries of a directory on both sides. */
export type BothSides = [source: Entry[], destination: Entry[]];

export interface LargeBounds {
  large: number;
  most: number;
}

/** What is held of the directories that contain some others. */
export class LargeDirectories {
  readonly #held: number;
  readonly #bounds: LargeBounds;
  readonly #turn = new Semaphore(1);

  constructor(bounds: LargeBounds = { large: largeEntries, most: maxHeldEntries }, held = 0) {
    this.#bounds = bounds;
    this.#held = held;
  }

  /**
   * Lists a directory. If it is large, waits until those beside it are done. The caller must release the entries.
   *
   * @throws TransferError if too many entries would be held.
   */
  async list(
    path: string,
    look: () => Promise<BothSides>,
  ): Promise<{ both: BothSides; inside: LargeDirectories; release(): void }> {
    const both = await look();
    if (!this.#isLarge(both)) return { both, inside: this, release: () => undefined };
    const isNext = this.#turn.tryTake();
    if (!isNext) {
      // Not held while it waits: it is listed again.
      both[0] = [];
      both[1] = [];
      await this.#turn.take();
    }
    try {
      return this.#within(path, isNext ? both : await look());
    } catch (error) {
      this.#turn.give();
      throw error;
    }
  }

  #within(path: string, both: BothSides) {
    const held = this.#held + sizeOf(both);
    if (held > this.#bounds.most) throw tooManyHeld(path, this.#bounds.most);
    return { both, inside: new LargeDirectories(this.#bounds, held), release: () => this.#turn.give() };
  }

  #isLarge(both: BothSides): boolean {
    return sizeOf(both) > this.#bounds.large;
  }
}

function sizeOf([source, destination]: BothSides): number {
  return source.length + destination.length;
}
