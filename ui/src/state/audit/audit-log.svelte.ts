// The audit log as far as a reader has gone back in it. It only grows at the newer end, so what was read is kept. New
// rows are only counted until the reader asks for them, so that no row moves under the pointer.
import type { AuditPage, AuditRow } from '@opsconductor/protocol';
import { ApiError, isPassing } from '../../api/client.ts';
import type { PageQuery } from '../../api/page.ts';

const pageItems = 100;

type Read = (query: PageQuery, signal: AbortSignal) => Promise<AuditPage>;

export class AuditLog {
  rows = $state.raw<readonly AuditRow[]>();
  /** Whether there are older rows. */
  more = $state(false);
  /** How far back was searched, if the server ended the search before it was done. It goes on when asked to. */
  searchedTo = $state<string>();
  loading = $state(false);
  slow = $state(false);
  error = $state.raw<ApiError>();
  /** Rows that are newer than the first one shown. */
  #newer = $state.raw<{ items: readonly AuditRow[]; isWhole: boolean }>();
  readonly newerCount = $derived(this.#newer?.items.length ?? 0);
  /** Whether there may be more new rows than were counted. */
  readonly newerMore = $derived(this.#newer?.isWhole === false);

  readonly #read: Read;
  readonly #owner = new AbortController();
  #cursor: string | undefined;
  #failed: (() => Promise<void>) | undefined;

  constructor(read: Read) {
    this.#read = read;
  }

  /** Reads the newest rows, which replace what was shown. */
  async load(): Promise<void> {
    const reading = async (signal: AbortSignal) => {
      const page = await this.#read({ limit: pageItems }, signal);
      this.#show(page);
    };
    await this.#reading(reading, () => this.load());
  }

  /** Reads the next page of older rows. */
  async loadMore(): Promise<void> {
    const cursor = this.#cursor;
    if (cursor === undefined || this.loading) return;
    const reading = async (signal: AbortSignal) => {
      const page = await this.#read({ limit: pageItems, cursor }, signal);
      this.rows = [...(this.rows ?? []), ...page.items];
      this.#endWith(page);
    };
    await this.#reading(reading, () => this.loadMore());
  }

  /** Retries what failed. */
  again(): Promise<void> {
    return this.#failed?.() ?? this.load();
  }

  /**
   * Looks for newer rows, or reads the first ones if that has failed. Rows that were sealed after they were shown get
   * their position.
   */
  async look(): Promise<void> {
    const { rows } = this;
    if (this.loading) return;
    if (rows === undefined) {
      if (this.error !== undefined && isPassing(this.error)) await this.load();
      return;
    }
    try {
      const page = await this.#read({ limit: pageItems }, this.#owner.signal);
      if (this.rows !== rows) return;
      const newest = rows[0]?.id ?? 0;
      const items = page.items.filter((row) => row.id > newest);
      // The page may be full, or the server may have ended its search, before it got to the rows that are shown.
      const isWhole = items.length < page.items.length || page.nextCursor === null;
      this.#newer = items.length === 0 ? undefined : { items, isWhole };
      this.#renew(page.items);
      this.#wentWell();
    } catch (error) {
      this.#note(error, () => this.look());
    }
  }

  /** Shows the new rows that were counted; reloads if there may be more than those. */
  async showNewer(): Promise<void> {
    const newer = this.#newer;
    if (newer === undefined) return;
    if (this.newerMore) return this.load();
    this.rows = [...newer.items, ...(this.rows ?? [])];
    this.#newer = undefined;
  }

  stop(): void {
    this.#owner.abort();
  }

  #show(page: AuditPage) {
    this.rows = page.items;
    this.#endWith(page);
    this.#newer = undefined;
  }

  #endWith({ nextCursor, searchedTo }: AuditPage) {
    this.#cursor = nextCursor ?? undefined;
    this.more = nextCursor !== null;
    this.searchedTo = searchedTo;
  }

  #renew(items: readonly AuditRow[]) {
    const sealed = new Map(items.flatMap((row) => (row.position === null ? [] : [[row.id, row]])));
    const isOpen = (row: AuditRow) => row.position === null && sealed.has(row.id);
    if (this.rows?.some(isOpen))
      this.rows = this.rows.map((row) => (isOpen(row) ? (sealed.get(row.id) ?? row) : row));
  }

  async #reading(work: (signal: AbortSignal) => Promise<void>, again: () => Promise<void>) {
    this.loading = true;
    const grey = setTimeout(() => {
      this.slow = this.rows === undefined;
    }, 400);
    try {
      await work(this.#owner.signal);
      this.#wentWell();
    } catch (error) {
      this.#note(error, again);
    } finally {
      clearTimeout(grey);
      this.loading = false;
      this.slow = false;
    }
  }

  #wentWell() {
    this.error = undefined;
    this.#failed = undefined;
  }

  #note(error: unknown, again: () => Promise<void>) {
    if (this.#owner.signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    // Without rows, the next look reads them.
    error.asksAgain = this.rows === undefined && isPassing(error);
    this.error = error;
    this.#failed = again;
  }
}
