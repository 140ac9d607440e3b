// The targets of a scan, as far as a reader has scrolled; read again when something has changed.
import type { HostScanItem } from '@opsconductor/protocol';
import { untrack } from 'svelte';
import { ApiError } from '../../api/client.ts';
import type { Page, PageQuery } from '../../api/page.ts';

const pageItems = 100;

export class ScanItems {
  #own = $state.raw<readonly HostScanItem[]>();
  readonly #stale: readonly HostScanItem[] | undefined;
  error = $state.raw<ApiError>();
  loading = $state(false);
  slow = $state(false);
  #next = $state<string>();
  #round = 0;
  #failed: (() => Promise<void>) | undefined;
  readonly #read: (query: PageQuery, signal: AbortSignal) => Promise<Page<HostScanItem>>;
  readonly #owner = new AbortController();

  /** @param before the list that this one replaces; what it showed stays until this one is read */
  constructor(
    read: (query: PageQuery, signal: AbortSignal) => Promise<Page<HostScanItem>>,
    before?: ScanItems | undefined,
  ) {
    this.#read = read;
    this.#stale = untrack(() => before?.items);
  }

  get items(): readonly HostScanItem[] | undefined {
    return this.#own ?? (this.error === undefined ? this.#stale : undefined);
  }

  get more(): boolean {
    return this.#next !== undefined;
  }

  /** Reads from the beginning, at least `atLeast` items. What was read before stays until then. */
  async load(atLeast = pageItems): Promise<void> {
    this.#round += 1;
    const round = this.#round;
    const grey = setTimeout(() => {
      this.slow = this.items === undefined;
    }, 400);
    const items: HostScanItem[] = [];
    let next: string | undefined;
    const reading = async () => {
      do {
        const page = await this.#page(next);
        items.push(...page.items);
        next = page.nextCursor ?? undefined;
      } while (next !== undefined && items.length < atLeast && round === this.#round);
    };
    const went = await this.#try(round, reading, () => this.load(atLeast));
    clearTimeout(grey);
    this.slow = false;
    if (!went) return;
    this.#own = items;
    this.#next = next;
  }

  /** Retries what failed. */
  again(): Promise<void> {
    return this.#failed?.() ?? this.load(this.#own?.length);
  }

  async loadMore(): Promise<void> {
    const cursor = this.#next;
    if (cursor === undefined || this.loading) return;
    const round = this.#round;
    const reading = async () => {
      const page = await this.#page(cursor);
      if (round !== this.#round) return;
      this.#own = [...(this.#own ?? []), ...page.items];
      this.#next = page.nextCursor ?? undefined;
    };
    await this.#try(round, reading, () => this.loadMore());
  }

  stop(): void {
    this.#owner.abort();
  }

  #page(cursor: string | undefined): Promise<Page<HostScanItem>> {
    return this.#read(
      cursor === undefined ? { limit: pageItems } : { limit: pageItems, cursor },
      this.#owner.signal,
    );
  }

  /** Returns false if `work` failed or another reading overtook it. */
  async #try(round: number, work: () => Promise<void>, again: () => Promise<void>): Promise<boolean> {
    this.loading = true;
    try {
      await work();
      if (round !== this.#round) return false;
      this.error = undefined;
      this.#failed = undefined;
      return true;
    } catch (error) {
      if (this.#owner.signal.aborted || round !== this.#round) return false;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      this.#failed = again;
      return false;
    } finally {
      if (round === this.#round) this.loading = false;
    }
  }
}
