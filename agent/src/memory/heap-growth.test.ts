// V8 doesn't promise that these flags stay: this notices a version that ignores them.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const module = JSON.stringify(join(import.meta.dirname, 'heap-growth.ts'));

/** The largest size of the heap, in MB, while objects that live for a while were created in a loop. */
function peakOf(setUp: string): number {
  const program = `
    import { boundYoungGeneration, keepHeapSmall, letHeapGrow } from ${module};
    import { getHeapSpaceStatistics } from 'node:v8';
    const lasting = Array.from({ length: 150_000 }, (_, n) => ({ n, text: 'x' + n }));
    ${setUp}
    let [peak, made] = [0, []];
    for (let n = 0; n < 1_000_000; n += 1) {
      made.push({ n, more: [n, n] });
      if (made.length === 100_000) made = made.slice(50_000);
      if (n % 1_000 === 0) peak = Math.max(peak, process.memoryUsage().heapTotal);
      if (n % 1_000 === 0) boundYoungGeneration();
      if (n % 20_000 === 0) await new Promise(setImmediate);
    }
    console.log(Math.round(peak / 2 ** 20), lasting.length);
  `;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
  return Number.parseInt(execFileSync(process.execPath, args, { encoding: 'utf8' }), 10);
}

test('the heap stays small while many files are moved, although it was allowed to grow before', () => {
  const wide = peakOf('letHeapGrow();');
  const narrow = peakOf("letHeapGrow(); keepHeapSmall('manyFiles');");
  expect([wide, narrow, narrow < wide * 0.8]).toEqual([wide, narrow, true]);
});
