// Something read from the server: old data stays while new is read, and stays when reading fails.
import { ApiError } from '../api/client.ts';

/** After so long without data, grey rows say that something is coming. */
const slowAfterMs = 400;

export class Query<T> {
  data = $state.raw<T>();
  error = $state.raw<ApiError>();
  loading = $state(false);
  /** Nothing to show yet, and it takes its time. */
  slow = $state(false);
  /** An error that the page has to show: not that the connection is gone while old data stands, which the footer says. */
  readonly trouble = $derived(
    this.error !== undefined && (this.data === undefined || this.error.code !== 'offline')
      ? this.error
      : undefined,
  );
  readonly #read: (signal: AbortSignal) => Promise<T>;
  #current: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #repeats = false;

  constructor(read: (signal: AbortSignal) => Promise<T>) {
    this.#read = read;
  }

  /** Reads now, and again each `everyMs` while the page is visible. Answers what stops it. */
  start(everyMs?: number): () => void {
    this.#repeats = everyMs !== undefined;
    void this.#cycle(everyMs);
    const onVisible = () => {
      if (document.visibilityState === 'visible' && everyMs !== undefined) void this.#cycle(everyMs);
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      document.removeEventListener('visibilitychange', onVisible);
      this.#current?.abort();
      clearTimeout(this.#timer);
    };
  }

  /** Reads once; what was read before stays until the answer is there. */
  async load(): Promise<void> {
    this.#current?.abort();
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
    } catch (error) {
      if (current.signal.aborted) return;
      const failed =
        error instanceof ApiError ? error : new ApiError('internal', 'The console failed.', { cause: error });
      failed.asksAgain = this.#repeats;
      this.error = failed;
    } finally {
      clearTimeout(grey);
      if (this.#current === current) {
        this.loading = false;
        this.slow = false;
      }
    }
  }

  /** Forgets what was read, for a page that now shows something else. */
  reset(): void {
    this.data = undefined;
    this.error = undefined;
  }

  async #cycle(everyMs: number | undefined) {
    clearTimeout(this.#timer);
    await this.load();
    clearTimeout(this.#timer);
    if (everyMs === undefined || this.#current?.signal.aborted === true) return;
    this.#timer = setTimeout(() => {
      if (document.visibilityState === 'visible') void this.#cycle(everyMs);
    }, everyMs);
  }
}
