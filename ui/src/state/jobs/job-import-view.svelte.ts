// One import of jobs: its progress, and the jobs of its file as far as a reader has scrolled. It is read again for as
// long as the server is working on it.
import type { JobImport, JobImportItem } from '@opsconductor/protocol';
import { untrack } from 'svelte';
import { ApiError } from '../../api/client.ts';
import type { PageQuery } from '../../api/page.ts';

const pageItems = 200;
const askAgainMs = 600;

type Read = (query: PageQuery, signal: AbortSignal) => Promise<JobImport>;

/** Returns whether the server is still working on it. */
export function isUnderWay(plan: Pick<JobImport, 'status'>): boolean {
  return plan.status === 'reading' || plan.status === 'applying';
}

export class JobImportView {
  plan = $state.raw<JobImport>();
  #own = $state.raw<readonly JobImportItem[]>();
  readonly #stale: readonly JobImportItem[] | undefined;
  #next = $state<string>();
  error = $state.raw<ApiError>();
  loading = $state(false);
  slow = $state(false);
  readonly #read: Read;
  readonly #owner = new AbortController();
  #failed: (() => Promise<void>) | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;

  /** @param before the view that this one replaces; what it showed stays until this one is read */
  constructor(read: Read, before?: JobImportView | undefined) {
    this.#read = read;
    this.#stale = untrack(() => before?.items);
    this.plan = untrack(() => before?.plan);
  }

  get items(): readonly JobImportItem[] | undefined {
    return this.#own ?? (this.error === undefined ? this.#stale : undefined);
  }
  get more(): boolean {
    return this.#next !== undefined;
  }

  /** Reads the first page, and again while the server is working on the import. */
  async load(): Promise<void> {
    clearTimeout(this.#again);
    const grey = setTimeout(() => {
      this.slow = this.plan === undefined;
    }, 400);
    await this.#page(undefined);
    clearTimeout(grey);
    this.slow = false;
    // A lost connection will come back; any other error is shown and not retried.
    const goesOn = this.error === undefined || this.error.code === 'offline';
    if (goesOn && !this.#owner.signal.aborted && this.plan !== undefined && isUnderWay(this.plan)) {
      this.#again = setTimeout(() => void this.load(), askAgainMs);
    }
  }

  /** Retries what failed. */
  again(): Promise<void> {
    return this.#failed?.() ?? this.load();
  }

  async loadMore(): Promise<void> {
    if (this.#next !== undefined && !this.loading) await this.#page(this.#next);
  }

  stop(): void {
    this.#owner.abort();
    clearTimeout(this.#again);
  }

  async #page(cursor: string | undefined): Promise<void> {
    this.loading = true;
    try {
      const query = cursor === undefined ? { limit: pageItems } : { limit: pageItems, cursor };
      const plan = await this.#read(query, this.#owner.signal);
      this.plan = plan;
      this.#own = cursor === undefined ? plan.items : [...(this.#own ?? []), ...plan.items];
      this.#next = plan.nextCursor ?? undefined;
      this.error = undefined;
      this.#failed = undefined;
    } catch (error) {
      if (this.#owner.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      this.#failed = cursor === undefined ? () => this.load() : () => this.loadMore();
    }
    this.loading = false;
  }
}
