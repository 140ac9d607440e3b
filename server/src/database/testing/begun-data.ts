// Data directories that have been through their first start, for tests of what comes later. PostgreSQL takes a second
// of processor time to make one, and copying it takes a twentieth of that. Made once per run of the suite.
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { startEmbeddedPostgres } from '../embedded-postgres.ts';
import { isErrno } from '../embedded-postgres-error.ts';

const run = promisify(execFile);

/** Makes a data directory as it is after a first start that ended in order. */
export async function copyBegunData(dataDir: string): Promise<void> {
  // In the suite's own folder, which is removed when the suite ends.
  const original = join(tmpdir(), 'begun-data');
  if ((await stat(original).catch(() => undefined)) === undefined) await begin(original);
  await mkdir(dirname(dataDir), { recursive: true });
  await run('cp', ['-a', original, dataDir]);
}

async function begin(original: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'beginning-'));
  // Under root, PostgreSQL runs as another account and would otherwise be placed outside.
  await chmod(folder, 0o755);
  const dataDir = join(folder, 'data');
  await (await startEmbeddedPostgres({ dataDir, log: () => {} })).stop();
  await rename(dataDir, original).catch((error) => {
    // Another worker was faster; its directory is just as good.
    if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
  });
  await rm(folder, { recursive: true, force: true });
}
