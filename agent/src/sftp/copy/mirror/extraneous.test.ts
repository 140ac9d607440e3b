import { expect, test } from 'vitest';
import type { Directory, Entry } from '../../tree/tree.ts';
import { Listings } from '../listings.ts';
import { findExtraneous } from './extraneous.ts';

/** As from a hostile server: each directory contains another one. */
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

test('endlessly nested directories are refused', async () => {
  const bounds = { most: 10_000, signal: new AbortController().signal, listings: new Listings() };
  await expect(findExtraneous(endless('/a'), endless('/b'), { filter: () => true }, bounds)).rejects.toThrow(
    /more than 128 directories deep/,
  );
});

test('an entry that the destination lists under another name but takes for the same one stays', async () => {
  const entry = (name: string, kind: Entry['kind']): Entry => ({
    name,
    kind,
    size: 0,
    mode: 0o644,
    mtimeS: 0,
  });
  const directory = (path: string, names: string[], inside?: Directory) =>
    ({
      path,
      list: async () => names.map((name) => entry(name, name.toLowerCase() === 'src' ? 'directory' : 'file')),
      // A disk that ignores case.
      look: async (name: string) =>
        names.some((each) => each.toLowerCase() === name.toLowerCase()) ? entry(name, 'file') : undefined,
      enter: async () => inside,
      close: async () => undefined,
    }) as unknown as Directory;
  const from = directory('/a', ['README', 'Src'], directory('/a/Src', ['f']));
  const to = directory('/b', ['readme', 'src', 'old'], directory('/b/src', ['f', 'gone']));
  const bounds = { most: 10, signal: new AbortController().signal, listings: new Listings() };
  const found = await findExtraneous(from, to, { filter: () => true }, bounds);
  expect(found.map(({ parents, name }) => [...parents, name].join('/'))).toEqual(['src/gone', 'old']);
});
