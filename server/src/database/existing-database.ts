// Opens the embedded database of an installation for commands that need one, and never creates an empty one instead.
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from './embedded-postgres.ts';
import { DatabaseInUse, EmbeddedPostgresError, isErrno } from './embedded-postgres-error.ts';

/** What a data directory has once a server was started on it; a damaged or incomplete restore may lack some. */
const traces = ['credentials.json', 'placement.json', 'cluster'];

/**
 * Does what `startEmbeddedPostgres` does, if the data directory holds a database.
 *
 * @throws {EmbeddedPostgresError} if it holds none. Nothing has been written then.
 */
export async function startExistingPostgres(
  options: EmbeddedPostgresOptions & { /** What to do if a server uses the database. */ otherwise?: string },
): Promise<EmbeddedPostgres> {
  const found = await Promise.all(traces.map((name) => exists(join(options.dataDir, name))));
  if (!found.includes(true)) {
    throw new EmbeddedPostgresError(
      `There is no database in ${resolve(options.dataDir)}. Give the folder that the server is started with: --data FOLDER. ` +
        'If it uses a PostgreSQL of your own, set DATABASE_URL instead.',
    );
  }
  return startEmbeddedPostgres(options).catch((error: unknown) => {
    // A server could have another folder instead; a command is for this one.
    if (!(error instanceof DatabaseInUse)) throw error;
    throw new EmbeddedPostgresError(
      `A server (process id ${error.pid}) uses the database in ${resolve(options.dataDir)}. ${options.otherwise ?? 'Stop it first.'}`,
      { cause: error },
    );
  });
}

/** A file that can't be looked at counts as existing: opening the database says why. */
async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    return !isErrno(error, 'ENOENT', 'ENOTDIR');
  }
}
