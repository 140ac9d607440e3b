// The mark that an embedded database was moved: from then on a server must not start on the old one by mistake, because
// agents and people would work with two installations that take themselves for the same.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../durable-file.ts';
import { EmbeddedPostgresError, isErrno } from '../embedded-postgres-error.ts';

const fileName = 'moved.json';

/** `to`: host, port and name of the database. */
export async function markMoved(dataDir: string, to: string): Promise<void> {
  const text = `${JSON.stringify({ to, at: new Date().toISOString() })}\n`;
  await writeFileDurably(join(dataDir, fileName), text, 0o600);
}

/** @throws {EmbeddedPostgresError} if the database in the folder was moved. */
export async function refuseMoved(dataDir: string): Promise<void> {
  const path = join(dataDir, fileName);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return;
    // Where root has moved the database of a server that is not root, the server may not read it.
    text = '';
  }
  throw new EmbeddedPostgresError(
    `The database in ${dataDir} was moved${whereTo(text)}. Set DATABASE_URL to the one that it was moved to. ` +
      `To go back to the old one for good, with what it had then, stop every server on the new one and remove ${path}.`,
  );
}

/** A mark that can't be read is a mark all the same. */
function whereTo(text: string): string {
  const [, to, at] = /"to":"([^"]*)","at":"([^"]*)"/.exec(text) ?? [];
  return to === undefined ? '' : ` to ${to} on ${at}`;
}
