import { expect, test } from 'vitest';
import { LineCounter } from 'yaml';
import { composeDocuments } from './compose-documents.ts';

const compose = (text: string) =>
  composeDocuments(
    text,
    new LineCounter(),
    { version: '1.2', schema: 'core' },
    {
      ...{ maxDepth: 64, maxTokens: 100_000 },
      tooDeep: () => new Error('too deep'),
      tooLong: () => new Error('too long'),
    },
  );

test.each([
  ['escapes in one text', `a: "${'\\q'.repeat(5_000)}"`],
  ['characters in one text', `a: "${'\\xzz'.repeat(5_000)}"`],
  ['texts', '- "\\q"\n'.repeat(5_000)],
  ['tokens', `a: b\n${'}\n'.repeat(5_000)}`],
])('of many wrong %s, only the first are reported', (_, text) => {
  const errors = compose(text).flatMap((document) => document.errors);
  expect(errors.length).toBeGreaterThan(0);
  expect(errors.length).toBeLessThanOrEqual(200);
});

test('an error after many warnings is reported, and no warning', () => {
  const [document] = compose(`${'- !unknown x\n'.repeat(500)}- "\\q"\n`);
  expect(document?.errors).toMatchObject([{ code: 'BAD_DQ_ESCAPE' }]);
  expect(document?.warnings).toEqual([]);
});

test('of many documents, two are enough to refuse the text', () => {
  expect(compose('--- a\n'.repeat(5_000))).toHaveLength(2);
});
