// docs/spec-map.md claims to list every table.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { setupDatabase } from './testing.ts';

test('docs/spec-map.md lists exactly the tables that the migrations create', async () => {
  const database = await setupDatabase();
  onTestFinished(() => database.close());
  const made = await database.sql<{ name: string }[]>`
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition`;
  const names = made.map(({ name }) => name);
  const page = await readFile(join(import.meta.dirname, '../../../../docs/spec-map.md'), 'utf8');
  expect(names.filter((name) => !new RegExp(`(?:\`|\\*\\*)${name}\\b`).test(page))).toEqual([]);
  const [, list = ''] = page.split('\nMore tables than specified: ');
  const listed = [...(list.split('\n\n')[0] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name ?? '');
  expect(listed.filter((name) => !names.includes(name))).toEqual([]);
});
