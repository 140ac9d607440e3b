import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { OutputStream } from '../steps/step-type.ts';
import { HeldStreams } from './held-streams.ts';

/** Versions of Node differ in when they do it by themselves. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}

function sinkOfText() {
  const shown: string[] = [];
  const sink = {
    write: (stream: OutputStream, bytes: Buffer) => shown.push(`${stream} ${bytes}`) > 0,
    drained: async () => {},
  };
  return { sink, shown };
}

test('a held stream shows one line about itself, and the other one everything', () => {
  const { sink, shown } = sinkOfText();
  const held = new HeldStreams(sink, ['stdout']);
  held.write('stdout', Buffer.from('secret'));
  held.write('stderr', Buffer.from('note'));
  held.write('stdout', Buffer.from(' and more'));
  expect(shown).toEqual(['stdout [stdout is not shown: a secret output is read from it]\n', 'stderr note']);
  expect(held.endOf('stdout', 100)).toEqual({
    bytes: Buffer.from('secret and more'),
    isWhole: true,
    isCut: false,
  });
  expect(held.endOf('stdout', 4)).toEqual({ bytes: Buffer.from('more'), isWhole: false, isCut: false });
  expect(held.endOf('stderr', 100)).toBeUndefined();
});

test('of a lot of output only the end is kept, also in memory', () => {
  const { sink } = sinkOfText();
  const held = new HeldStreams(sink, ['stdout']);
  const piece = Buffer.alloc(64 * 1024, 'x');
  const before = process.memoryUsage().arrayBuffers;
  for (let n = 0; n < 1_500; n += 1) held.write('stdout', piece);
  for (let n = 0; n < 50_000; n += 1) held.write('stdout', Buffer.from('y'));
  collectGarbage();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(48 * 1024 * 1024);
  const { bytes, isWhole } = held.endOf('stdout', 1024 * 1024) ?? { bytes: Buffer.alloc(0), isWhole: true };
  expect(bytes.toString()).toBe('x'.repeat(1024 * 1024 - 50_000) + 'y'.repeat(50_000));
  expect(isWhole).toBe(false);
});
