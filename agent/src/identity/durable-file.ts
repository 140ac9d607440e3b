// Files that must be whole after a crash: written beside, synced, renamed into place, and the folder synced.
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AgentError } from '../agent-error.ts';

/** Replaces a file atomically; it and its name are on disk when this resolves. Mode 0600. */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  await rename(await writeBeside(path, content), path);
  await syncFolder(dirname(path));
}

/** What FAT, some shares and file systems in user space say. */
const lacksLinks: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

export class NoHardLinks extends AgentError {
  constructor(path: string, cause: unknown) {
    super(
      `${path} can’t be made: its file system has no hard links.`,
      'Have the data directory on a file system that has them, as ext4, XFS and NTFS have.',
      { cause },
    );
  }
}

/**
 * Makes a file, unless there is one: of several who make it at once one does, and the others find it whole. It and its name
 * are on disk when this resolves, whoever made it. Mode 0600; its owner is another where one is given, from its first moment on.
 *
 * @returns whether it was made now.
 * @throws {NoHardLinks} where its file system has none.
 */
export async function createDurably(
  path: string,
  content: string | Uint8Array,
  owner?: { uid: number; gid: number },
): Promise<boolean> {
  const beside = await writeBeside(path, content, owner);
  let isNew = true;
  try {
    await link(beside, path);
  } catch (error) {
    if (lacksLinks.has(errorCode(error) ?? '')) throw new NoHardLinks(path, error);
    if (errorCode(error) !== 'EEXIST') throw error;
    isNew = false;
  } finally {
    await unlink(beside).catch(() => undefined);
  }
  // Also of one that was there: whoever made it may not have come to that, and what it stands in for is removed next.
  await syncFolder(dirname(path));
  return isNew;
}

async function writeBeside(
  path: string,
  content: string | Uint8Array,
  owner?: { uid: number; gid: number },
): Promise<string> {
  const beside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const file = await open(beside, 'wx', 0o600);
  try {
    await file.writeFile(content);
    if (owner !== undefined) await file.chown(owner.uid, owner.gid);
    await file.sync();
  } catch (error) {
    await file.close();
    await unlink(beside).catch(() => undefined);
    throw error;
  }
  await file.close();
  return beside;
}

/** Makes a folder's entries (created, renamed, removed files) durable. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return; // folders can't be opened there; NTFS journals its names
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Makes a folder that only its owner may enter, and those above it. One by one: Node's own way to make several at once
 * never returns below /proc, and says of a read-only file system that the folder above is missing.
 */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return;
    const above = dirname(path);
    if (!isMissing(error) || above === path || (await isThere(above))) throw error;
    await makePrivateFolder(above);
    await makePrivateFolder(path);
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error) => !isMissing(error),
  );
}

/** The file's bytes; undefined when there is no such file. */
export async function readIfExists(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

/** The `code` of a system error (`ECONNREFUSED`); undefined for any other. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
