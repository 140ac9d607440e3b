import type { ImportStatus, JobImport, JobImportItem } from '@opsconductor/protocol';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { PageQuery } from '../../api/page.ts';
import { load } from '../testing.ts';

const { JobImportView } = await load<typeof import('./job-import-view.svelte.ts')>(
  'state/jobs/job-import-view.svelte.ts',
);
const { ApiError } = await load<typeof import('../../api/client.ts')>('api/client.ts');

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Stands in for a server that answers with these statuses in turn, and then keeps giving the last one. */
function served(statuses: (ImportStatus | 'offline' | 'not_found')[], jobs = 3) {
  const asked: PageQuery[] = [];
  const read = async (query: PageQuery): Promise<JobImport> => {
    const status = statuses[Math.min(asked.length, statuses.length - 1)];
    asked.push(query);
    if (status === 'offline' || status === 'not_found') throw new ApiError(status, 'No.');
    const from = Number(query.cursor ?? 0);
    const size = Math.min(query.limit ?? 50, jobs - from);
    return {
      status,
      items: Array.from({ length: size }, (_, at) => ({ position: from + at + 1 }) as JobImportItem),
      nextCursor: from + size < jobs ? String(from + size) : null,
    } as JobImport;
  };
  return { asked, read };
}

it('is read again until the server is done, and not after that', async () => {
  const server = served(['reading', 'offline', 'reading', 'planned']);
  const view = new JobImportView(server.read);
  await view.load();
  expect(view.plan?.status).toBe('reading');
  await vi.advanceTimersByTimeAsync(10_000);
  expect([view.plan?.status, view.error, server.asked.length]).toEqual(['planned', undefined, 4]);
});

it('an import that is gone is not read again', async () => {
  const server = served(['reading', 'not_found']);
  const view = new JobImportView(server.read);
  await view.load();
  await vi.advanceTimersByTimeAsync(10_000);
  expect([view.error?.code, server.asked.length]).toEqual(['not_found', 2]);
});

it('is not read again once nobody looks at it any more', async () => {
  const server = served(['applying']);
  const view = new JobImportView(server.read);
  await view.load();
  view.stop();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(server.asked).toHaveLength(1);
});

it('more of its jobs are read on request, and stay while a new filter is read', async () => {
  const server = served(['planned'], 450);
  const view = new JobImportView(server.read);
  await view.load();
  await view.loadMore();
  await view.loadMore();
  expect([view.items?.length, view.items?.at(-1)?.position, view.more]).toEqual([450, 450, false]);
  const narrowed = new JobImportView(served(['planned'], 2).read, view);
  expect([narrowed.items?.length, narrowed.plan?.status]).toEqual([450, 'planned']);
  await narrowed.load();
  expect(narrowed.items?.length).toBe(2);
});

it('shows nothing of the previous filter once reading has failed, and is read when it is retried', async () => {
  const before = new JobImportView(served(['planned']).read);
  await before.load();
  const view = new JobImportView(served(['not_found', 'planned'], 2).read, before);
  expect(view.items).toHaveLength(3);
  await view.load();
  expect([view.items, view.error?.code]).toEqual([undefined, 'not_found']);
  await view.again();
  expect([view.items?.length, view.error]).toEqual([2, undefined]);
});

it('a retry after a failed look at the progress repeats that look and doesn’t read the next page', async () => {
  const server = served(['applying', 'not_found', 'planned'], 450);
  const view = new JobImportView(server.read);
  await view.load();
  await vi.advanceTimersByTimeAsync(1_000);
  expect([view.error?.code, view.more]).toEqual(['not_found', true]);
  await view.again();
  expect([server.asked.at(-1)?.cursor, view.plan?.status, view.items?.length]).toEqual([
    undefined,
    'planned',
    200,
  ]);
});

it('a retry after a page failed reads that page', async () => {
  const server = served(['planned', 'not_found', 'planned'], 450);
  const view = new JobImportView(server.read);
  await view.load();
  await view.loadMore();
  await view.again();
  expect([server.asked.at(-1)?.cursor, view.items?.length, view.error]).toEqual(['200', 400, undefined]);
});
