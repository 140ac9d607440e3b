import { expect, test } from 'vitest';
import { createLog, plainLine } from './log.ts';

const time = '2026-01-02T03:04:05.678Z';

test('a line has its level and its time in the form of the server’s lines', () => {
  const lines: string[] = [];
  const log = createLog({ plain: false, level: 'info', write: (line) => lines.push(line) });
  log.debug('not asked for');
  log.warn({ step: 7 }, 'lost');
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { level: 'warn', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/), step: 7, msg: 'lost' },
  ]);
});

test('a plain line has time, level, message and further fields', () => {
  expect(plainLine(JSON.stringify({ level: 'warn', time, step: 7, msg: 'lost' }))).toBe(
    '03:04:05 warn  lost step=7\n',
  );
});

test('text from elsewhere can not write over a terminal', () => {
  const err = { type: 'Error', message: 'no', stack: 'Error: \u001b[2J\n    at x' };
  const line = plainLine(
    JSON.stringify({ level: 'warn', time, path: '/a\u009b', msg: 'bad\u001b\nok', err }),
  );
  expect(line).toBe('03:04:05 warn  bad\\u{1b}\n       ok path=/a\\u{9b}\nError: \\u{1b}[2J\n    at x\n');
});

test('an error includes its stack', () => {
  const err = { type: 'Error', message: 'no', stack: 'Error: no\n    at x' };
  expect(plainLine(JSON.stringify({ level: 'error', time, msg: 'failed', err }))).toContain(
    'error failed\nError: no\n    at x',
  );
});
