// How the harness queries a server, as a script or a person would.
import type { ApiClient } from '../support/api-client.ts';
import type { Cluster } from './cluster.ts';
import { pause, until } from './waiting.ts';

/** Limits the wait: a frozen server doesn't answer, and a person would try the other one. */
export async function within<T>(api: ApiClient, ask: (api: ApiClient) => Promise<T>): Promise<T> {
  return Promise.race([
    ask(api),
    pause(3_000).then(() => {
      throw new Error('no answer');
    }),
  ]);
}

export async function cancelRun(cluster: Cluster, runId: number, isForced: boolean): Promise<void> {
  let turn = runId;
  await until(`run ${runId} is cancelled`, async () => {
    turn += 1;
    const reply = await within(cluster.api(turn), (api) =>
      api.send('DELETE', `/api/v1/runs/${runId}?force=${isForced}`),
    );
    // It may have ended.
    if (reply.status >= 500) throw new Error(`answered ${reply.status}: ${reply.text}`);
    return true;
  });
}
