import type { Attempt, Step } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { json, load, serveApi } from '../../../state/testing.ts';
import type { ShownStep } from './step-facts.svelte.ts';

const { StepFacts } = await load<typeof import('./step-facts.svelte.ts')>(
  'pages/run/output/step-facts.svelte.ts',
);
const { Query } = await load<typeof import('../../../state/query.svelte.ts')>('state/query.svelte.ts');

const step = {
  id: 5,
  stepNumber: 1,
  status: 'unknown',
  attempt: 2,
  reason: 'agent_silent',
  advice: null,
  startedAt: '2026-11-29T10:02:00Z',
  outputState: 'complete',
} as Step;
const attemptOf = (attempt: number, more: Partial<Attempt> = {}) =>
  ({
    attempt,
    status: 'failed',
    late: null,
    startedAt: `2026-11-29T10:0${attempt}:00Z`,
    ...more,
  }) as Attempt;

/** The facts of a step whose attempts are the given ones; `shown` can be changed, and is reactive. */
async function setup(more: Partial<ShownStep> = {}, attempts: readonly Attempt[] = []) {
  const { asked } = await serveApi({
    '/api/v1/runs/7/steps/5/attempts': (_request, response) => json(response, { items: attempts }),
  });
  const host = { targetRun: { id: 70 } } as ShownStep['host'];
  const first: ShownStep = {
    run: { id: 7, jobId: 1, jobVersion: 3 },
    host,
    step,
    attempt: undefined,
    attemptOfLines: undefined,
    ...more,
  };
  const props = new Query<ShownStep>(() => Promise.reject(new Error('Nothing is read.')));
  const shown = () => props.data ?? first;
  const facts = new StepFacts({
    get run() {
      return shown().run;
    },
    get host() {
      return shown().host;
    },
    get step() {
      return shown().step;
    },
    get attempt() {
      return shown().attempt;
    },
    get attemptOfLines() {
      return shown().attemptOfLines;
    },
  });
  const change = (fields: Partial<ShownStep>) => {
    props.data = { ...shown(), ...fields };
  };
  return { facts, change, asked };
}

describe('what is known about a step', () => {
  it('more output may come only while the step goes on and its newest attempt is shown', async () => {
    const running = { ...step, status: 'running', outputState: 'open' } as Step;
    expect((await setup({ step: running })).facts.open).toBe(true);
    expect((await setup({ step: running, attempt: 2 })).facts.open).toBe(true);
    expect((await setup({ step: running, attempt: 1 })).facts.open).toBe(false);
    expect((await setup({ step: { ...running, status: 'failed' } })).facts.open).toBe(false);
  });

  it('of a step that ended unknown output may be missing, unless its agent told since how it ended', async () => {
    const at = '2026-11-29T10:09:00Z';
    const cases: [Attempt['late'], boolean][] = [
      [null, true],
      [{ status: 'unknown', at }, true],
      [{ status: 'succeeded', at }, false],
    ];
    for (const [late, isCutOff] of cases) {
      const { facts } = await setup({}, [attemptOf(1), attemptOf(2, { status: 'unknown', late })]);
      // Before its attempts are read, the step itself says so.
      expect(facts.isCutOff).toBe(true);
      await facts.attempts?.load();
      expect(facts.isCutOff).toBe(isCutOff);
    }
  });

  it('an earlier attempt is judged by how it ended itself', async () => {
    const { facts } = await setup({ attempt: 1 }, [attemptOf(1), attemptOf(2, { status: 'unknown' })]);
    await facts.attempts?.load();
    expect(facts.isPast).toBe(true);
    expect(facts.shownAttempt?.attempt).toBe(1);
    expect(facts.isCutOff).toBe(false);
  });

  it('what stands above the output is told once its attempts are read, or can’t be', async () => {
    const told = { ...step, handedOn: [] };
    const { facts } = await setup({ step: told }, [attemptOf(1), attemptOf(2)]);
    expect(facts.isTold).toBe(false);
    await facts.attempts?.load();
    expect(facts.isTold).toBe(true);
    const { facts: lost } = await setup({ step: told, run: { id: 8, jobId: 1, jobVersion: 3 } });
    expect(lost.isTold).toBe(false);
    await lost.attempts?.load();
    expect([lost.attempts?.error?.code, lost.isTold]).toEqual(['not_found', true]);
  });

  it('lines have the times of the attempt that wrote them, also while the newest has written none', async () => {
    const { facts, change } = await setup({ attemptOfLines: 1 }, [attemptOf(1), attemptOf(2)]);
    await facts.attempts?.load();
    expect(facts.startedAt).toBe('2026-11-29T10:01:00Z');
    change({ attemptOfLines: 2 });
    expect(facts.startedAt).toBe(step.startedAt);
  });

  it('attempts are asked for again when the step changes, and not with each event of the run', async () => {
    const { facts, change } = await setup();
    const before = facts.attempts;
    change({ run: { id: 7, jobId: 1, jobVersion: 3 }, step: { ...step, outputBytes: 9 } });
    expect(facts.attempts).toBe(before);
    change({ step: { ...step, status: 'succeeded', reason: 'decided' } });
    expect(facts.attempts).not.toBe(before);
    change({ step: { ...step, status: 'succeeded', attempt: 1, reason: null } });
    expect(facts.attempts).toBeUndefined();
  });
});
