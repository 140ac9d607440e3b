import { expect, test } from 'vitest';
import { detectionTexts } from './detection-words.ts';

test('says what was masked by kind, number and place', () => {
  expect(
    detectionTexts([
      { kind: 'private_key', place: 'stderr', count: 1 },
      { kind: 'url_password', place: 'stdout', count: 1_200 },
    ]),
  ).toEqual(['1 private key in standard error', '1,200 passwords in URLs in standard output']);
  expect(detectionTexts()).toEqual([]);
});

test('a kind that only a later agent knows is shown by its name', () => {
  expect(detectionTexts([{ kind: 'later_token', place: 'stdout', count: 2 }])).toEqual([
    '2 secrets (later_token) in standard output',
  ]);
});
