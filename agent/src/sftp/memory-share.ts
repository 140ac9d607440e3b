// What transfers that go on at once have of the agent's memory: each has a part of what all may have together.
import { keepHeapSmall } from '../heap-growth.ts';

const underWay = new Set<MemoryShare>();

export interface Shared {
  /** What one has while it is alone, or nearly so. */
  most: number;
  /** What all have together. */
  together: number;
  /** What one has however many there are. */
  least: number;
}

/** Of one transfer, from its beginning until `release`. */
export class MemoryShare {
  readonly #letHeapGrow = keepHeapSmall();

  constructor() {
    underWay.add(this);
  }

  /** Of buffers, bytes or whatever takes memory, as many as are this transfer's at this moment. */
  partOf({ most, together, least }: Shared): number {
    return Math.min(most, Math.max(least, Math.floor(together / Math.max(1, underWay.size))));
  }

  release(): void {
    if (underWay.delete(this)) this.#letHeapGrow();
  }
}
