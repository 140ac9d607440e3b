import { expect, test } from 'vitest';
import { measuredUse } from './measured-use.ts';

test.each([
  [
    'dash',
    ['0m0.01s 0m0.00s', '1m2.50s 0m0.25s', '1000 4096'],
    { cpuMs: 62_750, peakMemoryBytes: 4_096_000 },
  ],
  ['bash in German', ['0m0,012s 0m0,003s', '0m0,120s 0m0,030s'], { cpuMs: 150 }],
  ['a target without /proc', ['0m0.000000s 0m0.000000s', '0m0.000000s 0m0.010000s'], { cpuMs: 10 }],
  ['a shell that knows no times', ['12 65536'], { peakMemoryBytes: 786_432 }],
  ['nothing that is known', ['user 0m0.01s', '-5 4096', '999999999999 9999999', ''], {}],
])('what was used is read as it is told by %s', (_, lines, use) => {
  expect(measuredUse(lines)).toEqual(use);
});
