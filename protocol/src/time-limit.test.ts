import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { timeLimit } from './time-limit.ts';

test('a time limit aborts a signal that is joined with others', async () => {
  const joined = AbortSignal.any([timeLimit(1), new AbortController().signal]);
  if (!joined.aborted) await once(joined, 'abort');
  expect(joined.reason).toMatchObject({ name: 'TimeoutError' });
});

test('a time limit that only a joined signal refers to outlives a garbage collection', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  // Longer than this test may take, however slow the machine is.
  const join = () => {
    const limit = timeLimit(3_600_000);
    return { limit: new WeakRef(limit), joined: AbortSignal.any([limit, new AbortController().signal]) };
  };
  const { limit, joined } = join();
  await setImmediate();
  collectGarbage();
  expect(limit.deref()).toBeDefined();
  expect(joined.aborted).toBe(false);
});
