// postgres refuses to run as root, so root drops to an existing account; it never creates one.
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedPostgresError, isErrno, useDatabaseUrl } from '../embedded-postgres-error.ts';

const run = promisify(execFile);

const candidates = ['postgres', '_postgres', 'nobody'];

export interface Account {
  uid: number;
  gid: number;
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Returns the account that postgres runs under; `undefined` means that of this process. An existing cluster keeps its
 * owner; otherwise a `postgres` account that is installed later would lock us out of our data.
 */
export async function chooseAccount(clusterDirectory: string | undefined): Promise<Account | undefined> {
  const owner = clusterDirectory === undefined ? undefined : await ownerOf(clusterDirectory);
  if (!isRoot()) {
    const own = process.getuid?.();
    if (owner !== undefined && owner.uid !== own) {
      throw new EmbeddedPostgresError(
        `The database in ${clusterDirectory} belongs to user id ${owner.uid}, this server runs as user id ${own}. ` +
          'Start it as that user or as root.',
      );
    }
    requireUserEntry();
    return undefined;
  }
  if (owner?.uid === 0) {
    throw new EmbeddedPostgresError(
      `The database in ${clusterDirectory} belongs to root, and PostgreSQL refuses to run as root. ` +
        'Give the folder and what is in it to the user that it belonged to.',
    );
  }
  return owner ?? (await findDropAccount());
}

async function ownerOf(path: string): Promise<Account | undefined> {
  try {
    const { uid, gid } = await stat(path);
    return { uid, gid };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * initdb looks up its own user by id and fails if there is no entry, for example under a container's random user id.
 */
function requireUserEntry(): void {
  try {
    userInfo();
  } catch {
    throw new EmbeddedPostgresError(
      `User id ${process.getuid?.()} has no entry in /etc/passwd, and PostgreSQL's initdb needs one. ` +
        `Add an entry or run as another user. ${useDatabaseUrl}`,
    );
  }
}

async function findDropAccount(): Promise<Account> {
  for (const name of candidates) {
    try {
      const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
      // macOS prints the -2 of nobody as 4294967294; `| 0` makes it the int32 that spawn needs.
      return { uid: Number(uid.stdout) | 0, gid: Number(gid.stdout) | 0 };
    } catch {
      // This account does not exist here.
    }
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL refuses to run as root, and none of the users ${candidates.join(', ')} exists here. ` +
      `Start the server as a plain user. ${useDatabaseUrl}`,
  );
}

/** Whether the account may pass through every folder of a path, without supplementary groups, which spawn drops. */
export async function canTraverse(directory: string, account: Account): Promise<boolean> {
  for (let path = directory; ; path = dirname(path)) {
    const { mode, uid, gid } = await stat(path);
    const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0;
    if (((mode >> shift) & 0o1) === 0) return false;
    if (path === dirname(path)) return true;
  }
}
