import { expect, test } from 'vitest';
import { formatPosition, parsePosition } from './stream-position.ts';

test('positions are read back as they were written, and other texts are rejected', () => {
  const position = {
    afterSeq: 12,
    output: new Map([
      [7, { epoch: 1, seq: 3 }],
      [9, { epoch: 2, seq: 0 }],
    ]),
  };
  expect(parsePosition(formatPosition(position))).toEqual(position);
  for (const text of ['', '-1', '1~', '1~7.1', '1~7.1.x', '1 ', '1~7.1.1~', 'x', '1e3'])
    expect(parsePosition(text)).toBeUndefined();
  expect(parsePosition(`1${'~7.1.1'.repeat(65)}`)).toBeUndefined();
});
