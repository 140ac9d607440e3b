// Roles of the embedded database and their passwords, kept in `credentials.json`. They have nothing to do with the
// credentials of targets.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from './durable-file.ts';
import { EmbeddedPostgresError, isErrno } from './embedded-postgres-error.ts';

export const adminRole = 'opsconductor_admin';
export const serverRole = 'opsconductor';
export const databaseName = 'opsconductor';

export interface ClusterPasswords {
  /** False until the cluster that these open is complete. */
  initialized: boolean;
  adminPassword: string;
  password: string;
}

/**
 * Loads the secrets of the cluster, or creates them, in a file of mode 0600. Throws if only one of cluster and secrets
 * exists.
 */
export async function loadPasswords(
  dataDirectory: string,
  clusterExists: boolean,
): Promise<ClusterPasswords> {
  const path = join(dataDirectory, 'credentials.json');
  const found = await read(path);
  if (found === undefined && clusterExists) {
    throw new EmbeddedPostgresError(
      `The database is there but ${path}, which holds its passwords, is missing. Restore that file from your backup.`,
    );
  }
  if (found?.initialized === true && !clusterExists) {
    throw new EmbeddedPostgresError(
      `${path} is there but the database that it opens is missing. Restore the database from your backup; ` +
        'remove the whole data directory only if you want to start with an empty one.',
    );
  }
  if (found !== undefined) return found;
  const fresh: ClusterPasswords = {
    initialized: false,
    adminPassword: randomBytes(32).toString('hex'),
    password: randomBytes(32).toString('hex'),
  };
  await writeFileDurably(path, `${JSON.stringify(fresh)}\n`, 0o600);
  return fresh;
}

export async function markInitialized(dataDirectory: string, passwords: ClusterPasswords): Promise<void> {
  const content = `${JSON.stringify({ ...passwords, initialized: true })}\n`;
  await writeFileDurably(join(dataDirectory, 'credentials.json'), content, 0o600);
}

async function read(path: string): Promise<ClusterPasswords | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    if (error instanceof SyntaxError)
      throw new EmbeddedPostgresError(`${path} is damaged. Restore it from your backup.`);
    throw error;
  }
}
