import { expect, onTestFinished, test, vi } from 'vitest';
import { Gathering } from './gathering.ts';

function setup(maxBlockBytes = 10) {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const blocks: string[] = [];
  const gathering = new Gathering({
    maxBlockBytes: () => maxBlockBytes,
    onBlock: (stream, block) => {
      blocks.push(`${stream} ${block.gathered}`);
      block.release();
    },
    monotonicMs: () => performance.now(),
  });
  return {
    gathering,
    blocks,
    write: (stream: 'stdout' | 'stderr', text: string) => {
      gathering.add(stream, Buffer.from(text));
      gathering.scheduleSeal();
    },
  };
}

test('what a quiet command prints in one turn goes on together, at once', () => {
  const { write, blocks } = setup();
  write('stdout', 'a');
  write('stdout', 'b');
  expect(blocks).toEqual([]);
  vi.advanceTimersByTime(0);
  expect(blocks).toEqual(['stdout ab']);
});

test('what a busy command prints waits for more, for 40 ms after what went on before', () => {
  const { write, blocks, gathering } = setup();
  write('stdout', 'a');
  vi.advanceTimersByTime(0);
  write('stdout', 'b');
  vi.advanceTimersByTime(30);
  write('stdout', 'c');
  vi.advanceTimersByTime(9);
  expect(blocks).toEqual(['stdout a']);
  expect(gathering.bytes).toBe(2);
  vi.advanceTimersByTime(1);
  expect(blocks).toEqual(['stdout a', 'stdout bc']);
  expect(gathering.bytes).toBe(0);
});

test('a full block and the turn of the other stream wait for nothing', () => {
  const { write, blocks } = setup(4);
  write('stdout', '123456');
  expect(blocks).toEqual(['stdout 1234']);
  write('stderr', 'x');
  expect(blocks).toEqual(['stdout 1234', 'stdout 56']);
});

test('the time of a block is that of its first byte', () => {
  const { gathering, write } = setup();
  const begin = performance.now();
  vi.advanceTimersByTime(5);
  write('stdout', 'a');
  vi.advanceTimersByTime(2);
  expect(gathering.beganMs - begin).toBe(5);
  write('stdout', 'b');
  vi.advanceTimersByTime(20);
  write('stdout', 'c');
  gathering.seal();
  expect(gathering.beganMs - begin).toBe(7);
});

test('nothing goes on after it was dropped', () => {
  const { gathering, write, blocks } = setup();
  write('stdout', 'a');
  gathering.drop();
  vi.runAllTimers();
  gathering.seal();
  expect(blocks).toEqual([]);
});
