// The number of runs on all pages of a list. The list is read again every few seconds, but counting makes the database
// find all matching runs, so the count is requested only now and then.
import type { Run } from '@opsconductor/protocol';
import type { Page } from '../../api/page.ts';

const againMs = 60_000;

export class RunCount {
  #askedAt = Number.NEGATIVE_INFINITY;
  #total: number | undefined;

  /** Returns whether to request a count with the first page that is read now; if so, notes that it was requested. */
  isDue(now = performance.now()): boolean {
    if (now - this.#askedAt < againMs) return false;
    this.#askedAt = now;
    return true;
  }

  /** Returns the total that is known after this first page; undefined if none is. */
  after(page: Page<Run> & { total?: number }): number | undefined {
    if (page.nextCursor === null) {
      this.#total = page.items.length;
      // As soon as there is a second page, count at once.
      this.#askedAt = Number.NEGATIVE_INFINITY;
    } else if (page.total !== undefined) this.#total = page.total;
    return this.#total;
  }
}
