import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { LiveHub, type LiveTransfer } from '../../runs/live/live-hub.ts';
import { listen } from '../../store/database/notifications.ts';
import { setupDatabase } from '../../store/database/testing.ts';
import { TransferNews } from './transfer-news.ts';

const progress = {
  files: 1,
  filesTotal: 2,
  bytes: 10,
  bytesTotal: 20,
  isCounted: true,
  bytesPerSecond: 5,
};
const quiet = () => undefined;

test('readers on this server hear at once, those on another within a moment, each once', async () => {
  const database = await setupDatabase();
  const log = pino({ level: 'silent' });
  const servers = ['one', 'two'].map((serverId) => {
    const hub = new LiveHub();
    const heard: LiveTransfer[] = [];
    hub.onTransfer(7, (transfer) => heard.push(transfer));
    return { hub, heard, news: new TransferNews({ sql: database.sql, hub, serverId, log }) };
  });
  const [one, two] = servers;
  if (one === undefined || two === undefined) throw new Error('there are two');
  const listening = await listen(database.sql, {
    ...{ progress: quiet, output: quiet, session: quiet, segment: quiet, scans: quiet, forget: quiet },
    ...{ asked: quiet, answered: quiet, resync: quiet },
    transfers: (payload) => {
      for (const { news } of servers) news.heard(payload);
    },
  });
  try {
    one.news.progressed({ runId: 7, stepId: 3, epoch: 1 }, { ...progress, current: 'a\ud800' });
    expect(one.heard).toEqual([
      { runId: 7, stepId: 3, attempt: 1, progress: { ...progress, current: 'a\ufffd' } },
    ]);
    one.news.progressed({ runId: 7, stepId: 3, epoch: 1 }, { ...progress, bytes: 11 });
    for (let step = 10; step < 200; step += 1)
      one.news.progressed({ runId: 7, stepId: step, epoch: 1 }, { ...progress, current: 'x'.repeat(1_000) });
    await vi.waitFor(() => expect(two.heard.length).toBe(191), { timeout: 10_000 });
    expect(two.heard[0]).toMatchObject({ stepId: 3, progress: { bytes: 11 } });
    // File names don't pass through the database in the clear.
    expect(two.heard.filter(({ progress }) => 'current' in progress)).toEqual([]);
    expect(one.heard).toHaveLength(192);
    two.news.heard(
      JSON.stringify({ server: 'three', transfers: [{ runId: 7, progress: { bytes: 'many' } }] }),
    );
    expect(two.heard).toHaveLength(191);
  } finally {
    for (const { news } of servers) news.stop();
    await listening.stop();
    await database.close();
  }
});
