import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { timeLimit } from './time-limit.ts';

test('a time limit that only a joined signal refers to outlives a garbage collection', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const joined = AbortSignal.any([timeLimit(200), new AbortController().signal]);
  const ended = once(joined, 'abort');
  await setImmediate();
  collectGarbage();
  expect(joined.aborted).toBe(false);
  await ended;
  expect(joined.reason).toMatchObject({ name: 'TimeoutError' });
});
