import { expect, onTestFinished, test } from 'vitest';
import { setupRuns } from '../../../runs/testing.ts';
import { inTransaction } from '../../database/transaction.ts';
import { notifyProgress } from './progress-notices.ts';

test('news of more runs than fit into a notification is sent in several', async () => {
  await using t = await setupRuns();
  const heard: string[] = [];
  const { unlisten } = await t.sql.listen('opsc_progress', (payload) => heard.push(payload));
  onTestFinished(() => unlisten().catch(() => undefined));
  const runs = Array.from({ length: 1_000 }, (_, n) => ({
    id: 9_000_000_000_000_000 + n,
    seq: 9_000_000_000,
  }));
  const segments = Array.from({ length: 300 }, (_, n) => n);
  await inTransaction(t.sql, (tx) => notifyProgress(tx, { runs, segments, cancel: [7] }));
  const last = new Promise<void>(
    (resolve) => void t.sql.listen('opsc_last', () => resolve()).then(() => t.sql.notify('opsc_last', '')),
  );
  await last;
  const news = heard.map((payload) => JSON.parse(payload) as { r: string[]; s: number[]; c: number[] });
  expect(news.flatMap((each) => each.r)).toHaveLength(1_000);
  expect(new Set(news.flatMap((each) => each.s)).size).toBe(300);
  expect(news.flatMap((each) => each.c)).toEqual([7]);
});
