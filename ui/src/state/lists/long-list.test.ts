import type { Target, TargetPage } from '@opsconductor/protocol';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { PageQuery } from '../../api/page.ts';
import { load } from '../testing.ts';

const { LongList } = await load<typeof import('./long-list.svelte.ts')>('state/lists/long-list.svelte.ts');
const { ApiError } = await load<typeof import('../../api/client.ts')>('api/client.ts');

/** A list from a server with `size` targets. A cursor is the name after which the next page begins. */
function served(size: number) {
  const names = Array.from({ length: size }, (_, at) => at * 10);
  const asked: (string | undefined)[] = [];
  let broken: 'offline' | 'invalid' | undefined;
  const read = async (query: PageQuery & { count?: boolean }): Promise<TargetPage> => {
    asked.push(query.cursor);
    if (broken !== undefined) throw new ApiError(broken, 'The server does not answer.');
    const after = names.filter((id) => query.cursor === undefined || id > Number(query.cursor));
    const items = after.slice(0, query.limit);
    return {
      items: items.map((id) => ({ id, name: `web-${id}` }) as Target),
      nextCursor: after.length > items.length ? String(items.at(-1)) : null,
      ...(query.count === true ? { total: names.length } : {}),
    };
  };
  return {
    names,
    asked,
    read,
    breakDown: (how: typeof broken = 'offline') => (broken = how),
    mend: () => (broken = undefined),
  };
}
const ids = (list: InstanceType<typeof LongList<Target>>) => list.items?.map(({ id }) => id);

describe('a list of many', () => {
  it('reads one page, says how many there are, and reads more when asked', async () => {
    const server = served(500);
    const list = new LongList<Target>(server.read);
    await list.load();
    expect([list.items?.length, list.total, list.more]).toEqual([200, 500, true]);
    await list.loadMore();
    await list.loadMore();
    await list.loadMore();
    expect([list.items?.length, list.more]).toEqual([500, false]);
    expect(ids(list)).toEqual(server.names);
    expect(server.asked).toEqual([undefined, '1990', '3990']);
  });

  it('refreshes only the first page and those in view', async () => {
    const server = served(800);
    const list = new LongList<Target>(server.read);
    await list.load();
    for (let pages = 1; pages < 4; pages += 1) await list.loadMore();
    server.asked.length = 0;
    await list.look(450, 470);
    expect(server.asked).toEqual([undefined, '3990']);
  });

  it('has every target once after some before those in view came and went', async () => {
    const server = served(500);
    const list = new LongList<Target>(server.read);
    await list.load();
    await list.loadMore();
    await list.loadMore();
    server.names.splice(5, 1);
    server.names.splice(20, 0, 205, 206);
    await list.look(0, 30);
    expect(ids(list)).toEqual(server.names);
    expect(list.total).toBe(501);
  });

  it('keeps what the previous list showed until it is read', async () => {
    const before = new LongList<Target>(served(3).read);
    await before.load();
    const list = new LongList<Target>(served(2).read, before);
    expect([list.items?.length, list.total, list.more]).toEqual([3, 3, false]);
    await list.load();
    expect([list.items?.length, list.total]).toEqual([2, 2]);
  });

  it('keeps what it shows when refreshing fails', async () => {
    const server = served(20);
    const list = new LongList<Target>(server.read);
    await list.load();
    server.breakDown();
    await list.look(0, 10);
    expect(list.items).toHaveLength(20);
    expect(list.error?.code).toBe('offline');
  });

  it('shows nothing of the previous list once reading has failed, and is read at the next look', async () => {
    const before = new LongList<Target>(served(3).read);
    await before.load();
    const server = served(2);
    server.breakDown();
    const list = new LongList<Target>(server.read, before);
    await list.load();
    expect([list.items, list.total, list.trouble?.code]).toEqual([undefined, 0, 'offline']);
    server.mend();
    await list.look(0, 30);
    expect([list.items?.length, list.total, list.trouble]).toEqual([2, 2, undefined]);
  });

  it('keeps what was shown if a filter is refused, which is not retried', async () => {
    const before = new LongList<Target>(served(3).read);
    await before.load();
    const server = served(2);
    server.breakDown('invalid');
    const list = new LongList<Target>(server.read, before);
    await list.load();
    await list.look(0, 30);
    expect([list.items?.length, list.trouble?.code, server.asked.length]).toEqual([3, 'invalid', 1]);
  });

  it('says of a passing failure that it is retried, if its page looks at intervals', async () => {
    const server = served(3);
    const list = new LongList<Target>(server.read);
    server.breakDown();
    await list.load();
    expect(list.trouble?.asksAgain).toBe(false);
    onTestFinished(list.watch(60_000, () => [0, 30]));
    await list.load();
    expect(list.trouble?.asksAgain).toBe(true);
    server.breakDown('invalid');
    await list.load();
    expect(list.trouble?.asksAgain).toBe(false);
  });

  it('is looked at again and again while the console is visible, until nobody watches it', async () => {
    const page = { visibilityState: 'visible' };
    vi.stubGlobal('document', page);
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
      vi.unstubAllGlobals();
    });
    const server = served(500);
    const signals: AbortSignal[] = [];
    const list = new LongList<Target>((query, signal) => {
      signals.push(signal);
      return server.read(query);
    });
    const end = list.watch(1_000, () => [250, 280]);
    await vi.advanceTimersByTimeAsync(0);
    await list.loadMore();
    server.asked.length = 0;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.asked).toEqual([undefined, '1990']);
    page.visibilityState = 'hidden';
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.asked).toHaveLength(2);
    page.visibilityState = 'visible';
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.asked).toHaveLength(4);
    end();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.asked).toHaveLength(4);
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
  });

  it('retries what failed', async () => {
    const server = served(500);
    const list = new LongList<Target>(server.read);
    server.breakDown();
    await list.load();
    server.mend();
    await list.again();
    expect(list.items).toHaveLength(200);
    server.breakDown();
    await list.loadMore();
    server.mend();
    await list.again();
    expect([list.items?.length, list.error]).toEqual([400, undefined]);
    server.breakDown();
    await list.look(0, 10);
    server.mend();
    await list.again();
    expect([list.items?.length, list.error]).toEqual([400, undefined]);
  });

  it('shows a changed target and drops a deleted one at once', async () => {
    const list = new LongList<Target>(served(3).read);
    await list.load();
    list.put({ id: 10, name: 'renamed' } as Target);
    list.drop(0);
    expect(list.items?.map(({ name }) => name)).toEqual(['renamed', 'web-20']);
    expect(list.total).toBe(2);
  });
});
