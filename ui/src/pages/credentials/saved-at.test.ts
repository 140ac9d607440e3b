import { expect, it } from 'vitest';
import { savedAt } from './saved-at.ts';

const createdAt = '2026-11-24T02:27:12.000Z';

it('shows when a credential was last sealed, or when it was created if an older server does not say', () => {
  expect(savedAt({ createdAt, savedAt: '2026-11-25T00:00:00.000Z' })).toBe('2026-11-25T00:00:00.000Z');
  expect(savedAt({ createdAt })).toBe(createdAt);
});
