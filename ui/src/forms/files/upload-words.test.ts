import type { StoredFile } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { ageWords, paceWords } from './upload-words.ts';

test('the pace says how long the rest takes, if it moves at all', () => {
  expect(paceWords(65_000_000, 1_000_000)).toBe('1.0 MB/s, 1 min 05 s left');
  expect(paceWords(1, 5_000)).toBe('5.0 kB/s, 1 s left');
  expect(paceWords(0, 5_000)).toBe('5.0 kB/s');
  expect(paceWords(65_000_000, undefined)).toBe('');
  expect(paceWords(65_000_000, 3)).toBe('nothing moves');
});

test('the age of an unfinished upload says when it began and how long it is kept', () => {
  const now = Date.parse('2026-11-29T12:00:00Z');
  const words = (keptForMs: number) => {
    const uploadExpiresAt = new Date(now + keptForMs).toISOString();
    return ageWords({ createdAt: '2026-11-29T09:00:00Z', uploadExpiresAt } as StoredFile, now);
  };
  expect(words(21.5 * 3_600_000)).toBe('begun 3 h ago, kept for another 21 h');
  expect(words(35.9 * 60_000)).toBe('begun 3 h ago, kept for another 35 min');
  expect(words(59_000)).toBe('begun 3 h ago, about to be removed');
});
