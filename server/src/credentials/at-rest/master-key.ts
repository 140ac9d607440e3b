// The master keys: one file outside the database, the data directory and the backups. The active key wraps the data
// keys that encrypt the rows; the file holds others only while one key is being replaced by another.
import { createHash, randomBytes } from 'node:crypto';
import { link, open, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder } from '../../make-folder.ts';
import { AtRestError } from './at-rest-error.ts';

export interface MasterKey {
  /** `mk-` and 16 hex digits of the key's hash: identifies the key without revealing it. */
  id: string;
  /** 32 bytes. */
  key: Buffer;
  /** Returns another key that this server holds, by its id. */
  find?(id: string): MasterKey | undefined;
}

const keyBytes = 32;
const ownerOnly = 0o600;
const othersMask = 0o077;
const maxFileBytes = 4_096;
const otherFile = 'Name another place for the master key with OPSCONDUCTOR_MASTER_KEY_FILE.';
/** Keys in one file. Normally there is one, and two while a key is being replaced. */
export const maxMasterKeys = 8;

/**
 * Reads the master key file, or creates it (mode 0600, synced) if there is none. If several servers start at the same
 * moment on one directory, one of them creates the file and all read it.
 *
 * @param options.file path of the file: JSON `{"id": "mk-…", "key": "<base64>", "others": [{"id", "key"}, …]}`.
 * @param options.expectedId id of the key that the database is encrypted under, if it is already encrypted. Then a
 * missing file is an error and isn't created, and a file without that key is refused.
 * @throws {AtRestError} `missing`, `exposed` (group or others have access), `unreadable`, `damaged`, `wrong_master_key`.
 */
export async function loadOrCreateMasterKeys(options: {
  file: string;
  expectedId?: string;
}): Promise<MasterKey[]> {
  const { file, expectedId } = options;
  const existing = await readMasterKeys(file);
  if (existing === undefined && expectedId !== undefined) throw missing(file, expectedId);
  const masterKeys = existing ?? (await create(file));
  if (expectedId !== undefined) requireMasterKey(masterKeys, expectedId, file);
  return masterKeys;
}

/**
 * Returns the key that the database is encrypted under.
 *
 * @param file path to name in the message.
 * @throws {AtRestError} `wrong_master_key` if it isn't among `masterKeys`.
 */
export function requireMasterKey(
  masterKeys: readonly MasterKey[],
  expectedId: string,
  file: string,
): MasterKey {
  const found = masterKeys.find(({ id }) => id === expectedId);
  if (found !== undefined) return found;
  const ids = masterKeys.map(({ id }) => id).join(', ');
  throw new AtRestError(
    'wrong_master_key',
    `The database is encrypted under master key ${expectedId}, but ${file} holds ${ids}. ` +
      'Put the file back that belongs to this database, or point to the right database.',
  );
}

/**
 * Replaces the keys in the file. Its owner stays the same, as root may do this for a server that doesn't run as root.
 * The file is replaced atomically and is on disk when this resolves.
 */
export async function writeMasterKeys(file: string, masterKeys: readonly MasterKey[]): Promise<void> {
  const temporary = temporaryName(file);
  await writeSynced(temporary, encode(masterKeys), await ownerOf(file));
  await rename(temporary, file);
  await syncDirectory(dirname(file));
}

/** Makes a master key in memory, to rotate to or for tests. */
export function newMasterKey(): MasterKey {
  const key = randomBytes(keyBytes);
  return { id: idOf(key), key };
}

/**
 * Returns the keys of the file, or `undefined` if there is no file.
 *
 * @throws {AtRestError} `exposed`, `unreadable`, `damaged`.
 */
export async function readMasterKeys(file: string): Promise<MasterKey[] | undefined> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error.code === 'EACCES' ? unreadable(file, error) : error;
  });
  if (handle === undefined) return undefined;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw notAFile(file);
    const { mode, size } = stat;
    // Windows has no such bits; there the directory's access list protects the file.
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

