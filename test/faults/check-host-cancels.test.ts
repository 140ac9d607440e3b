import { expect, test } from 'vitest';
import { checkHostCancels } from './check-host-cancels.ts';
import type { Edge } from './edge-recorder.ts';
import type { AttemptFacts, RoundFacts, RunFacts, StepFacts } from './round-facts.ts';
import { cleanUp, run, step } from './shapes/parts.ts';

const at = new Date('2026-01-01T00:00:00Z');
const planned = run([step(), cleanUp]);
const own = { jobRunId: 1, targetRunId: 10 };
const lease = (rowId: number): Partial<Edge> => ({ rowId, from: 'ready', to: 'running' });

/** A run with two hosts, of which the first was cancelled; its steps are 1 and 2, those of the other 3 and 4. */
function setup() {
  const steps = [1, 2, 3, 4].map((id) => ({
    ...own,
    id,
    targetRunId: id < 3 ? 10 : 20,
    status: id < 3 ? 'cancelled' : 'succeeded',
    planned: planned.steps[(id - 1) % 2],
    attempts: [] as AttemptFacts[],
  })) as StepFacts[];
  const run = {
    id: 1,
    planned,
    cancelRequestedAt: null,
    isHalted: false,
    targetRuns: [
      { id: 10, host: 0, status: 'cancelled', cancelRequestedAt: at },
      { id: 20, host: 1, status: 'succeeded', cancelRequestedAt: null },
    ],
  } as unknown as RunFacts;
  const check = (...edges: Partial<Edge>[]) => {
    const all = edges.map((edge) => ({ kind: 'step', runId: 1, epoch: 1, isCancelled: true, ...edge }));
    const facts = { runs: [run], steps, edges: all, isRestored: false } as unknown as RoundFacts;
    return checkHostCancels(facts).map(({ text, stepId }) => [text.replace(/^.*?: /, ''), stepId]);
  };
  return { run, steps, check };
}

test('a step may not be leased once its host was cancelled, except for a clean-up, and except before', () => {
  const t = setup();
  expect(t.check(lease(1))).toEqual([['step 1 was leased, although its host was cancelled', 1]]);
  expect(t.check({ ...lease(1), isCancelled: false }, lease(2), lease(3))).toEqual([]);
});

test('after a forced cancel not even a clean-up is leased', () => {
  const t = setup();
  const forced = { epoch: 1, reason: 'cancel_forced' } as AttemptFacts;
  t.steps[0]?.attempts.push(forced);
  const end = { rowId: 1, from: 'running', to: 'unknown' };
  expect(t.check(end, lease(2))).toEqual([['step 2 was leased after a forced cancel', 2]]);
});

test('a cancelled host has ended, and has not succeeded if steps of it were cancelled', () => {
  const t = setup();
  const [host] = t.run.targetRuns;
  for (const [status, text] of [
    ['cancelling', 'ends cancelling'],
    ['succeeded', 'has succeeded, although some of its steps were cancelled'],
  ] as const) {
    Object.assign(host ?? {}, { status });
    expect(t.check()).toEqual([[text, undefined]]);
  }
});

test('of a host that nobody cancelled no step is cancelled, unless its run was, or a limit or a decision did it', () => {
  const t = setup();
  expect(t.check()).toEqual([]);
  Object.assign(t.steps[3] ?? {}, { status: 'cancelled' });
  expect(t.check()).toEqual([['step 4 is cancelled, and nobody cancelled its host or its run', 4]]);
  for (const why of [{ cancelRequestedAt: at }, { isHalted: true }]) {
    const before = { ...t.run };
    Object.assign(t.run, why);
    expect(t.check()).toEqual([]);
    Object.assign(t.run, before);
  }
  t.steps[2]?.attempts.push({ decision: 'cancel' } as AttemptFacts);
  expect(t.check()).toEqual([]);
});
