import type { Step, TargetRun } from '@opsconductor/protocol';
import { expect, it, onTestFinished, vi } from 'vitest';
import { eventually, json, load, serveApi, stubFrames } from '../testing.ts';

const { RunHosts } = await load<typeof import('./run-hosts.svelte.ts')>('state/runs/run-hosts.svelte.ts');
const { StepsInView } = await load<typeof import('./steps-in-view.svelte.ts')>(
  'state/runs/steps-in-view.svelte.ts',
);

const targetRun = (id: number) => ({ id, targetName: `host-${id}`, status: 'running' }) as TargetRun;
const stepOf = (id: number, status: string) => ({ id: id * 100, targetRunId: id, stepNumber: 1, status });

/** A server that answers once the test lets it. */
async function setup() {
  const waiting: ((answer: { status: string } | 'unavailable') => void)[] = [];
  const { asked } = await serveApi({
    '/api/v1/runs/7/steps': (_request, response, url) => {
      const ids = (url.searchParams.get('targetRunIds') ?? '').split(',').map(Number);
      waiting.push((answer) => {
        if (answer === 'unavailable')
          json(response, { error: { code: answer, message: 'Not now.', requestId: 'r' } }, 503);
        else
          json(response, {
            targetRuns: ids.map(targetRun),
            steps: ids.map((id) => stepOf(id, answer.status) as unknown as Step),
            nextCursor: null,
          });
      });
    },
  });
  stubFrames();
  const hosts = new RunHosts();
  for (const id of [1, 2]) hosts.set(targetRun(id));
  const owner = new AbortController();
  const steps = new StepsInView({
    runId: 7,
    hosts,
    signal: owner.signal,
    isNeeded: () => true,
    stepsPerHost: () => 1,
  });
  onTestFinished(() => {
    owner.abort();
    steps.stop();
    hosts.stop();
  });
  /** Answers the request that waits, once there is one. */
  const answer = async (with_: { status: string } | 'unavailable') => {
    await eventually(() => waiting.length).toBe(1);
    waiting.shift()?.(with_);
  };
  return { asked, hosts, steps, answer };
}

it('ignores an answer to what was asked before the run was read anew, and asks again', async () => {
  const t = await setup();
  t.steps.show([1]);
  await eventually(() => t.asked.length).toBe(1);
  t.steps.ignoreAnswers();
  await t.answer({ status: 'pending' });
  await eventually(() => t.asked.length).toBe(2);
  expect(t.hosts.get(1)?.steps).toEqual([]);
  await t.answer({ status: 'running' });
  await eventually(() => t.hosts.get(1)?.steps[0]?.status).toBe('running');
});

it('does not wait until a failed reading is due again if somebody asks for it', async () => {
  // The pause is a factor of this, and would take days.
  vi.spyOn(Math, 'random').mockReturnValue(1e6);
  const timers = vi.spyOn(globalThis, 'setTimeout');
  onTestFinished(() => void vi.restoreAllMocks());
  const t = await setup();
  t.steps.show([1]);
  await t.answer('unavailable');
  await eventually(() => timers.mock.calls.some(([, ms = 0]) => ms > 1e6)).toBe(true);
  t.steps.readAtOnce();
  await t.answer({ status: 'running' });
  await eventually(() => t.hosts.get(1)?.steps[0]?.status).toBe('running');
});

it('draws nothing once nobody looks at the hosts any more', async () => {
  vi.useFakeTimers();
  const frames = stubFrames();
  onTestFinished(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
  for (const draw of ['drawSoon', 'drawChanges'] as const) {
    const hosts = new RunHosts();
    for (let id = 1; id <= 1_001; id += 1) hosts.set(targetRun(id));
    hosts[draw]();
    hosts.stop();
  }
  expect(frames.waiting()).toBe(0);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(frames.waiting()).toBe(0);
});
