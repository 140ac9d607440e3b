import type { HostScanItem } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { load } from '../testing.ts';

const { ScanItems } = await load<typeof import('./scan-items.svelte.ts')>(
  'state/targets/scan-items.svelte.ts',
);
const { ApiError } = await load<typeof import('../../api/client.ts')>('api/client.ts');
const item = (targetId: number) => ({ targetId }) as HostScanItem;

it('reads page by page, and reloads as far as it had been read', async () => {
  const asked: (string | undefined)[] = [];
  const list = new ScanItems(async ({ cursor }) => {
    asked.push(cursor);
    const at = Number(cursor ?? 0);
    return {
      items: Array.from({ length: 100 }, (_, n) => item(at * 100 + n)),
      nextCursor: at < 3 ? String(at + 1) : null,
    };
  });
  await list.load();
  await list.loadMore();
  expect(list.items).toHaveLength(200);
  await list.load(200);
  expect(list.items?.map(({ targetId }) => targetId)).toEqual(Array.from({ length: 200 }, (_, n) => n));
  expect(list.more).toBe(true);
  expect(asked).toEqual([undefined, '1', undefined, '1']);
});

it('the answer to an overtaken reading changes nothing', async () => {
  const answers: ((page: { items: HostScanItem[]; nextCursor: null }) => void)[] = [];
  const list = new ScanItems(() => new Promise((answer) => answers.push(answer)));
  const first = list.load();
  const second = list.load();
  answers[1]?.({ items: [item(2)], nextCursor: null });
  await second;
  answers[0]?.({ items: [item(1)], nextCursor: null });
  await first;
  expect(list.items).toEqual([item(2)]);
  expect(list.loading).toBe(false);
});

it('shows nothing of the previous filter once reading has failed, and is read when it is retried', async () => {
  const before = new ScanItems(async () => ({ items: [item(1)], nextCursor: null }));
  await before.load();
  let fails = true;
  const list = new ScanItems(async () => {
    if (fails) throw new ApiError('unavailable', 'No database.');
    return { items: [item(2)], nextCursor: null };
  }, before);
  expect(list.items).toEqual([item(1)]);
  await list.load();
  expect([list.items, list.error?.code]).toEqual([undefined, 'unavailable']);
  fails = false;
  await list.again();
  expect([list.items, list.error]).toEqual([[item(2)], undefined]);
});

it('a retry after a failed reload repeats the reload and doesn’t read the next page', async () => {
  let fails = false;
  const asked: (string | undefined)[] = [];
  const list = new ScanItems(async ({ cursor }) => {
    asked.push(cursor);
    if (fails) throw new ApiError('unavailable', 'No database.');
    const at = Number(cursor ?? 0);
    return { items: [item(asked.length)], nextCursor: at < 2 ? String(at + 1) : null };
  });
  await list.load(1);
  await list.loadMore();
  fails = true;
  await list.load(2);
  fails = false;
  await list.again();
  expect(asked).toEqual([undefined, '1', undefined, undefined, '1']);
  expect([list.items, list.error]).toEqual([[item(4), item(5)], undefined]);
  fails = true;
  await list.loadMore();
  fails = false;
  await list.again();
  expect(asked.slice(5)).toEqual(['2', '2']);
});
