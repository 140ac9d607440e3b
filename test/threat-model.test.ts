// The threat model claims only what tests show: each test that it names exists.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

test('each test that the threat model names exists', () => {
  const text = readFileSync(join(root, 'docs/security.md'), 'utf8');
  const missing: string[] = [];
  let file = '';
  for (const [, path, title] of text.matchAll(/`([^`\s]+\.test\.ts)`|“([^”]+)”/g)) {
    if (path !== undefined) file = readFileSync(join(root, path), 'utf8');
    else if (title !== undefined && !file.includes(title.replaceAll('\n', ' '))) missing.push(title);
  }
  expect(missing).toEqual([]);
});

/** Whole files that are about what these rows say. */
const wholeFiles = [
  'server/src/listener/hostile-clients.test.ts',
  'server/src/http/bodies/body-room.test.ts',
  'server/src/http/bodies/read-body.test.ts',
  'server/src/http/answers/held-bytes.test.ts',
];

test('each claim of the threat model names its test by title, because files have many tests', () => {
  const rows = readFileSync(join(root, 'docs/security.md'), 'utf8').matchAll(/^\|.*$/gm);
  const untitled = [...rows].flatMap(([row]) =>
    [...row.matchAll(/`([^`\s]+\.test\.ts)`(?! “)/g)].map(([, path]) => path),
  );
  expect(untitled).toEqual(wholeFiles);
});
