import { expect, test } from 'vitest';
import { newLeaseToken } from './lease-token.ts';

test('tokens have 128 random bits and are unique, even beyond those drawn together', () => {
  const tokens = Array.from({ length: 1_000 }, newLeaseToken);
  expect(new Set(tokens).size).toBe(1_000);
  for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{32}$/);
});
