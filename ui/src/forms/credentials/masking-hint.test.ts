import { expect, test } from 'vitest';
import { maskingHint } from './masking-hint.ts';

test('only a secret that output would show gets a warning', () => {
  expect(maskingHint('abc')).toMatch(/Too short to be masked/);
  for (const secret of ['', 'abcd', 'éé', 'correct horse']) expect(maskingHint(secret)).toBeUndefined();
});
