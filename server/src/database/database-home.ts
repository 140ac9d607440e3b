// Where the cluster lives. That is the data directory itself, unless postgres runs under an account that can't get
// there. Then it is a separate folder, and a pointer file in the data directory leads to it.
import { randomBytes } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../make-folder.ts';
import { writeFileDurably } from './durable-file.ts';
import { EmbeddedPostgresError, isErrno, useDatabaseUrl } from './embedded-postgres-error.ts';
import { type Account, canTraverse, chooseAccount } from './postgres/postgres-account.ts';

export interface DatabaseHome {
  /** The real path of the folder that the caller named; it has the credentials and the pointer file. */
  dataDirectory: string;
  /** The folder of the cluster, the lock, the settings and the log. */
  home: string;
  cluster: string;
  /** Where binaries are copied if they can't be run in place. */
  binariesFolder: string;
  account: Account | undefined;
}

/** Where root puts what an unprivileged account must reach. Not a temporary folder, because those are cleaned up. */
export const systemFolder = '/var/lib/opsconductor-postgresql';

const otherDataDirectory =
  'Choose another data directory with --data, or give this user the right to write there.';

/** Makes the data directory if it is missing, so that another account may pass through it. Returns its real path. */
export async function makeDataDirectory(path: string): Promise<string> {
  await makeFolder(path, 0o711, otherDataDirectory);
  try {
    return await realpath(path);
  } catch (error) {
    throw new EmbeddedPostgresError(
      `The data directory ${path} can't be entered: ${error}. ${otherDataDirectory}`,
      { cause: error },
    );
  }
}

/** Call it under the lock of the data directory: it decides, once, where the database is placed. */
export async function findDatabaseHome(
  dataDirectory: string,
  options: { systemFolder: string; log: (message: string) => void },
): Promise<DatabaseHome> {
  const pointed = await readPointer(dataDirectory);
  const account = await chooseAccount(join(pointed ?? dataDirectory, 'cluster'));
  const home = pointed ?? (await placeHome(dataDirectory, account, options));
  return {
    dataDirectory,
    home,
    cluster: join(home, 'cluster'),
    binariesFolder: join(account === undefined ? home : options.systemFolder, 'binaries'),
    account,
  };
}

function pointerPath(dataDirectory: string): string {
  return join(dataDirectory, 'placement.json');
}

async function readPointer(dataDirectory: string): Promise<string | undefined> {
  let home: string;
  try {
    home = JSON.parse(await readFile(pointerPath(dataDirectory), 'utf8')).home;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  const found = await stat(home).catch(() => undefined);
  if (found === undefined) {
    throw new EmbeddedPostgresError(
      `${pointerPath(dataDirectory)} says that the database is in ${home}, which is not there. Bring that folder back; ` +
        'remove the whole data directory only if you want to start with an empty database.',
    );
  }
  return home;
}

async function placeHome(
  dataDirectory: string,
  account: Account | undefined,
  options: { systemFolder: string; log: (message: string) => void },
): Promise<string> {
  if (account === undefined || (await canTraverse(dataDirectory, account))) return dataDirectory;

  if ((await stat(join(dataDirectory, 'cluster')).catch(() => undefined)) !== undefined) {
    throw new EmbeddedPostgresError(
      `The database is in ${dataDirectory}, where its user id ${account.uid} can't enter any more. ` +
        'Let others pass through that folder and those above it (chmod o+x).',
    );
  }
  const home = join(options.systemFolder, `data-${randomBytes(6).toString('hex')}`);
  await makeFolder(home, 0o755, otherDataDirectory);
  if (!(await canTraverse(home, account))) {
    throw new EmbeddedPostgresError(
      `PostgreSQL runs as user id ${account.uid}, who can reach neither ${dataDirectory} nor ${home}. ` +
        `Choose a data directory that this user may enter. ${useDatabaseUrl}`,
    );
  }
  options.log(
    `PostgreSQL runs as user id ${account.uid}, who can't enter ${dataDirectory}: the database is placed in ${home}`,
  );
  await writeFileDurably(pointerPath(dataDirectory), `${JSON.stringify({ home })}\n`, 0o600);
  return home;
}
