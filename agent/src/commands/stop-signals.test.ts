import { expect, test } from 'vitest';
import { StopSignals } from './stop-signals.ts';

test('a Ctrl-C that arrives twice counts once; a second Ctrl-C stops at once, like any second SIGTERM', () => {
  let nowMs = 0;
  const twice = new StopSignals(() => nowMs);
  expect([twice.take('SIGINT'), twice.take('SIGINT')]).toEqual(['drain', 'nothing']);
  nowMs = 1_000;
  expect(twice.take('SIGINT')).toBe('stop');
  const ended = new StopSignals(() => nowMs);
  expect([ended.take('SIGTERM'), ended.take('SIGTERM')]).toEqual(['drain', 'stop']);
  const impatient = new StopSignals(() => nowMs);
  expect([impatient.take('SIGINT'), impatient.take('SIGTERM')]).toEqual(['drain', 'stop']);
});
