// The notifications by which every server learns of the progress of runs.
import type { Tx } from '../../database/connection.ts';

/** PostgreSQL allows 8,000 bytes in a notification; one item of each kind takes at most 80. */
const maxNewsPerNotice = 100;

/**
 * Wakes every server: these runs have new events, these segments have ready steps, these runs and target runs are to be
 * cancelled.
 */
export async function notifyProgress(
  tx: Tx,
  news: {
    runs?: readonly { id: number; seq: number }[];
    segments?: readonly number[];
    cancel?: readonly number[];
    cancelTargetRuns?: readonly number[];
  },
): Promise<void> {
  const { runs = [], segments = [], cancel = [], cancelTargetRuns = [] } = news;
  const longest = Math.max(runs.length, segments.length, cancel.length, cancelTargetRuns.length);
  const payloads: string[] = [];
  for (let at = 0; at < longest; at += maxNewsPerNotice) {
    const end = at + maxNewsPerNotice;
    payloads.push(
      JSON.stringify({
        r: runs.slice(at, end).map((run) => `${run.id}.${run.seq}`),
        s: segments.slice(at, end),
        c: cancel.slice(at, end),
        ...(cancelTargetRuns.length > at ? { t: cancelTargetRuns.slice(at, end) } : {}),
      }),
    );
  }
  await Promise.all(payloads.map((payload) => tx`select pg_notify('opsc_progress', ${payload})`));
}
