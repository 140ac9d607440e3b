// Root may run a command on the database of a server that is not root. It must leave no file there that the server
// can't open.
import { type FileHandle, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EmbeddedPostgresError } from './embedded-postgres-error.ts';
import { isRoot } from './postgres/postgres-account.ts';

/** Gives a file that was just made to the owner of its folder. */
export async function giveToFolderOwner(file: FileHandle, path: string): Promise<void> {
  if (!isRoot()) return;
  const { uid, gid } = await stat(dirname(path));
  // Root in a container may not be allowed to do this; then the file stays as it was made.
  if (uid !== 0) await file.chown(uid, gid).catch(() => {});
}

/** Returns the error for a file that this process may not open. */
export async function notOurs(path: string, cause: unknown): Promise<EmbeddedPostgresError> {
  const own = process.getuid?.();
  const owner = await stat(path).then(
    ({ uid }) => `it belongs to user id ${uid}, `,
    () => '',
  );
  return new EmbeddedPostgresError(
    `${path} can't be opened: ${owner}this server runs as user id ${own}. ` +
      `Where no other server uses the database, give it to this user: chown ${own} ${path}`,
    { cause },
  );
}
