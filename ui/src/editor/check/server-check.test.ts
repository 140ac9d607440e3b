import type { DefinitionProblem, JobDefinition } from '@opsconductor/protocol';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { load } from '../../state/testing.ts';

const { ServerCheck } = await load<typeof import('./server-check.svelte.ts')>(
  'editor/check/server-check.svelte.ts',
);
const { ApiError } = await load<typeof import('../../api/client.ts')>('api/client.ts');

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const definition: JobDefinition = {
  name: 'x',
  steps: [{ name: 'a', type: 'ssh.exec', config: { command: 'true' } }],
};
const asked = (text: string, note = '') => ({ text, definition, note });
const missing: DefinitionProblem = { path: 'category', message: 'There is none.', severity: 'error' };
const early: DefinitionProblem = { path: 'connection.credential', message: 'None yet.', severity: 'warning' };
const ruled: DefinitionProblem = { path: '', message: 'Say why.', severity: 'error', rule: 'Say why' };

test('the server is asked after a pause in typing, about the text as it is then', async () => {
  const ask = vi.fn(async () => ({ problems: [missing, early, ruled] }));
  const check = new ServerCheck(ask);
  check.follow(asked('one'));
  await vi.advanceTimersByTimeAsync(400);
  check.follow(asked('two'));
  await vi.advanceTimersByTimeAsync(600);
  expect(ask).toHaveBeenCalledTimes(1);
  expect([check.text, check.places, check.advice]).toEqual(['two', [missing], [early, ruled]]);
  // Text that can't be read is not sent, and nothing is shown about it.
  check.follow(undefined);
  await vi.runAllTimersAsync();
  expect([ask.mock.calls.length, check.places, check.advice]).toEqual([1, [], []]);
});

test('an answer that arrives after the text has changed is dropped, and a server that does not answer is asked again', async () => {
  const answers: ((problems: DefinitionProblem[]) => void)[] = [];
  const check = new ServerCheck(
    () => new Promise((resolve) => answers.push((problems) => resolve({ problems }))),
  );
  check.follow(asked('one'));
  await vi.advanceTimersByTimeAsync(600);
  check.follow(asked('two'));
  answers[0]?.([missing]);
  await vi.advanceTimersByTimeAsync(0);
  expect(check.places).toEqual([]);

  const ask = vi.fn(async () => ({ problems: [missing] }));
  ask.mockRejectedValueOnce(new ApiError('unavailable', 'Away.'));
  const away = new ServerCheck(ask);
  away.follow(asked('one'));
  await vi.advanceTimersByTimeAsync(600);
  expect([ask.mock.calls.length, away.places]).toEqual([1, []]);
  await vi.advanceTimersByTimeAsync(3_000);
  expect([ask.mock.calls.length, away.places]).toEqual([2, [missing]]);
});

test('a server that refuses to check it is not asked again', async () => {
  const ask = vi.fn(async (): Promise<{ problems: DefinitionProblem[] }> => {
    throw new ApiError('too_large', 'Too large.');
  });
  const check = new ServerCheck(ask);
  check.follow(asked('one'));
  await vi.runAllTimersAsync();
  expect([ask.mock.calls.length, check.places]).toEqual([1, []]);
});
