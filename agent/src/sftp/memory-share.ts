// Divides memory among the transfers that run at the same time: each gets a part of what all may use together.
import { boundYoungGeneration, keepHeapSmall } from '../memory/heap-growth.ts';

const underWay = new Set<MemoryShare>();

export interface Shared {
  /** The most that one transfer gets, when there are few. */
  most: number;
  /** What all of them get together. */
  together: number;
  /** What each gets at least, however many there are. */
  least: number;
}

/**
 * With fewer entries, the files are large, so that their packets cause collections anyway, or the transfer is soon
 * over.
 */
const many = 100;
/** Number of entries that the running transfers have looked at. */
let entriesUnderWay = 0;
let letHeapGrow: (() => void) | undefined;

/** The share of one transfer, from its beginning until `release`. */
export class MemoryShare {
  readonly #letHeapGrow = keepHeapSmall('files');
  #entries = 0;
  #made = 0;

  constructor() {
    underWay.add(this);
  }

  /** Returns how many buffers, bytes or other units of memory this transfer may have at this moment. */
  partOf({ most, together, least }: Shared): number {
    return Math.min(most, Math.max(least, Math.floor(together / Math.max(1, underWay.size))));
  }

  /** Counts an object made for each entry or chunk. Many of them would make the young generation grow. */
  countMade(): void {
    this.#made += 1;
    if (this.#made % many === 0) boundYoungGeneration();
  }

  /**
   * Counts an entry of the source. Each entry leaves objects that live just long enough to reach the old generation, so
   * with many entries that is collected sooner.
   */
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
