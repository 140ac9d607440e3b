import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SharedAnswers } from './shared-answers.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

const longAfterMs = 600_000;

/** Reads that stay in progress until they are ended, in the order in which they began. */
function heldReads() {
  const begun: { resolve(answer: string): void; reject(error: Error): void }[] = [];
  const read = () => new Promise<string>((resolve, reject) => begun.push({ resolve, reject }));
  return { begun, read };
}

test('someone who asks while an answer is made shares the next one with all others who do', async () => {
  const answers = new SharedAnswers<string>();
  const { begun, read } = heldReads();
  const first = answers.ask('run 1', read);
  const others = [answers.ask('run 1', read), answers.ask('run 1', read)];
  expect(begun).toHaveLength(1);
  begun[0]?.resolve('as it was');
  await expect(first).resolves.toBe('as it was');
  await vi.advanceTimersByTimeAsync(1);
  expect(begun).toHaveLength(2);
  begun[1]?.resolve('as it is');
  await expect(Promise.all(others)).resolves.toEqual(['as it is', 'as it is']);
});

test('long reads have a rest in between, of at most a second', async () => {
  const answers = new SharedAnswers<string>();
  const { begun, read } = heldReads();
  for (const [tookMs, restMs] of [
    [100, 300],
    [5_000, 1_000],
  ] as const) {
    const number = begun.length;
    void answers.ask('run 1', read);
    await vi.advanceTimersByTimeAsync(tookMs);
    begun[number]?.resolve('');
    await vi.advanceTimersByTimeAsync(restMs - 1);
    const next = answers.ask('run 1', read);
    expect(begun).toHaveLength(number + 1);
    await vi.advanceTimersByTimeAsync(1);
    expect(begun).toHaveLength(number + 2);
    begun[number + 1]?.resolve('');
    await next;
    await vi.advanceTimersByTimeAsync(restMs);
  }
});

test('other questions are not waited for, and a single asker never waits', async () => {
  const answers = new SharedAnswers<string>();
  const { begun, read } = heldReads();
  void answers.ask('run 1', read);
  void answers.ask('run 2', read);
  expect(begun).toHaveLength(2);
  for (const one of begun) one.resolve('');
  await vi.advanceTimersByTimeAsync(1);
  void answers.ask('run 1', read);
  expect(begun).toHaveLength(3);
});

test('a failure is told to all who share the answer, and the next asker gets a new one', async () => {
  const answers = new SharedAnswers<string>();
  const { begun, read } = heldReads();
  const first = answers.ask('run 1', read);
  const others = [answers.ask('run 1', read), answers.ask('run 1', read)];
  begun[0]?.reject(new Error('away'));
  await expect(first).rejects.toThrow('away');
  await vi.advanceTimersByTimeAsync(1);
  begun[1]?.reject(new Error('still away'));
  for (const other of others) await expect(other).rejects.toThrow('still away');
  await vi.advanceTimersByTimeAsync(10);
  const next = answers.ask('run 1', read);
  begun[2]?.resolve('there');
  await expect(next).resolves.toBe('there');
});

test('an answer that does not come is waited for 10 s, then made again for all, and no more than once', async () => {
  const answers = new SharedAnswers<string>();
  const { begun, read } = heldReads();
  const waiting = [1, 2, 3].map(() => answers.ask('run 1', read));
  await vi.advanceTimersByTimeAsync(9_999);
  expect(begun).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(begun).toHaveLength(2);
  begun[1]?.resolve('as it is');
  await expect(Promise.all(waiting.slice(1))).resolves.toEqual(['as it is', 'as it is']);
  await vi.advanceTimersByTimeAsync(1);
  begun[2]?.resolve('as it is now');
  await expect(waiting[0]).resolves.toBe('as it is now');
  await vi.advanceTimersByTimeAsync(longAfterMs);
  // A late end of that read doesn't take anyone's turn.
  const later = answers.ask('run 1', read);
  begun[0]?.reject(new Error('cut off'));
  await vi.advanceTimersByTimeAsync(5_000);
  void answers.ask('run 1', read);
  expect(begun).toHaveLength(4);
  begun[3]?.resolve('as it is later');
  await expect(later).resolves.toBe('as it is later');
});

test('if nothing answers at all, it is not asked again and again', async () => {
  const answers = new SharedAnswers<string>();
  const { begun, read } = heldReads();
  for (let readers = 0; readers < 20; readers += 1) void answers.ask('run 1', read);
  await vi.advanceTimersByTimeAsync(longAfterMs);
  expect(begun.length).toBeLessThan(5);
});
