// Test files that mock a module. In a process shared with other files, they would get modules that are already
// imported, and their mocks would affect the others. And files that begin with `// Alone:` and why.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../../..');

export function mockingFiles(folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(root, folder, name))
      .filter(
        (file) =>
          file.endsWith('.test.ts') && /^\/\/ Alone: |^vi\.(mock|doMock)\(/m.test(readFileSync(file, 'utf8')),
      )
      .map((file) => relative(root, file)),
  );
}
