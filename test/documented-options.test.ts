// The documentation covers every option of the agent's and the owner's program, and every variable that they read.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const readAll = (folder: string, fits: (name: string) => boolean) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(fits)
    .map((name) => read(join(folder, name)))
    .join('\n');

test('each option and each variable of the programs on other machines is documented', () => {
  const documents = readAll('docs', (name) => /^[^/]+\.md$/.test(name));
  const programs = readAll('agent/src', (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const options = [...programs.matchAll(/[oO]ption\(\s*'(?:-\w, )?(--[a-z-]+)/g)].map(([, option]) => option);
  const variables = [...read('agent/src/config.ts').matchAll(/\bOPSCONDUCTOR_[A-Z_]+/g)].map(
    ([name]) => name,
  );
  expect(options.length).toBeGreaterThan(40);
  expect(variables.length).toBeGreaterThan(2);
  const missing = [...new Set([...options, ...variables])].filter(
    (name) => !new RegExp(`${name}(?![\\w-])`).test(documents),
  );
  expect(missing).toEqual([]);
});
