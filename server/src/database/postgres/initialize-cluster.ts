import { execFile } from 'node:child_process';
import { chown, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { adminRole, type ClusterPasswords } from '../cluster-passwords.ts';
import type { DatabaseHome } from '../database-home.ts';
import { syncDirectory, writeFileDurably } from '../durable-file.ts';
import { EmbeddedPostgresError, useDatabaseUrl } from '../embedded-postgres-error.ts';
import { type PostgresBinaries, postgresEnvironment } from './postgres-binaries.ts';

const run = promisify(execFile);

/** Runs initdb next to the final place and renames the result, so that a cluster that exists is complete. */
export async function initializeCluster(
  place: DatabaseHome,
  binaries: PostgresBinaries,
  passwords: ClusterPasswords,
): Promise<void> {
  const partial = `${place.cluster}.partial`;
  const passwordFile = join(place.home, 'initdb-password');
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { mode: 0o700 });
  try {
    await writeFileDurably(passwordFile, passwords.adminPassword, 0o600);
    if (place.account !== undefined) {
      await chown(partial, place.account.uid, place.account.gid);
      await chown(passwordFile, place.account.uid, place.account.gid);
    }
    await run(binaries.initdb, initdbArguments(partial, passwordFile), {
      ...place.account,
      env: postgresEnvironment,
      cwd: place.home,
    });
    await rename(partial, place.cluster);
    await syncDirectory(place.home);
  } catch (error) {
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new EmbeddedPostgresError(
      `The database could not be created in ${place.cluster}: ${output || error}. ${useDatabaseUrl}`,
      { cause: error },
    );
  } finally {
    await rm(passwordFile, { force: true });
    await rm(partial, { recursive: true, force: true });
  }
}

function initdbArguments(directory: string, passwordFile: string): string[] {
  return [
    `--pgdata=${directory}`,
    `--username=${adminRole}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--data-checksums',
    '--encoding=UTF8',
    '--locale=C',
    // The built-in collation never changes with the operating system's libraries, so indexes stay valid.
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
  ];
}
