// Two servers on one database behind HAProxy: agents, readers and requests reach either, and servers are replaced
// during work. `npm run soak -- servers --minutes 10` does the same for longer.
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Run, TargetRunPage } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readEnvironment } from '../server/src/config.ts';
import type { ApiClient } from './support/api-client.ts';
import { type Cluster, setupCluster } from './support/cluster.ts';
import { type LoadReport, runUnderLoad } from './support/cluster-load.ts';
import { haproxyConfiguration } from './support/haproxy.ts';

const soakMinutes = Number(readEnvironment().OPSCONDUCTOR_SOAK_MINUTES ?? 0);
/** A checkout of another version, for one of the servers and one of the agents. */
const oldCheckout = readEnvironment().OPSCONDUCTOR_SOAK_BESIDE;

function expectNothingLost(report: LoadReport): void {
  expect(report.reasons).toEqual([]);
  expect(report).toMatchObject({
    statuses: { succeeded: report.steps },
    effects: report.steps,
    doubled: 0,
    missing: 0,
    wrongOutputs: 0,
    incompleteOutputs: 0,
  });
  expect(report.steps).toBeGreaterThan(0);
}

/** Returns the value of a metric in the text of Prometheus; 0 if it was never counted. */
function metricOf(text: string, name: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}

let t: Cluster;
// With only one agent, requests from one of the servers have to go through the other.
beforeAll(async () => {
  t = await setupCluster({ agents: soakMinutes > 0 ? 3 : 1, oldCheckout });
});
afterAll(() => t[Symbol.asyncDispose]());

test('cancels of runs and of single hosts, and tests of targets, work across servers', async () => {
  const [first, second] = t.direct;
  if (first === undefined || second === undefined) throw new Error('two servers are needed');
  for (const api of [first, second]) {
    const { body } = await api.post<{ ok: boolean }>(`/api/v1/targets/${t.targetId}/test`);
    expect(body.ok).toBe(true);
  }
  const one = async (api: ApiClient, runId: number) => {
    const { body } = await api.get<TargetRunPage>(`/api/v1/runs/${runId}/target-runs`);
    return `/api/v1/runs/${runId}/target-runs/${body.items[0]?.id}/cancel`;
  };
  const whole = async (_: ApiClient, runId: number) => `/api/v1/executor/cancel/${runId}`;
  for (const [api, pathOf] of [first, second].flatMap((each) => [
    [each, whole] as const,
    [each, one] as const,
  ])) {
    const job = await api.made<{ id: number }>('/api/v1/jobs', {
      name: `waits ${api.url} ${pathOf.name}`,
      steps: [{ name: 'wait', type: 'ssh.exec', config: { command: 'echo begun; sleep 300' } }],
    });
    const run = await api.made<{ id: number }>(`/api/v1/jobs/${job.id}/run`, { targetIds: [t.targetId] });
    const reader = t.read(run.id);
    await reader.until(() => reader.bytes > 0, 'the first line');
    expect((await api.post(await pathOf(api, run.id))).status).toBeLessThan(300);
    expect(await reader.end()).toBe('cancelled');
  }
});

test('a start with one Idempotency-Key that reaches both servers at the same moment makes one run, and both answer it', async () => {
  const job = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'started twice',
    steps: [{ name: 'once', type: 'ssh.exec', config: { command: 'echo once' } }],
  });
  const path = `/api/v1/jobs/${job.id}/run`;
  const ids = await Promise.all(
    Array.from({ length: 12 }, async () => {
      const headers = { 'idempotency-key': randomUUID() };
      const bodies = [
        { targetIds: [t.targetId], reason: 'at once' },
        { reason: 'at once', targetIds: [t.targetId] },
      ];
      const replies = await Promise.all(
        t.direct.map((api, n) => api.post<Run>(path, bodies[n % bodies.length], headers)),
      );
      expect(replies.map(({ status }) => status)).toEqual([201, 201]);
      expect(replies.filter((reply) => reply.headers['idempotent-replayed'] === 'true')).toHaveLength(1);
      const [first, second] = replies;
      expect(second?.body.id).toBe(first?.body.id);
      return first?.body.id ?? 0;
    }),
  );
  expect(new Set(ids).size).toBe(12);
  expect(await Promise.all(ids.map((id) => t.read(id).end()))).toEqual(Array(12).fill('succeeded'));
  const [{ runs = 0 } = {}] = await t.database.sql`
    select count(*)::int as runs from job_runs where job_id = ${job.id}`;
  expect(runs).toBe(12);
});

test('each server counts what it ended itself, so that their metrics add up to what happened', async () => {
  const names = [
    'runs_ended_total{status="succeeded"}',
    'steps_ended_total{status="succeeded"}',
    'output_bytes_total',
  ];
  const sums = async () => {
    const texts = await Promise.all(t.direct.map(async (api) => (await api.get('/api/v1/metrics')).text));
    return names.map((name) => texts.reduce((sum, text) => sum + metricOf(text, `opsconductor_${name}`), 0));
  };
  const before = await sums();
  const job = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'counted',
    steps: [1, 2].map((n) => ({ name: `step ${n}`, type: 'ssh.exec', config: { command: 'echo 1234' } })),
  });
  for (const api of t.direct) {
    const run = await api.made<{ id: number }>(`/api/v1/jobs/${job.id}/run`, { targetIds: [t.targetId] });
    expect(await t.read(run.id).end()).toBe('succeeded');
  }
  await expect
    .poll(async () => (await sums()).map((sum, n) => sum - (before[n] ?? 0)), { timeout: 20_000 })
    .toEqual([2, 4, 20]);
});

test('servers that are stopped, killed and started in turn under load lose nothing and double nothing', {
  timeout: 120_000 + soakMinutes * 90_000,
}, async () => {
  const untilMs = Date.now() + soakMinutes * 60_000;
  let isOver = false;
  let replaced = 0;
  const load = runUnderLoad(t, { atATime: soakMinutes > 0 ? 6 : 3, over: () => isOver });
  const replace = async () => {
    for (const end of ['stop', 'kill9'] as const) {
      // In the short test, one is stopped and the other killed.
      for (const server of soakMinutes > 0
        ? t.servers
        : t.servers.slice(end === 'stop' ? 0 : 1).slice(0, 1)) {
        await delay(soakMinutes > 0 ? 3_000 : 500);
        if (end === 'stop') expect(await server.stop()).toEqual([]);
        else await server.kill9();
        await server.start();
        replaced += 1;
        const n = t.servers.indexOf(server);
        await expect
          .poll(async () => (await t.direct[n]?.get('/readyz').catch(() => undefined))?.status, {
            timeout: 20_000,
          })
          .toBe(200);
      }
    }
  };
  try {
    do await replace();
    while (Date.now() < untilMs);
  } finally {
    isOver = true;
  }
  const report = await load;
  process.stdout.write(`${JSON.stringify({ ...report, replaced })}\n`);
  expectNothingLost(report);
  expect(report.breaks).toBeGreaterThan(0);
});

test('the documentation shows the configuration that is tested here', async () => {
  const text = await readFile(join(import.meta.dirname, '../docs/deployment.md'), 'utf8');
  const shown = haproxyConfiguration(':443 ssl crt /etc/haproxy/ops.example.com.pem alpn http/1.1', [
    '10.0.0.11:7700',
    '10.0.0.12:7700',
  ]);
  expect(text).toContain(shown);
});
