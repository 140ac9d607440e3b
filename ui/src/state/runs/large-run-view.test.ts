// A run with more steps than a tab has room for: all hosts are read, but only the steps of those in view.
import type { ServerResponse } from 'node:http';
import type { RunChange, RunDetail, Step, TargetRun } from '@opsconductor/protocol';
import { expect, it, onTestFinished } from 'vitest';
import { eventually, json, load, serveApi, stubFrames } from '../testing.ts';

const { RunView } = await load<typeof import('./run-view.svelte.ts')>('state/runs/run-view.svelte.ts');

const hosts = 2_500;
const stepsEach = 40;

const targetRun = (id: number) =>
  ({ id, targetName: `host-${id}`, status: 'running', startedAt: null }) as TargetRun;
const stepsOf = (id: number): Step[] =>
  Array.from(
    { length: stepsEach },
    (_, n) =>
      ({
        id: id * 100 + n + 1,
        targetRunId: id,
        stepNumber: n + 1,
        status: 'pending',
        attempt: 0,
      }) as Step,
  );
const invalid = { error: { code: 'invalid', message: 'Unknown.', requestId: 'r' } };
const missing = { error: { code: 'not_found', message: 'No such route.', requestId: 'r' } };

/** With `knowsHosts` or `knowsSome` false, the server lacks that request, like one of an earlier version. */
async function setup({ knowsHosts = true, knowsSome = true } = {}) {
  let stream: ServerResponse | undefined;
  let held: (() => void)[] | undefined;
  let failing: number | undefined;
  const all = Array.from({ length: hosts }, (_, n) => n + 1);
  const { asked } = await serveApi({
    '/api/v1/runs/7': (_request, response) =>
      json(response, {
        id: 7,
        status: 'running',
        eventId: '40',
        totalSteps: hosts * stepsEach,
        targetsTotal: hosts,
        strategy: null,
        timeoutS: null,
        cancelRequestedAt: null,
        steps: stepsOf(1).map(({ stepNumber }) => ({ stepNumber, name: 'x', stepType: 'ssh.exec' })),
      } as unknown as RunDetail),
    '/api/v1/runs/7/target-runs': (_request, response, url) => {
      if (!knowsHosts) return json(response, missing, 404);
      const from = Number(url.searchParams.get('cursor') ?? 0);
      const to = from + Number(url.searchParams.get('limit'));
      json(response, {
        items: all.slice(from, to).reverse().map(targetRun),
        nextCursor: to < hosts ? String(to) : null,
      });
    },
    '/api/v1/runs/7/steps': (_request, response, url) => {
      if (failing !== undefined) {
        const code = failing === 503 ? 'unavailable' : 'internal';
        return json(response, { error: { code, message: 'Not now.', requestId: 'r' } }, failing);
      }
      const some = url.searchParams.get('targetRunIds');
      const one = url.searchParams.get('targetRunId');
      if (some !== null && !knowsSome) return json(response, invalid, 400);
      const from = Number(url.searchParams.get('cursor') ?? 0);
      const ids =
        some?.split(',').map(Number) ?? (one === null ? all.slice(from, from + 100) : [Number(one)]);
      const isLast = some !== null || one !== null || from + 100 >= hosts;
      const page = {
        targetRuns: ids.map(targetRun),
        steps: ids.flatMap(stepsOf),
        nextCursor: isLast ? null : String(from + 100),
      };
      const answer = () => json(response, page);
      if (held === undefined) answer();
      else held.push(answer);
    },
    '/api/v1/runs/7/events': (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('retry: 1\n\n');
      stream = response;
    },
  });
  const frames = stubFrames();
  const view = new RunView(7);
  onTestFinished(() => view.stop());
  await view.start();
  await eventually(() => stream !== undefined).toBe(true);
  return {
    view,
    asked,
    stepsAsked: () => asked.filter((line) => line.includes('/steps')),
    send: (change: Partial<RunChange> & { seq: number }) =>
      stream?.write(`event: change\nid: ${change.seq}\ndata: ${JSON.stringify({ at: '', ...change })}\n\n`),
    /** Draws frames until it holds. */
    seen: (holds: () => unknown) =>
      eventually(() => {
        frames.draw();
        return holds();
      }).toBeTruthy(),
    /** Makes requests for steps fail with this status; without one, succeed again. */
    fail: (status?: number) => {
      failing = status;
    },
    hold: () => {
      held = [];
    },
    waiting: () => held?.length ?? 0,
    answer: () => {
      const waiting = held ?? [];
      held = undefined;
      for (const go of waiting) go();
    },
  };
}

it('reads its hosts, by name, and no steps before somebody looks', async () => {
  const t = await setup();
  expect([t.view.complete, t.view.hasAllSteps, t.view.hosts.length]).toEqual([true, false, hosts]);
  expect(t.view.hosts.map(({ targetRun }) => targetRun.id)).toEqual(
    Array.from({ length: hosts }, (_, n) => n + 1),
  );
  expect(t.asked.filter((line) => !line.includes('events'))).toEqual([
    'GET /api/v1/runs/7',
    'GET /api/v1/runs/7/target-runs?limit=1000',
    'GET /api/v1/runs/7/target-runs?limit=1000&cursor=1000',
    'GET /api/v1/runs/7/target-runs?limit=1000&cursor=2000',
  ]);
});

