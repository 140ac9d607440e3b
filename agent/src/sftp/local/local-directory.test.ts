import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LocalTree } from './local-tree.ts';

test('of small files that are read together, one that has no room is left, and those behind it are read', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-local-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: false }] });
  onTestFinished(() => tree.close());
  const { parent } = await tree.locate(dir, { write: false, create: false });
  onTestFinished(() => parent.close());
  // The second has grown since it was listed.
  for (const [name, text] of Object.entries({ a: 'one', b: 'grown', c: 'two' }))
    writeFileSync(join(dir, name), text);
  const memory = new SharedArrayBuffer(12);
  const read = await parent.readWhole?.(['a', 'b', 'c'], new Uint8Array(memory, 2, 7));
  expect(read?.map((file) => file?.bytes.toString())).toEqual(['one', undefined, 'two']);
  expect(Buffer.from(memory).toString()).toBe('\0\0onetwo\0\0\0\0');
});
