import { expect, test } from 'vitest';
import { maskingHint } from './masking-hint.ts';

test('a secret that output would show is told of, and no other', () => {
  expect(maskingHint('abc')).toMatch(/Too short to be masked/);
  for (const secret of ['', 'abcd', 'éé', 'correct horse']) expect(maskingHint(secret)).toBeUndefined();
});
