// Runs, queue and output over HTTP, on a segment whose steps and output the test itself drives.
import { ServerMetrics } from '../../../metrics/server-metrics.ts';
import { chunkOf, setupOutput, type TestOutput } from '../../../runs/output/output-testing.ts';
import type { ProgressNews } from '../../../runs/progress/run-ledger.ts';
import { endOf } from '../../../runs/testing.ts';
import type { ClaimedStep } from '../../../store/queue/claims/claims.ts';
import { setupApp, type TestApp, type TestRequest } from '../../testing.ts';
import { metricsRoutes } from '../metrics.ts';
import { decisionRoutes } from './decisions.ts';
import { queueRoutes } from './queue.ts';
import { runEndRoutes } from './run-ends.ts';
import { type RunEventsDeps, runEventRoutes } from './run-events.ts';
import { runPreparationRoutes } from './run-preparation.ts';
import { runStartRoutes } from './run-starts.ts';
import { runRoutes } from './runs.ts';
import { sshConnectionRoutes } from './ssh-connections.ts';
import { stepOutputRoutes } from './step-output.ts';

export interface TestRunsApp extends TestOutput {
  app: TestApp;
  /** Sends a request as the first user, who may do everything. `body` is parsed JSON, if there is a body. */
  ask(method: string, path: string, request?: TestRequest): Promise<{ status: number; body: unknown }>;
  /** The same, but returns the raw response. */
  request(method: string, path: string, request?: TestRequest): Promise<Response>;
  /** Returns a run that printed ten bytes in two chunks and has ended. */
  endedRun(): Promise<{ runId: number; lease: ClaimedStep }>;
  /** Returns the audit rows of this action, oldest first. */
  audited(action: string): Promise<{ actorName: string; objectId: string; detail: unknown }[]>;
}

export async function setupRunsApp(options: { keepAliveMs?: number } = {}): Promise<TestRunsApp> {
  const t = await setupOutput();
  const { sql, masterKey, identity, keys, hub } = t;
  const stopping = new AbortController();
  const metrics = new ServerMetrics();
  const publish = (news: ProgressNews) => hub.publishRuns(news.runs);
  const app = await setupApp(
    ({ authenticator }) => {
      const events: RunEventsDeps = {
        sql,
        hub,
        keys,
        stopping: stopping.signal,
        ...options,
        onForgotten: (listener) => authenticator.onForgotten(listener),
      };
      return [
        ...decisionRoutes({ sql, publish }),
        ...runPreparationRoutes({ sql, masterKey, identity }),
        ...runStartRoutes({ sql, masterKey, identity, keys, publish, events }),
        ...runEndRoutes({ sql, publish }),
        ...runRoutes({ sql, masterKey }),
        ...sshConnectionRoutes({ sql }),
        ...stepOutputRoutes({ sql, keys }),
        ...runEventRoutes(events),
        ...queueRoutes({ sql }),
        ...metricsRoutes({ sql, metrics }),
      ];
    },
    { database: t, onAnswered: (answered) => metrics.countRequest(answered) },
  );
  const { token } = await app.user('root', ['admin']);
  const request: TestRunsApp['request'] = (method, path, more) =>
    app.request(method, `/api/v1/${path}`, { token, ...more });
  return Object.assign(t, {
    app,
    request,
    async ask(method: string, path: string, more?: TestRequest) {
      const response = await request(method, path, more);
      const text = await response.text();
      return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
    },
    async endedRun() {
      const runId = await t.start();
      const lease = await t.claimOne();
      await t.send(lease, chunkOf(lease, 1, 'one\n'), chunkOf(lease, 2, 'three\n'));
      await t.settle(endOf(lease));
      return { runId, lease };
    },
    audited: (action: string) => sql<Awaited<ReturnType<TestRunsApp['audited']>>>`
      select actor_name, object_id, detail from audit_log where action = ${action} order by id`,
  });
}
