// The master key: one file outside database, data directory and backups. It wraps the data keys that encrypt the rows.
import { createHash, randomBytes } from 'node:crypto';
import { link, mkdir, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AtRestError } from './at-rest-error.ts';

export interface MasterKey {
  /** `mk-` and 16 hex digits of the key's hash: names the key without telling it. */
  id: string;
  /** 32 bytes. */
  key: Buffer;
}

const keyBytes = 32;
const ownerOnly = 0o600;
const othersMask = 0o077;
const maxFileBytes = 4_096;

/**
 * Reads the master key file, or makes it (mode 0600, synced) where there is none. Of servers that start at the same
 * moment on one directory, one makes the file and all read it.
 *
 * @param options.file path of the file: JSON `{"id": "mk-…", "key": "<base64>"}`.
 * @param options.expectedId id under which the database is encrypted, where it already is: then a missing file is an
 * error and not made anew, and a file with another key is refused.
 * @throws {AtRestError} `missing`, `exposed` (readable by group or others), `damaged`, `wrong_master_key`.
 */
export async function loadOrCreateMasterKey(options: {
  file: string;
  expectedId?: string;
}): Promise<MasterKey> {
  const { file, expectedId } = options;
  const existing = await read(file);
  if (existing === undefined && expectedId !== undefined) {
    throw new AtRestError(
      'missing',
      `The database is encrypted under master key ${expectedId}, but there is no file ${file}. ` +
        'Put the master key file back; without it nothing that is encrypted can be read.',
    );
  }
  const masterKey = existing ?? (await create(file));
  if (expectedId !== undefined) requireMasterKey(masterKey, expectedId, file);
  return masterKey;
}

/**
 * Refuses a master key other than the one the database was encrypted under.
 *
 * @param file path that the message names.
 * @throws {AtRestError} `wrong_master_key`.
 */
export function requireMasterKey(masterKey: MasterKey, expectedId: string, file: string): void {
  if (masterKey.id === expectedId) return;
  throw new AtRestError(
    'wrong_master_key',
    `The database is encrypted under master key ${expectedId}, but ${file} holds ${masterKey.id}. ` +
      'Put the file back that belongs to this database, or point to the right database.',
  );
}

/** Makes a master key in memory: to rotate to, and for tests. */
export function newMasterKey(): MasterKey {
  const key = randomBytes(keyBytes);
  return { id: idOf(key), key };
}

async function read(file: string): Promise<MasterKey | undefined> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  try {
    const { mode, size } = await handle.stat();
    // Windows has no such bits: there the directory's access list protects the file.
    if (process.platform !== 'win32' && (mode & othersMask) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      throw new AtRestError(
        'exposed',
        `Others than its owner can use the master key file ${file} (mode ${octal}). Run: chmod 600 ${file}`,
      );
    }
    if (size > maxFileBytes) throw damaged(file);
    return parse(await handle.readFile('utf8'), file);
  } finally {
    await handle.close();
  }
}

function parse(text: string, file: string): MasterKey {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(file); // without the cause, which would quote the file
  }
  const { id, key } = Object(value) as { id?: unknown; key?: unknown };
  const bytes = Buffer.from(typeof key === 'string' ? key : '', 'base64');
  if (bytes.length !== keyBytes || id !== idOf(bytes)) throw damaged(file);
  return { id: idOf(bytes), key: bytes };
}

async function create(file: string): Promise<MasterKey> {
  const { id, key } = newMasterKey();
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  // A whole file appears under its name, or none: a half-written key must never be taken for one.
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  await writeSynced(temporary, `${JSON.stringify({ id, key: key.toString('base64') })}\n`);
  try {
    await link(temporary, file);
  } catch (error) {
    // Another server was first; its key is the one.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(temporary);
  }
  await syncDirectory(dirname(file));
  const made = await read(file);
  if (made === undefined) throw new AtRestError('missing', `The master key file ${file} disappeared`);
  return made;
}

async function writeSynced(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', ownerOnly);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the new name survive a power cut; Windows cannot open a directory to do so. */
async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function idOf(key: Uint8Array): string {
  const digest = createHash('sha256').update('opsconductor/v1/master-key-id\0').update(key).digest('hex');
  return `mk-${digest.slice(0, 16)}`;
}

function damaged(file: string): AtRestError {
  return new AtRestError(
    'damaged',
    `${file} is not a master key file, or was altered. Restore it from its own backup.`,
  );
}
