// The items of a plan, as far as a reader has scrolled.
import type { InventoryPlan, InventoryPlanItem } from '@opsconductor/protocol';
import { untrack } from 'svelte';
import { ApiError } from '../../api/client.ts';
import type { PageQuery } from '../../api/page.ts';

const pageItems = 200;

export class PlanItems {
  plan = $state.raw<InventoryPlan>();
  #own = $state.raw<readonly InventoryPlanItem[]>();
  readonly #stale: readonly InventoryPlanItem[] | undefined;
  error = $state.raw<ApiError>();
  loading = $state(false);
  slow = $state(false);
  #next = $state<string>();
  readonly #read: (query: PageQuery, signal: AbortSignal) => Promise<InventoryPlan>;
  readonly #owner = new AbortController();

  /** @param before the list that this one replaces; what it showed stays until this one is read */
  constructor(
    read: (query: PageQuery, signal: AbortSignal) => Promise<InventoryPlan>,
    before?: PlanItems | undefined,
  ) {
    this.#read = read;
    this.#stale = untrack(() => before?.items);
    this.plan = untrack(() => before?.plan);
  }

  get items(): readonly InventoryPlanItem[] | undefined {
    return this.#own ?? (this.error === undefined ? this.#stale : undefined);
  }
  get more(): boolean {
    return this.#next !== undefined;
  }

  async load(): Promise<void> {
    const grey = setTimeout(() => {
      this.slow = this.items === undefined;
    }, 400);
    await this.#page(undefined);
    clearTimeout(grey);
    this.slow = false;
  }

  /** Retries what failed. */
  again(): Promise<void> {
    return this.#own === undefined || !this.more ? this.load() : this.loadMore();
  }

  async loadMore(): Promise<void> {
    if (this.#next !== undefined && !this.loading) await this.#page(this.#next);
  }

  stop(): void {
    this.#owner.abort();
  }

  async #page(cursor: string | undefined): Promise<void> {
    this.loading = true;
    try {
      const plan = await this.#read(
        cursor === undefined ? { limit: pageItems } : { limit: pageItems, cursor },
        this.#owner.signal,
      );
      this.plan = plan;
      this.#own = cursor === undefined ? plan.items : [...(this.#own ?? []), ...plan.items];
      this.#next = plan.nextCursor ?? undefined;
      this.error = undefined;
    } catch (error) {
      if (this.#owner.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
    }
    this.loading = false;
  }
}
