import { describe, expect, test } from 'vitest';
import { parseByteRange } from './byte-range.ts';

const huge = ['9007199254740993', '99999999999999999999', '9'.repeat(400)];

describe('a range of ten bytes', () => {
  test.each([
    ['bytes=0-3', 0, 4],
    ['bytes=4-', 4, 10],
    ['bytes=-3', 7, 10],
    ['bytes=-30', 0, 10],
    ['bytes=8-99', 8, 10],
    ['Bytes=9-9', 9, 10],
    ...huge.flatMap((n): [string, number, number][] => [
      [`bytes=2-${n}`, 2, 10],
      [`bytes=-${n}`, 0, 10],
    ]),
  ])('%s is a part', (header, start, end) => {
    expect(parseByteRange(header, 10)).toEqual({ kind: 'part', start, end });
  });

  test.each(['bytes=10-', 'bytes=10-12', 'bytes=-0', ...huge.map((n) => `bytes=${n}-`)])(
    '%s is beyond the content',
    (header) => {
      expect(parseByteRange(header, 10)).toEqual({ kind: 'unsatisfiable' });
    },
  );

  test.each([undefined, '', 'bytes=-', 'bytes=5-4', 'bytes=a-b', 'bytes=0-1,3-4', 'lines=0-3', 'bytes=1e3-'])(
    '%s is ignored, and everything is sent',
    (header) => {
      expect(parseByteRange(header, 10)).toEqual({ kind: 'whole' });
    },
  );
});

test('empty content has no ranges', () => {
  for (const header of ['bytes=0-', 'bytes=-1']) {
    expect(parseByteRange(header, 0)).toEqual({ kind: 'unsatisfiable' });
  }
});
