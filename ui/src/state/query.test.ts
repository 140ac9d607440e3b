import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PageQuery } from '../api/page.ts';
import { load } from './testing.ts';

const { Query } = await load<typeof import('./query.svelte.ts')>('state/query.svelte.ts');
const { PagedList } = await load<typeof import('./lists/paged-list.svelte.ts')>(
  'state/lists/paged-list.svelte.ts',
);
const { ApiError } = await load<typeof import('../api/client.ts')>('api/client.ts');

/** Stands in for `document`, as far as visibility goes. */
class Page extends EventTarget {
  visibilityState: 'visible' | 'hidden' = 'visible';
  turn(to: 'visible' | 'hidden') {
    this.visibilityState = to;
    this.dispatchEvent(new Event('visibilitychange'));
  }
}
let page: Page;
beforeEach(() => {
  page = new Page();
  vi.stubGlobal('document', page);
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Reads that the test answers when it wants, in any order. */
function answers<T>() {
  const reads: { signal: AbortSignal; answer(value: T): void; fail(error: unknown): void }[] = [];
  const read = (signal: AbortSignal) =>
    new Promise<T>((resolve, reject) => {
      reads.push({ signal, answer: resolve, fail: reject });
    });
  return { reads, read };
}
const settled = () => vi.advanceTimersByTimeAsync(0);

describe('something read from the server', () => {
  it('is slow only while there is nothing to show', async () => {
    const { reads, read } = answers<string>();
    const query = new Query(read);
    const first = query.load();
    await vi.advanceTimersByTimeAsync(399);
    expect(query.slow).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(query.slow).toBe(true);
    reads[0]?.answer('data');
    await first;
    expect([query.data, query.slow, query.loading]).toEqual(['data', false, false]);
    void query.load();
    await vi.advanceTimersByTimeAsync(5_000);
    expect([query.data, query.slow, query.loading]).toEqual(['data', false, true]);
  });

  it('stays when reading it again fails, and then the page does not report a lost connection', async () => {
    const { reads, read } = answers<string>();
    const query = new Query(read);
    const load = async (settle: (at: (typeof reads)[number]) => void) => {
      const loaded = query.load();
      const last = reads.at(-1);
      if (last !== undefined) settle(last);
      await loaded;
    };
    await load((one) => one.fail(new ApiError('offline', 'No answer.')));
    expect([query.data, query.trouble?.code]).toEqual([undefined, 'offline']);
    await load((one) => one.answer('data'));
    expect([query.data, query.trouble]).toEqual(['data', undefined]);
    await load((one) => one.fail(new ApiError('offline', 'No answer.')));
    expect([query.data, query.error?.code, query.trouble]).toEqual(['data', 'offline', undefined]);
    await load((one) => one.fail(new ApiError('forbidden', 'No longer.')));
    expect([query.data, query.trouble?.code]).toEqual(['data', 'forbidden']);
  });

  it('is the answer to the last request, whichever comes first', async () => {
    const { reads, read } = answers<string>();
    const query = new Query(read);
    const loads = [query.load(), query.load()];
    reads[1]?.answer('new');
    reads[0]?.answer('old');
    await Promise.all(loads);
    expect([query.data, reads[0]?.signal.aborted]).toEqual(['new', true]);
  });

  it('is read regularly while the page is visible, and at once when the page becomes visible again', async () => {
    const { reads, read } = answers<number>();
    const query = new Query(read);
    const stop = query.start(1_000);
    reads[0]?.answer(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(reads).toHaveLength(2);
    reads[1]?.answer(2);
    await settled();
    page.turn('hidden');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(reads).toHaveLength(2);
    page.turn('visible');
    expect(reads).toHaveLength(3);
    reads[2]?.answer(3);
    await settled();
    expect(query.data).toBe(3);
    stop();
    page.turn('visible');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(reads).toHaveLength(3);
  });

  it('is retried by itself after a passing failure, even if it is not read regularly', async () => {
    const { reads, read } = answers<string>();
    const query = new Query(read);
    const stop = query.start();
    reads[0]?.fail(new ApiError('unavailable', 'No database.'));
    await settled();
    expect(query.trouble?.asksAgain).toBe(true);
    await vi.advanceTimersByTimeAsync(700);
    expect(reads).toHaveLength(2);
    reads[1]?.fail(new ApiError('forbidden', 'No.'));
    await settled();
    expect(query.trouble?.asksAgain).toBe(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(reads).toHaveLength(2);
    stop();
  });

  it('is no longer read once its page is gone', async () => {
    const { reads, read } = answers<number>();
    const query = new Query(read);
    query.start(1_000)();
    expect(reads[0]?.signal.aborted).toBe(true);
    reads[0]?.answer(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([query.data, reads.length]).toEqual([undefined, 1]);
  });
});

describe('a list in pages', () => {
  /** A list of the numbers below `size`; the cursor is where a page begins. */
  function listOf(size: number) {
    const asked: (string | undefined)[] = [];
    const read = async ({ limit = 50, cursor }: PageQuery) => {
      asked.push(`${cursor ?? 0}+${limit}`);
      const from = Number(cursor ?? 0);
      const to = Math.min(size, from + limit);
      return {
        items: Array.from({ length: to - from }, (_, at) => from + at),
        nextCursor: to < size ? String(to) : null,
      };
    };
    return { asked, read };
  }

  it('shows as much as was asked for, in order and complete after more was requested', async () => {
    const { asked, read } = listOf(420);
    const list = new PagedList(read);
    await list.load();
    expect([list.items?.length, list.more]).toEqual([50, true]);
    await list.loadMore();
    await list.loadMore();
    expect(list.items).toEqual(Array.from({ length: 420 }, (_, at) => at));
    expect(list.more).toBe(false);
    expect(asked).toEqual(['0+50', '0+200', '200+50', '0+200', '200+200', '400+50']);
  });

  it('keeps what the previous list showed until it is read itself', async () => {
    const before = new PagedList(listOf(3).read);
    await before.load();
    const { reads, read } = answers<{ items: number[]; nextCursor: null }>();
    const list = new PagedList((_query, signal) => read(signal), before);
    const loaded = list.load();
    expect(list.items).toEqual([0, 1, 2]);
    reads[0]?.answer({ items: [], nextCursor: null });
    await loaded;
    expect(list.items).toEqual([]);
  });
});
