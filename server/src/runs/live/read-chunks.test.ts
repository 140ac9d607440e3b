import { expect, onTestFinished, test, vi } from 'vitest';
import { ReadChunks, type ReadChunksSettings } from './read-chunks.ts';

const step = { stepId: 7, epoch: 1 };

function chunk(seq: number, { stepId = 7, epoch = 1 } = {}) {
  const head = { stream: 'stdout', elapsedMs: 0, rawLength: 100 } as const;
  return { stepId, epoch, seq, ...head, body: { bytes: Buffer.alloc(100, seq) } };
}

function setup(settings?: Partial<ReadChunksSettings>) {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const chunks = new ReadChunks(settings);
  const seqsAfter = (seq: number, maxRawBytes = 10_000, of = step) =>
    chunks.after(of, seq, maxRawBytes).map((found) => found.seq);
  return { chunks, seqsAfter };
}

test('returns chunks that follow without a hole, and only of that attempt', () => {
  const { chunks, seqsAfter } = setup();
  chunks.keep([1, 2, 3, 5].map((seq) => chunk(seq)));
  chunks.keep([chunk(4, { stepId: 8 }), chunk(4, { epoch: 2 })]);
  expect(seqsAfter(0)).toEqual([1, 2, 3]);
  expect(seqsAfter(2)).toEqual([3]);
  expect(seqsAfter(3)).toEqual([]);
  expect(seqsAfter(3, 10_000, { stepId: 7, epoch: 2 })).toEqual([4]);
});

test('returns about as much as is asked for, and at least one chunk', () => {
  const { chunks, seqsAfter } = setup();
  chunks.keep([1, 2, 3, 4].map((seq) => chunk(seq)));
  expect(seqsAfter(0, 1)).toEqual([1]);
  expect(seqsAfter(0, 200)).toEqual([1, 2]);
});

test('keeps a limited number of bytes: those that were read last', () => {
  const { chunks, seqsAfter } = setup({ maxBytes: 1_500 });
  chunks.keep([1, 2].map((seq) => chunk(seq)));
  chunks.keep([2, 3].map((seq) => chunk(seq)));
  expect(seqsAfter(0)).toEqual([]);
  expect(seqsAfter(1)).toEqual([2, 3]);
});

test('keeps nothing once nobody has read for a while', () => {
  const { chunks, seqsAfter } = setup({ keepMs: 1_000 });
  chunks.keep([chunk(1)]);
  vi.advanceTimersByTime(900);
  chunks.keep([chunk(2)]);
  vi.advanceTimersByTime(900);
  expect(seqsAfter(0)).toEqual([1, 2]);
  vi.advanceTimersByTime(100);
  expect(seqsAfter(0)).toEqual([]);
  expect(chunks.bytes).toBe(0);
});

test('returns no more small chunks than a page has, and keeps fewer than their content alone would allow', () => {
  const { chunks, seqsAfter } = setup();
  chunks.keep(
    Array.from({ length: 30_000 }, (_, at) => ({ ...chunk(at + 1), body: { bytes: Buffer.alloc(1) } })),
  );
  expect(seqsAfter(29_000, 10_000_000)).toHaveLength(512);
  expect(seqsAfter(10_000)).toEqual([]);
});
