// How the harness queries a server, as a script or a person would.
import type { ApiClient } from '../support/api-client.ts';
import type { Cluster } from './cluster.ts';
import type { PlannedHostCancel } from './plan-round.ts';
import { fail, pause, until } from './waiting.ts';

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

/** Returns whether it was accepted: the host may have ended, or its run may have been lost with a restore. */
export async function cancelHost(
  cluster: Cluster,
  runId: number,
  { host, isForced }: Pick<PlannedHostCancel, 'host' | 'isForced'>,
): Promise<boolean> {
  const targetId = cluster.targetIds[host] ?? fail('a host that no run has');
  let turn = runId + host;
  let status = 0;
  await until(`host ${host} of run ${runId} is cancelled`, async () => {
    turn += 1;
    const [row] = await cluster.sql<{ id: number }[]>`
      select id from job_run_targets where job_run_id = ${runId} and target_id = ${targetId}`;
    if (row === undefined) return true;
    const reply = await within(cluster.api(turn), (api) =>
      api.post(`/api/v1/runs/${runId}/target-runs/${row.id}/cancel?force=${isForced}`),
    );
    status = reply.status;
    if (![202, 404, 409].includes(status)) throw new Error(`answered ${status}: ${reply.text}`);
    return true;
  });
  return status === 202;
}
