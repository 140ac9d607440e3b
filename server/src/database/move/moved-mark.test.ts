import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { markMoved, refuseMoved } from './moved-mark.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-moved-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('a database that was moved is refused with where to; any other is not', async () => {
  await expect(refuseMoved(folder)).resolves.toBeUndefined();
  await expect(refuseMoved(join(folder, 'none'))).resolves.toBeUndefined();
  await markMoved(folder, 'db.example.net:5432/ops');
  await expect(refuseMoved(folder)).rejects.toThrow(/was moved to db\.example\.net:5432\/ops on \d{4}-/);
});

test('a mark that can not be read is a mark all the same, and named', async () => {
  await mkdir(join(folder, 'moved.json'));
  await expect(refuseMoved(folder)).rejects.toThrow(/was moved\. Set DATABASE_URL .* remove .*moved\.json/);
});
