// A cursor list that is read again while it is shown, as far as the reader has asked for more.
import { untrack } from 'svelte';
import type { Page, PageQuery } from '../../api/page.ts';
import { Query } from '../query.svelte.ts';

const maxPageItems = 200;
const firstItems = 50;

export class PagedList<T> {
  #wanted = firstItems;
  readonly #query: Query<{ items: T[]; more: boolean }>;

  /** What the previous list showed; it stays on the screen until this one is read. */
  readonly #stale: { items: T[]; more: boolean } | undefined;

  constructor(
    read: (query: PageQuery, signal: AbortSignal) => Promise<Page<T>>,
    before?: PagedList<T> | undefined,
  ) {
    this.#stale = untrack(() => before?.shown);
    this.#query = new Query(async (signal) => {
      const items: T[] = [];
      let cursor: string | undefined;
      do {
        const limit = Math.min(maxPageItems, this.#wanted - items.length);
        const page = await read(cursor === undefined ? { limit } : { limit, cursor }, signal);
        items.push(...page.items);
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined && items.length < this.#wanted);
      return { items, more: cursor !== undefined };
    });
  }

  get shown(): { items: T[]; more: boolean } | undefined {
    return this.#query.data ?? (this.#query.error === undefined ? this.#stale : undefined);
  }
  /** Whether what is shown is that of the previous list. */
  get stale(): boolean {
    return this.#query.data === undefined;
  }
  get items(): T[] | undefined {
    return this.shown?.items;
  }
  get more(): boolean {
    return this.shown?.more ?? false;
  }
  get trouble() {
    return this.#query.trouble;
  }
  get loading(): boolean {
    return this.#query.loading;
  }
  get slow(): boolean {
    return this.#query.slow;
  }

  start(everyMs?: number): () => void {
    return this.#query.start(everyMs);
  }

  load(): Promise<void> {
    return this.#query.load();
  }

  loadMore(): Promise<void> {
    this.#wanted += maxPageItems;
    return this.#query.load();
  }
}
