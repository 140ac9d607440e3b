import { expect, test } from 'vitest';
import { codeParts } from './code-parts.ts';

test('text in backticks is code, and an unpaired backtick is a character', () => {
  expect(codeParts('say `idempotent: true` or `hold`.')).toEqual([
    { text: 'say ', isCode: false },
    { text: 'idempotent: true', isCode: true },
    { text: ' or ', isCode: false },
    { text: 'hold', isCode: true },
    { text: '.', isCode: false },
  ]);
  expect(codeParts('a ` alone')).toEqual([{ text: 'a ` alone', isCode: false }]);
  expect(codeParts('')).toEqual([]);
});
