import { expect, test, vi } from 'vitest';
import { endOf, setupRuns } from '../../runs/testing.ts';
import { Settler } from './settler.ts';

/** Errors with which batches end after the database has committed them. */
const lost = vi.hoisted(() => ({ answers: [] as Error[] }));

vi.mock(import('../../runs/progress/settle-attempts.ts'), async (original) => {
  const attempts = await original();
  return {
    ...attempts,
    async settleAttempts(...args) {
      const settled = await attempts.settleAttempts(...args);
      const error = lost.answers.shift();
      if (error !== undefined) throw error;
      return settled;
    },
  };
});

test('an agent is not answered as if nothing was leased to it if that is not known', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ targets: 3, steps: 2 });
  const leases = await t.claim();
  const settler = new Settler({ sql: t.sql, onNews: () => undefined });
  lost.answers.push(new Error('CONNECTION_CLOSED'));
  const ends = leases.map((lease, at) => endOf(lease, undefined, { wantsNext: at > 0 }));
  const results = await Promise.allSettled(ends.map((end) => settler.settle(end)));
  // The next steps of two were leased with the commit.
  const statuses = (await t.steps(runId)).map(({ status }) => status);
  expect(statuses).toEqual(['succeeded', 'ready', 'succeeded', 'running', 'succeeded', 'running']);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
});
