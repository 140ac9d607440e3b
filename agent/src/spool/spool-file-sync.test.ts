import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { AttemptOutput } from './attempt-output.ts';
import { Spool } from './spool.ts';

const { synced } = vi.hoisted(() => ({ synced: [] as number[] }));
vi.mock('node:fs', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs')>();
  const fdatasync = ((fd, callback) =>
    fs.fdatasync(fd, (error) => {
      synced.push(fd);
      callback(error);
    })) as typeof fs.fdatasync;
  return { ...fs, fdatasync };
});

test('all output of an attempt is on disk before its end is reported', async () => {
  const { path, remove } = await temporaryDirectory();
  const spool = Spool.create(join(path, '1-1'));
  const callbacks = { onStored: () => undefined, onStorageFailure: () => undefined };
  const output = new AttemptOutput({ step: 1, epoch: 1, spool, monotonicMs: () => 0, ...callbacks });
  output.write('stdout', Buffer.from('hello'));
  await output.close();
  expect(synced).toHaveLength(1);
  await output.remove();
  await remove();
});
