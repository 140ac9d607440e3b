import { expect, test } from 'vitest';
import { labelOffers, readLabel } from './labels-draft.ts';

test('a label is a name, or a name and a value', () => {
  expect(readLabel(' canary ')).toEqual({ name: 'canary', value: '' });
  expect(readLabel('env = prod')).toEqual({ name: 'env', value: 'prod' });
  expect(readLabel('url=a=b')).toEqual({ name: 'url', value: 'a=b' });
});

test.each([
  ['', /Write a name/],
  ['=prod', /Write a name/],
  ['os=linux', /reserved word in selectors/],
  ['two words', /is not a valid name/],
  ['-x', /is not a valid name/],
  ['n'.repeat(64), /at most 63/],
  [`n=${'v'.repeat(256)}`, /at most 255/],
])('%j is rejected with a reason', (text, problem) => {
  expect(readLabel(text)).toEqual({ problem: expect.stringMatching(problem) });
});

test('names in use are suggested, and after = the values of that name', () => {
  const inUse = [
    { name: 'canary', targets: 1, values: [] },
    { name: 'env', targets: 9, values: ['prod', 'stage'] },
  ];
  expect(labelOffers('', inUse)).toEqual(['canary', 'env=']);
  expect(labelOffers('E', inUse)).toEqual(['env=']);
  expect(labelOffers('env=', inUse)).toEqual(['env=prod', 'env=stage']);
  expect(labelOffers('env=s', inUse)).toEqual(['env=stage']);
  expect(labelOffers('env=stage', inUse)).toEqual([]);
  expect(labelOffers('other=', inUse)).toEqual([]);
});