it('reads the steps of hosts in view, in order, each once', async () => {
  const t = await setup();
  t.view.show([5, 3]);
  await t.seen(() => t.view.host(3)?.steps.length === stepsEach);
  expect(t.view.host(5)?.steps.map(({ id }) => id)).toEqual(stepsOf(5).map(({ id }) => id));
  expect(t.view.host(4)?.steps).toEqual([]);
  t.view.show([5, 3, 4]);
  await t.seen(() => t.view.host(4)?.steps.length === stepsEach);
  expect(t.stepsAsked()).toEqual([
    'GET /api/v1/runs/7/steps?limit=200&targetRunIds=5,3',
    'GET /api/v1/runs/7/steps?limit=200&targetRunIds=4',
  ]);
});

it('applies changes to hosts and to steps that were read, and reads other steps when they come into view', async () => {
  const t = await setup();
  t.view.show([3]);
  await t.seen(() => t.view.host(3)?.steps.length === stepsEach);
  t.send({
    seq: 41,
    targetRuns: [{ id: 9, status: 'failed', startedAt: null, completedAt: null }],
    steps: [
      { id: 301, status: 'running' },
      { id: 901, status: 'held' },
    ],
  });
  await t.seen(() => t.view.host(9)?.targetRun.status === 'failed');
  expect(t.view.host(3)?.steps[0]?.status).toBe('running');
  expect(t.view.host(9)?.steps).toEqual([]);
  expect(t.view.holds).toBe(1);
});

it('keeps a change to a step that came while it was read', async () => {
  const t = await setup();
  t.hold();
  t.view.show([3]);
  await eventually(t.waiting).toBe(1);
  t.send({ seq: 41, steps: [{ id: 302, status: 'running', attempt: 1 }] });
  t.send({ seq: 42, steps: [{ id: 302, status: 'succeeded' }], run: { completedSteps: 1 } });
  await eventually(() => t.view.run?.completedSteps).toBe(1);
  t.answer();
  await t.seen(() => t.view.host(3)?.steps.length === stepsEach);
  expect(t.view.host(3)?.steps[1]).toMatchObject({ id: 302, status: 'succeeded', attempt: 1 });
});

it('drops the steps of hosts out of view, and reads them again when needed', async () => {
  const t = await setup();
  for (let from = 1; from <= 561; from += 40) {
    const ids = Array.from({ length: 40 }, (_, n) => from + n);
    t.view.show(ids);
    await t.seen(() => ids.every((id) => t.view.host(id)?.steps.length === stepsEach));
  }
  const known = t.view.hosts.filter(({ steps }) => steps.length > 0);
  expect(known.length * stepsEach).toBeLessThanOrEqual(20_000);
  expect(t.view.host(1)?.steps).toEqual([]);
  t.view.show([1]);
  await t.seen(() => t.view.host(1)?.steps.length === stepsEach);
});

it('is read completely from a server of an earlier version', async () => {
  const { view } = await setup({ knowsHosts: false });
  expect([view.hasAllSteps, view.complete, view.hosts.length]).toEqual([true, true, hosts]);
  expect(view.host(hosts)?.steps).toHaveLength(stepsEach);
});

it('is read host by host if a server of an earlier version answers during an upgrade', async () => {
  const t = await setup({ knowsSome: false });
  t.view.show([5, 3]);
  await t.seen(() => t.view.host(3)?.steps.length === stepsEach);
  expect(t.stepsAsked()).toEqual([
    'GET /api/v1/runs/7/steps?limit=200&targetRunIds=5,3',
    'GET /api/v1/runs/7/steps?targetRunId=5',
    'GET /api/v1/runs/7/steps?targetRunId=3',
  ]);
});

it('reports a permanent failure to read steps, and reads them when somebody retries', async () => {
  const t = await setup();
  t.fail(500);
  t.view.show([5]);
  await eventually(() => t.view.stepsError?.code).toBe('internal');
  // A redraw shows the same hosts again, which is no reason to retry.
  t.view.show([5]);
  t.send({ seq: 41, run: { completedSteps: 1 } });
  await eventually(() => t.view.run?.completedSteps).toBe(1);
  t.fail();
  t.view.readStepsAgain();
  await t.seen(() => t.view.host(5)?.steps.length === stepsEach);
  expect([t.view.stepsError, t.view.error]).toEqual([undefined, undefined]);
  expect(t.stepsAsked()).toHaveLength(2);
});

it('keeps retrying to read steps after passing failures, and reports them if they last', async () => {
  const t = await setup();
  t.fail(503);
  t.view.show([5]);
  await eventually(() => t.view.stepsError?.asksAgain).toBe(true);
  expect(t.stepsAsked()).toHaveLength(3);
  t.fail();
  t.view.readStepsAgain();
  await t.seen(() => t.view.host(5)?.steps.length === stepsEach);
  expect(t.view.stepsError).toBeUndefined();
});