function notAFile(file: string): AtRestError {
  return new AtRestError(
    'unreadable',
    `${file} is no file. OPSCONDUCTOR_MASTER_KEY_FILE has to name the master key file itself, such as ${join(file, 'master-key.json')}.`,
  );
}

function unreadable(file: string, cause: Error): AtRestError {
  return new AtRestError(
    'unreadable',
    `This user may not read the master key file ${file}. Run the server as the user who owns it, or give the file and its folder to this user: chown.`,
    { cause },
  );
}

function parse(text: string, file: string): MasterKey[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(file); // without the cause, which would quote the file
  }
  const { others = [] } = Object(value) as { others?: unknown };
  if (!Array.isArray(others) || others.length >= maxMasterKeys) throw damaged(file);
  const masterKeys = [value, ...others].map((each) => parseOne(each, file));
  if (new Set(masterKeys.map(({ id }) => id)).size < masterKeys.length) throw damaged(file);
  return masterKeys;
}

function parseOne(value: unknown, file: string): MasterKey {
  const { id, key } = Object(value) as { id?: unknown; key?: unknown };
  const bytes = Buffer.from(typeof key === 'string' ? key : '', 'base64');
  if (bytes.length !== keyBytes || id !== idOf(bytes)) throw damaged(file);
  return { id: idOf(bytes), key: bytes };
}

function encode(masterKeys: readonly MasterKey[]): string {
  const [first, ...others] = masterKeys.map(({ id, key }) => ({ id, key: key.toString('base64') }));
  return `${JSON.stringify(others.length === 0 ? first : { ...first, others })}\n`;
}

function temporaryName(file: string): string {
  return `${file}.${randomBytes(6).toString('hex')}.tmp`;
}

async function create(file: string): Promise<MasterKey[]> {
  await makeFolder(dirname(file), 0o700, otherFile);
  // The complete file is linked to its name in one step: a half-written key must never be taken for a key.
  const temporary = temporaryName(file);
  await writeSynced(temporary, encode([newMasterKey()])).catch((cause: Error) => {
    throw new AtRestError('missing', `The master key can't be written: ${cause.message}. ${otherFile}`, {
      cause,
    });
  });
  try {
    await link(temporary, file);
  } catch (error) {
    // Another server was first, and its key is the one to use.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(temporary);
  }
  await syncDirectory(dirname(file));
  const made = await readMasterKeys(file);
  if (made === undefined) throw new AtRestError('missing', `The master key file ${file} disappeared`);
  return made;
}

interface Owner {
  uid: number;
  gid: number;
}

/** Returns `undefined` if there is no such file, or if the user of this process owns it already. */
async function ownerOf(file: string): Promise<Owner | undefined> {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return found === undefined || found.uid === process.getuid?.() ? undefined : found;
}

async function writeSynced(file: string, text: string, owner?: Owner): Promise<void> {
  const handle = await open(file, 'wx', ownerOnly);
  try {
    if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the new name survive a power cut. On Windows a directory can't be opened for this. */
async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Whether a text has the form of a master key's id. */
export function isMasterKeyId(text: string): boolean {
  return /^mk-[0-9a-f]{16}$/.test(text);
}

function idOf(key: Uint8Array): string {
  const digest = createHash('sha256').update('opsconductor/v1/master-key-id\0').update(key).digest('hex');
  return `mk-${digest.slice(0, 16)}`;
}

function missing(file: string, id: string): AtRestError {
  return new AtRestError(
    'missing',
    `The database is encrypted under master key ${id}, but there is no file ${file}. Put the master key file back. ` +
      'Without it the definitions of jobs, values of runs, their output and the identity of this installation are lost permanently; ' +
      'credentials are not: they are sealed to segments, whose agents open them.',
  );
}

function damaged(file: string): AtRestError {
  return new AtRestError(
    'damaged',
    `${file} is not a master key file, or was altered. Restore it from its own backup.`,
  );
}
