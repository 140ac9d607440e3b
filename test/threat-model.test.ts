// The threat model claims what tests show: each one that it names is there.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

test('each test that the threat model names is there', () => {
  const text = readFileSync(join(root, 'docs/security.md'), 'utf8');
  const missing: string[] = [];
  let file = '';
  for (const [, path, title] of text.matchAll(/`([^`\s]+\.test\.ts)`|“([^”]+)”/g)) {
    if (path !== undefined) file = readFileSync(join(root, path), 'utf8');
    else if (title !== undefined && !file.includes(title.replaceAll('\n', ' '))) missing.push(title);
  }
  expect(missing).toEqual([]);
});
