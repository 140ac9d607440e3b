// What a monitoring system fetches, and what of it the documentation tells.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ServerMetrics } from '../../metrics/server-metrics.ts';
import { setupRunsApp, type TestRunsApp } from './runs/runs-testing.ts';

const page = join(import.meta.dirname, '../../../../docs/metrics.md');

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

/** Returns the values by name and labels as they are written: `opsconductor_runs_open{status="queued"}`. */
async function fetched(): Promise<Map<string, number>> {
  const response = await t.request('GET', 'metrics');
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const samples = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    samples.map((line) => {
      const space = line.lastIndexOf(' ');
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

test('the queue and the agents are told in numbers, as they are at that moment', async () => {
  const agent = `agent="${t.agent.name}",segment="dmz-1"`;
  expect(Object.fromEntries(await fetched())).toMatchObject({
    'opsconductor_segment_ready_steps{segment="dmz-1"}': 0,
    'opsconductor_segment_able_agents{segment="dmz-1"}': 1,
    'opsconductor_segment_stuck_seconds{segment="dmz-1"}': 0,
    'opsconductor_runs_open{status="queued"}': 0,
    [`opsconductor_agent_state{${agent},state="connected"}`]: 1,
    opsconductor_steps_held: 0,
    opsconductor_oldest_ready_seconds: 0,
  });
  await t.start({ targets: 3 });
  await t.claim();
  await t.start({ targets: 2 });
  const busy = await fetched();
  expect(Object.fromEntries(busy)).toMatchObject({
    'opsconductor_segment_ready_steps{segment="dmz-1"}': 2,
    'opsconductor_segment_running_steps{segment="dmz-1"}': 3,
    'opsconductor_segment_free_slots{segment="dmz-1"}': 5,
    'opsconductor_runs_open{status="queued"}': 2,
    [`opsconductor_agent_slots{${agent}}`]: 8,
    [`opsconductor_agent_slots_in_use{${agent}}`]: 3,
  });
  expect(busy.get('opsconductor_oldest_ready_seconds')).toBeGreaterThan(0);
  expect(busy.get('opsconductor_database_size_bytes')).toBeGreaterThan(1_000_000);
});

test('ready steps without an able agent are told with how long, and a state that is over is gone', async () => {
  await t.start();
  await t.sql`
    update agent_sessions set clean_shutdown = true, busy_reason = 'disk', slots = 4,
      disconnected_at = clock_timestamp() - interval '90 seconds', last_heartbeat_at = to_timestamp(1000)`;
  await t.sql`update job_runs set created_at = clock_timestamp() - interval '90 seconds'`;
  const agent = `agent="${t.agent.name}",segment="dmz-1"`;
  const offline = await fetched();
  expect(offline.get('opsconductor_segment_stuck_seconds{segment="dmz-1"}')).toBeGreaterThanOrEqual(90);
  expect(offline.get(`opsconductor_agent_state{${agent},state="offline"}`)).toBe(1);
  expect(offline.has(`opsconductor_agent_state{${agent},state="connected"}`)).toBe(false);
  expect(offline.get(`opsconductor_agent_last_heartbeat_timestamp_seconds{${agent}}`)).toBe(1000);
  await t.sql`update agent_sessions set disconnected_at = null, expires_at = clock_timestamp() + interval '1 hour'`;
  const full = await fetched();
  expect(full.get(`opsconductor_agent_busy{${agent},reason="disk"}`)).toBe(1);
});

test('ends that have not happened are there with zero, so that the first one is an increase', async () => {
  const start = await fetched();
  for (const status of ['succeeded', 'failed', 'cancelled', 'timed_out', 'unknown']) {
    expect(start.get(`opsconductor_runs_ended_total{status="${status}"}`)).toBe(0);
    expect(start.get(`opsconductor_steps_ended_total{status="${status}"}`)).toBe(0);
  }
  expect([...start.keys()].filter((name) => name.includes('"running"'))).toEqual([
    'opsconductor_runs_open{status="running"}',
  ]);
});

test('requests are counted by route, not by what strangers make up', async () => {
  await t.request('GET', 'runs/7');
  await t.request('GET', 'runs/8');
  await t.app.request('GET', '/wp-login.php');
  const counted = await fetched();
  const route = 'method="GET",route="/api/v1/runs/:id"';
  expect(counted.get(`opsconductor_http_requests_total{${route},status="404"}`)).toBe(2);
  expect(counted.get(`opsconductor_http_request_duration_seconds_count{${route}}`)).toBe(2);
  expect(counted.get('opsconductor_http_requests_total{method="other",route="other",status="404"}')).toBe(1);
  expect([...counted.keys()].join()).not.toContain('wp-login');
});

test('names with quotes, backslashes and new lines stay one label', async () => {
  await t.sql`update segments set name = ${'dmz "1"\\ \n}'}`;
  const names = [...(await fetched()).keys()];
  expect(names).toContain('opsconductor_segment_ready_steps{segment="dmz \\"1\\"\\\\ \\n}"}');
});

test('only a caller with metrics.read everywhere gets them, and needs nothing else', async () => {
  const viewer = await t.app.user('eve', ['viewer']);
  const refused = await t.request('GET', 'metrics', { token: viewer.token });
  expect(refused.status).toBe(403);
  const monitor = await t.app.user('prometheus', []);
  await t.sql`insert into role_grants (user_id, permission) values (${monitor.id}, 'metrics.read')`;
  expect((await t.request('GET', 'metrics', { token: monitor.token })).status).toBe(200);
  expect((await t.request('GET', 'runs', { token: monitor.token })).status).toBe(403);
});

test('the documentation lists exactly what is told', async () => {
  const listed = [...(await readFile(page, 'utf8')).matchAll(/^\| `([a-z_]+)`/gm)].map(([, name]) => name);
  const metrics = new ServerMetrics();
  metrics.showConnectedAgents(() => 1);
  metrics.setCertificateExpiry(new Date());
  const types = (await metrics.registry.metrics()) + (await (await t.request('GET', 'metrics')).text());
  const told = [...types.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  expect([...new Set(listed)].sort()).toEqual([...new Set(told)].sort());
});
