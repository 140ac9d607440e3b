// What transfers that go on at once have of the agent's memory: each has a part of what all may have together.
import { boundYoungGeneration, keepHeapSmall } from '../heap-growth.ts';

const underWay = new Set<MemoryShare>();

export interface Shared {
  /** What one has while it is alone, or nearly so. */
  most: number;
  /** What all have together. */
  together: number;
  /** What one has however many there are. */
  least: number;
}

/** Fewer entries are large files, or soon over: of large ones every packet counts towards the next collection. */
const many = 100;
/** That the transfers under way have looked at. */
let entriesUnderWay = 0;
let letHeapGrow: (() => void) | undefined;

/** Of one transfer, from its beginning until `release`. */
export class MemoryShare {
  readonly #letHeapGrow = keepHeapSmall('files');
  #entries = 0;
  #made = 0;

  constructor() {
    underWay.add(this);
  }

  /** Of buffers, bytes or whatever takes memory, as many as are this transfer's at this moment. */
  partOf({ most, together, least }: Shared): number {
    return Math.min(most, Math.max(least, Math.floor(together / Math.max(1, underWay.size))));
  }

  /** Told of whatever is made as often as there are entries or chunks: many of them make the young generation grow. */
  countMade(): void {
    this.#made += 1;
    if (this.#made % many === 0) boundYoungGeneration();
  }

  /** Each of many entries leaves what lives just long enough to be taken for lasting: it is collected sooner from then on. */
  countEntry(): void {
    if (!underWay.has(this)) return;
    this.#entries += 1;
    entriesUnderWay += 1;
    this.countMade();
    if (entriesUnderWay >= many) letHeapGrow ??= keepHeapSmall('manyFiles');
  }

  release(): void {
    if (!underWay.delete(this)) return;
    this.#letHeapGrow();
    entriesUnderWay -= this.#entries;
    if (entriesUnderWay >= many) return;
    letHeapGrow?.();
    letHeapGrow = undefined;
  }
}
