// Test files that replace a module for themselves. In a process that others share they would be given what is imported
// already, and leave the others their replacement.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

export function mockingFiles(folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(root, folder, name))
      .filter((file) => file.endsWith('.test.ts') && /^vi\.(mock|doMock)\(/m.test(readFileSync(file, 'utf8')))
      .map((file) => relative(root, file)),
  );
}
