import { expect, test } from 'vitest';
import type { Directory, Entry } from '../tree/tree.ts';
import { findExtraneous } from './extraneous.ts';
import { Listings } from './listings.ts';

/** As a hostile server has it: in each directory there is another one. */
function endless(path: string): Directory {
  const entry: Entry = { name: 'd', kind: 'directory', size: 0, mode: 0o755, mtimeS: 0 };
  return {
    path,
    list: async () => [entry],
    enter: async () => {
      if (path.length > 2_000) throw new Error('nobody stops');
      return endless(`${path}/d`);
    },
    close: async () => undefined,
  } as unknown as Directory;
}

test('directories inside one another without end are refused', async () => {
  const bounds = { most: 10_000, signal: new AbortController().signal, listings: new Listings() };
  await expect(findExtraneous(endless('/a'), endless('/b'), { filter: () => true }, bounds)).rejects.toThrow(
    /more than 128 directories deep/,
  );
});
