// Something read from the server. Old data stays while new data is read, and when reading fails.
import { type ApiError, failureOf, isPassing } from '../api/client.ts';
import { pauseMs } from '../api/pauses.ts';

/** How long there may be no data before grey rows show that some is coming. */
const slowAfterMs = 400;

export class Query<T> {
  data = $state.raw<T>();
  error = $state.raw<ApiError>();
  loading = $state(false);
  /** Whether there is nothing to show yet and reading takes long. */
  slow = $state(false);
  /** The error that the page has to show; not a lost connection while there is old data, as the footer shows that. */
  readonly trouble = $derived(
    this.error !== undefined && (this.data === undefined || this.error.code !== 'offline')
      ? this.error
      : undefined,
  );
  readonly #read: (signal: AbortSignal) => Promise<T>;
  #current: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #started = false;
  #everyMs: number | undefined;
  #failures = 0;

  constructor(read: (signal: AbortSignal) => Promise<T>) {
    this.#read = read;
  }

  /**
   * Reads now, and again every `everyMs` while the page is visible. After a passing failure it retries sooner, even if
   * `everyMs` is undefined. Returns the function that stops it.
   */
  start(everyMs?: number): () => void {
    this.#started = true;
    this.#everyMs = everyMs;
    void this.load();
    const onVisible = () => {
      if (document.visibilityState === 'visible' && this.#waitMs() !== undefined) void this.load();
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      this.#started = false;
      document.removeEventListener('visibilitychange', onVisible);
      this.#current?.abort();
      clearTimeout(this.#timer);
    };
  }

  /** Reads once. Earlier data stays until the answer is here. */
  async load(): Promise<void> {
    this.#current?.abort();
    clearTimeout(this.#timer);
    const current = new AbortController();
    this.#current = current;
    this.loading = true;
    const grey = setTimeout(() => {
      this.slow = this.data === undefined;
    }, slowAfterMs);
    try {
      const data = await this.#read(current.signal);
      if (current.signal.aborted) return;
      this.data = data;
      this.error = undefined;
      this.#failures = 0;
    } catch (error) {
      if (current.signal.aborted) return;
      const failed = failureOf(error);
      failed.asksAgain = this.#started && (this.#everyMs !== undefined || isPassing(failed));
      this.error = failed;
      this.#failures += 1;
    } finally {
      clearTimeout(grey);
      if (this.#current === current) {
        this.loading = false;
        this.slow = false;
        this.#readLater();
      }
    }
  }

  /** Forgets the data, for a page that now shows something else. */
  reset(): void {
    this.data = undefined;
    this.error = undefined;
  }

  #waitMs(): number | undefined {
    const { error } = this;
    if (error === undefined || !isPassing(error)) return this.#everyMs;
    // After a rate limit, don't retry sooner.
    if (error.code === 'rate_limited' && this.#everyMs !== undefined) return this.#everyMs;
    return Math.min(pauseMs(this.#failures - 1), this.#everyMs ?? Number.POSITIVE_INFINITY);
  }

  #readLater() {
    const waitMs = this.#waitMs();
    if (!this.#started || waitMs === undefined) return;
    this.#timer = setTimeout(() => {
      if (document.visibilityState === 'visible') void this.load();
    }, waitMs);
  }
}
