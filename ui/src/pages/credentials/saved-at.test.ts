import { expect, it } from 'vitest';
import { savedAt } from './saved-at.ts';

const createdAt = '2026-11-24T02:27:12.000Z';

it('tells when a credential was sealed last, and when it was made where an older server does not say it', () => {
  expect(savedAt({ createdAt, savedAt: '2026-11-25T00:00:00.000Z' })).toBe('2026-11-25T00:00:00.000Z');
  expect(savedAt({ createdAt })).toBe(createdAt);
});
