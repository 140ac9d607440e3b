// How many runs a list has on all its pages. The list is read again every few seconds; to count, the database looks for all
// that fit, so that is asked for now and then.
import type { Run } from '@opsconductor/protocol';
import type { Page } from '../../api/page.ts';

const againMs = 60_000;

export class RunCount {
  #askedAt = Number.NEGATIVE_INFINITY;
  #total: number | undefined;

  /** Whether to have them counted with the first page that is read now; it counts as asked. */
  isDue(now = performance.now()): boolean {
    if (now - this.#askedAt < againMs) return false;
    this.#askedAt = now;
    return true;
  }

  /** As known with this first page. */
  after(page: Page<Run> & { total?: number }): number | undefined {
    if (page.nextCursor === null) {
      this.#total = page.items.length;
      // What comes on a second page is to be counted at once.
      this.#askedAt = Number.NEGATIVE_INFINITY;
    } else if (page.total !== undefined) this.#total = page.total;
    return this.#total;
  }
}
