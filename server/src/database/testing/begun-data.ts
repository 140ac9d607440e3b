// Data directories that are past their first start, for tests of what comes later: PostgreSQL takes a second of the
// processor to make one, and a twentieth of that to copy it. Made once in a run of the suite.
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { startEmbeddedPostgres } from '../embedded-postgres.ts';
import { isErrno } from '../embedded-postgres-error.ts';

const run = promisify(execFile);

/** Makes the data directory as a first start leaves it that has ended in order. */
export async function copyBegunData(dataDir: string): Promise<void> {
  // Of the suite's own folder, which goes when it ends.
  const original = join(tmpdir(), 'begun-data');
  if ((await stat(original).catch(() => undefined)) === undefined) await begin(original);
  await mkdir(dirname(dataDir), { recursive: true });
  await run('cp', ['-a', original, dataDir]);
}

async function begin(original: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'beginning-'));
  // PostgreSQL under root is another account, and would else be placed outside.
  await chmod(folder, 0o755);
  const dataDir = join(folder, 'data');
  await (await startEmbeddedPostgres({ dataDir, log: () => {} })).stop();
  await rename(dataDir, original).catch((error) => {
    // Another worker was faster, and what it has made is as good.
    if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
  });
  await rm(folder, { recursive: true, force: true });
}
