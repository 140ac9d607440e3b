import { expect, test } from 'vitest';
import { plainLine } from './log.ts';

test('a plain line has time, level, message and what belongs to it', () => {
  const time = new Date(2026, 0, 2, 3, 4, 5).getTime();
  const line = plainLine(JSON.stringify({ level: 40, time, pid: 1, hostname: 'h', step: 7, msg: 'lost' }));
  expect(line).toBe('03:04:05 warn lost step=7\n');
});

test('an error brings its stack', () => {
  const err = { type: 'Error', message: 'no', stack: 'Error: no\n    at x' };
  expect(plainLine(JSON.stringify({ level: 50, time: 0, msg: 'failed', err }))).toContain(
    'ERROR failed\nError: no\n    at x',
  );
});
