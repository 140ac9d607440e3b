import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lines } from './lines.ts';

test('lines are whole, however their text is split', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a\n]{0,5}$/), { maxLength: 10 }), (pieces) => {
      const lines = new Lines(1_000);
      const told = pieces.flatMap((piece) => lines.take(piece));
      expect([...told, ...lines.take('\n')].join('\n')).toBe(pieces.join(''));
    }),
  );
});

test('what is held of a line that is too long is bounded, and the next line is whole', () => {
  const lines = new Lines(10);
  lines.take('0123456789');
  expect(lines.isTooLong).toBe(false);
  lines.take('ab');
  expect(lines.isTooLong).toBe(true);
  lines.take('x'.repeat(1_000));
  expect(lines.take('y\nnext\n')).toEqual(['0123456789aby', 'next']);
  expect(lines.isTooLong).toBe(false);
});

test('a host that prints a long line in the smallest pieces holds nobody up', () => {
  const lines = new Lines(2_000_000);
  const before = process.cpuUsage();
  lines.take('x'.repeat(1_000_000));
  for (let piece = 0; piece < 15_000; piece += 1) lines.take('xxx');
  expect(lines.take('\n')[0]).toHaveLength(1_045_000);
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});
