// A list, as far as a reader has scrolled. Only the pages in view are read again while the list is shown, so that a
// list of thousands costs no more than a short one.
import { untrack } from 'svelte';
import { ApiError, isPassing } from '../../api/client.ts';
import type { Page, PageQuery } from '../../api/page.ts';

const pageItems = 200;

type Read<T> = (
  query: PageQuery & { count?: boolean },
  signal: AbortSignal,
) => Promise<Page<T> & { total?: number | undefined }>;
interface ReadPage<T> {
  items: readonly T[];
  next: string | undefined;
}

export class LongList<T extends { id: number }> {
  /** What the previous list showed; it stays on the screen until this one is read. */
  readonly #stale: { items: readonly T[] | undefined; total: number } | undefined;
  #pages = $state.raw<readonly ReadPage<T>[]>();
  #total = $state<number>();
  readonly #items = $derived(this.#pages?.flatMap((page) => page.items));
  loading = $state(false);
  slow = $state(false);
  error = $state.raw<ApiError>();
  readonly more = $derived(this.#pages?.at(-1)?.next !== undefined);
  readonly #read: Read<T>;
  readonly #owner = new AbortController();
  #looking = false;
  #isWatched = false;
  #failed: (() => Promise<void>) | undefined;

  constructor(read: Read<T>, before?: LongList<T> | undefined) {
    this.#read = read;
    this.#stale = untrack(() =>
      before === undefined ? undefined : { items: before.items, total: before.total },
    );
  }

  get items(): readonly T[] | undefined {
    return this.#items ?? this.#waiting?.items;
  }
  /** Total over all pages, as of the last reading of the first one. */
  get total(): number {
    return this.#total ?? this.#waiting?.total ?? 0;
  }
  /** The error that the page has to show; not a lost connection while the list has rows, as the footer shows that. */
  get trouble(): ApiError | undefined {
    return this.#pages !== undefined && this.error?.code === 'offline' ? undefined : this.error;
  }
  /**
   * What to show until the first page is read. After an error that is nothing, so that rows of another list aren't
   * taken for this one's; except after an invalid filter, which is still being typed and reports itself.
   */
  get #waiting() {
    return this.error === undefined || this.error.code === 'invalid' ? this.#stale : undefined;
  }

  /**
   * Reads the first page, then looks at intervals, as long as the console is visible, at the rows in view; that also
   * retries what failed in passing. Returns what ends it, and all reading.
   */
  watch(everyMs: number, rowsInView: () => readonly [first: number, last: number]): () => void {
    this.#isWatched = true;
    void this.load();
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void this.look(...rowsInView());
    }, everyMs);
    return () => {
      clearInterval(timer);
      this.stop();
    };
  }

  /** Reads the first page, which replaces what was shown. */
  async load(): Promise<void> {
    this.loading = true;
    const grey = setTimeout(() => {
      this.slow = this.items === undefined;
    }, 400);
    await this.#trying(
      async () => {
        this.#pages = [await this.#page(undefined)];
      },
      () => this.load(),
    );
    clearTimeout(grey);
    this.loading = false;
    this.slow = false;
  }

  /** Reads the next page. */
  async loadMore(): Promise<void> {
    const cursor = this.#pages?.at(-1)?.next;
    if (cursor === undefined || this.loading) return;
    this.loading = true;
    await this.#trying(
      async () => {
        const page = await this.#page(cursor);
        this.#pages = [...(this.#pages ?? []), page];
      },
      () => this.loadMore(),
    );
    this.loading = false;
  }

  /** Retries what failed. */
  again(): Promise<void> {
    return this.#failed?.() ?? this.load();
  }

  /**
   * Reads the first page and those with these rows again; if rows came or went, also all read pages after them. If the
   * first reading failed in passing, it is retried.
   */
  async look(first: number, last: number): Promise<void> {
    const before = this.#pages;
    if (this.loading || this.#looking) return;
    if (before === undefined) {
      if (this.error !== undefined && isPassing(this.error)) await this.load();
      return;
    }
    this.#looking = true;
    const looking = async () => {
      const pages = [...before];
      let shifted = false;
      let row = 0;
      for (const [at, page] of before.entries()) {
        const inView = row <= last && row + page.items.length > first;
        row += page.items.length;
        if (!shifted && !inView && at > 0) continue;
        const again = await this.#page(at === 0 ? undefined : pages[at - 1]?.next);
        pages[at] = again;
        shifted ||= again.next !== page.next;
        if (again.next === undefined) {
          pages.length = at + 1;
          break;
        }
      }
      // If more was read or something was changed here in the meantime, that is newer than this.
      if (this.#pages === before) this.#pages = pages;
    };
    await this.#trying(looking, () => this.look(first, last));
    this.#looking = false;
  }

  /** Replaces an item that has changed. */
  put(changed: T): void {
    this.#change((items) => items.map((one) => (one.id === changed.id ? changed : one)));
  }

  /** Removes a deleted item. */
  drop(id: number): void {
    this.#change((items) => items.filter((one) => one.id !== id));
    this.#total = Math.max(0, this.total - 1);
  }

  stop(): void {
    this.#owner.abort();
  }

  #change(change: (items: readonly T[]) => readonly T[]) {
    this.#pages = this.#pages?.map((page) => ({ ...page, items: change(page.items) }));
  }

  async #page(cursor: string | undefined): Promise<ReadPage<T>> {
    const query = cursor === undefined ? { count: true } : { cursor };
    const page = await this.#read({ limit: pageItems, ...query }, this.#owner.signal);
    if (page.total !== undefined) this.#total = page.total;
    return { items: page.items, next: page.nextCursor ?? undefined };
  }

  async #trying(work: () => Promise<void>, again: () => Promise<void>) {
    try {
      await work();
      this.error = undefined;
      this.#failed = undefined;
    } catch (error) {
      if (this.#owner.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      error.asksAgain = this.#isWatched && isPassing(error);
      this.error = error;
      this.#failed = again;
    }
  }
}
