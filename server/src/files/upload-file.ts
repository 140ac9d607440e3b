// Uploads a file in three steps: its name and size, its bytes in any number of requests, and a check of the whole. An
// interrupted upload continues where it stopped.
import { randomUUID } from 'node:crypto';
import {
  type CreateFileRequest,
  type FinishFileRequest,
  limits,
  type ReceivedContent,
  type StoredFile,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { categoryForJobs } from '../jobs/settings/category-for-jobs.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  bytesBeside,
  type ContentRow,
  findContent,
  finishContent,
  lockContent,
  storedContentBytes,
} from '../store/files/contents.ts';
import {
  countFiles,
  type FileRow,
  findFile,
  insertFile,
  isCompleteFile,
  lockUnfinishedUploads,
} from '../store/files/files.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { appendBytes, beginContent, digestOfContent, partsOfSize, receivedBytes } from './content-pieces.ts';
import { getFile } from './list-files.ts';

/** The most that a name may have on Linux. */
const maxNameBytes = 255;

export interface FileDeps {
  sql: Sql;
  masterKey: MasterKey;
  /** Maximum number of bytes that files and artifacts may take together. */
  maxStoredBytes: number;
}

/**
 * Begins an upload: the name is reserved from now on.
 * @throws {AppError} `conflict` for a name that is taken, or if the caller has begun too much that has not arrived;
 * `too_large` if there is no room for it; `invalid` for a category that does not exist; `forbidden` without `jobs.edit` on
 * it.
 */
export async function createFile(
  { sql, masterKey, maxStoredBytes }: FileDeps,
  request: CreateFileRequest,
  caller: Caller,
): Promise<StoredFile> {
  refuseUnstorableText(request);
  const { name, size, description = '' } = request;
  requireStorableName(name);
  const id = randomUUID();
  await inTransaction(sql, async (tx) => {
    const category = await categoryForJobs(tx, request.category, caller);
    if ((await countFiles(tx)) >= limits.maxFiles)
      throw new AppError('conflict', `There are ${limits.maxFiles} files, which is the most. Delete some.`);
    await refuseHoarding(tx, { size, most: maxStoredBytes }, caller);
    requireRoom(await bytesBeside(tx, { size, most: maxStoredBytes }), size, maxStoredBytes);
    await insertFile(tx, { id, name, description, categoryId: category.id, createdBy: caller.userId });
    await beginContent(tx, masterKey, { id, owner: 'file', size });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'file.created',
      object: { kind: 'file', id },
      scope: { categoryId: category.id },
      detail: { name, size, category: category.name },
    });
  }).catch(async (error) => {
    if (violatedConstraint(error) !== 'files_name_key') throw error;
    const message = (await isCompleteFile(sql, name))
      ? `There is a file named ${name} already. A file never changes: give this one another name, or delete that first.`
      : `An upload of a file named ${name} has begun and is not complete. Continue that one, or delete it first.`;
    throw new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
  });
  return getFile(sql, id, caller.authority.reach('jobs.edit'));
}

/** The pattern of names limits the characters; a disk limits the bytes. */
function requireStorableName(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes <= maxNameBytes) return;
  throw invalidField(
    'name',
    `Must have at most ${maxNameBytes} bytes in UTF-8, as names of files do on Linux.`,
    {
      found: `${bytes} bytes`,
      allowed: `${maxNameBytes} bytes`,
    },
  );
}

/**
 * Stores the next bytes of a file.
 * @throws {AppError} `not_found`; `forbidden`; `conflict` if the upload is at another offset or has ended; `invalid`
 * for bytes that are not whole pieces, or that go beyond its end.
 */
export async function uploadBytes(
  { sql, masterKey }: FileDeps,
  { id, offset, bytes }: { id: string; offset: number; bytes: Uint8Array },
  caller: Caller,
): Promise<StoredFile> {
  await editableFile(sql, id, caller);
  await inTransaction(sql, async (tx) => {
    const content = await lockContent(tx, id);
    if (content === undefined) throw notFound('File');
    if (content.sha256 !== null) throw alreadyWhole();
    const stands = receivedBytes(content);
    if (offset !== stands) {
      const message = `The upload is at ${stands}, not at ${offset}: continue from there.`;
      throw new AppError('conflict', message, {
        details: [{ path: 'query.offset', message, found: String(offset), allowed: String(stands) }],
      });
    }
    requireWholePieces(content, stands, bytes.length);
    await appendBytes(tx, masterKey, content, bytes);
  });
  return getFile(sql, id, caller.authority.reach('jobs.edit'));
}

/**
 * Checks the whole file and completes it: from now on steps can use it.
 * @throws {AppError} `not_found`; `forbidden`; `conflict` while bytes are missing; `invalid` if its digest is not the
 * expected one.
 */
export async function finishFile(
  { sql, masterKey }: FileDeps,
  id: string,
  { sha256 }: FinishFileRequest,
  caller: Caller,
): Promise<StoredFile> {
  const file = await editableFile(sql, id, caller);
  const content = await findContent(sql, id);
  if (content === undefined) throw notFound('File');
  // A request whose answer was lost may be repeated.
  const found = content.sha256 ?? (await wholeDigest({ sql, masterKey }, content, caller));
  if (sha256 !== undefined && sha256 !== found) {
    throw invalidField(
      'sha256',
      'The file that arrived has another SHA-256. Delete it and upload it again.',
      {
        found: sha256,
        allowed: found,
      },
    );
  }
  if (content.sha256 === null) {
    await inTransaction(sql, async (tx) => {
      if (!(await finishContent(tx, id, found))) return;
      await recordAudit(tx, {
        ...auditedBy(caller),
        action: 'file.uploaded',
        object: { kind: 'file', id },
        scope: { categoryId: file.categoryId },
        detail: { name: file.name, size: file.size, sha256: found },
      });
    });
  }
  return getFile(sql, id, caller.authority.reach('jobs.edit'));
}

/**
 * Returns the digest of what has arrived of a file, so that whoever continues its upload can tell whether they have the
 * same file.
 * @throws {AppError} `not_found`; `forbidden`.
 */
export async function digestOfReceived(
  { sql, masterKey }: Pick<FileDeps, 'sql' | 'masterKey'>,
  id: string,
  caller: Caller,
): Promise<ReceivedContent> {
  await editableFile(sql, id, caller);
  const content = await findContent(sql, id);
  if (content === undefined) throw notFound('File');
  const received = receivedBytes(content);
  const sha256 =
    content.sha256 ?? (await digestOfContent(sql, masterKey, { ...content, size: received }, caller.userId));
  return { receivedBytes: received, sha256 };
}

/** Returns a file that the caller may change, whether or not it is complete. */
export async function editableFile(sql: Sql, id: string, caller: Caller): Promise<FileRow> {
  const file = await findFile(sql, id, caller.authority.reach('read'));
  if (file === undefined) throw notFound('File');
  if (!caller.authority.holdsOnCategory('jobs.edit', file.categoryId))
    throw new MissingPermission(caller, 'jobs.edit', `category “${file.category}”`);
  return file;
}

/**
 * Refuses an upload while the user has begun too much that has not arrived: announced bytes take room, and one user could
 * take all of it, from everybody's uploads and artifacts, with a dozen requests and no bytes.
 */
async function refuseHoarding(
  tx: Tx,
  { size, most }: { size: number; most: number },
  { userId }: Pick<Caller, 'userId'>,
): Promise<void> {
  const { count, bytesToCome } = await lockUnfinishedUploads(tx, userId);
  if (count >= limits.maxUnfinishedUploads)
    throw new AppError(
      'conflict',
      `You have begun ${count} uploads that are not complete, which is the most. Finish or discard some.`,
    );
  const room = most - (await storedContentBytes(tx)) + bytesToCome;
  const mostToCome = Math.max(limits.maxFileBytes, Math.floor(room / 2));
  if (bytesToCome + size <= mostToCome) return;
  throw new AppError(
    'conflict',
    `Your unfinished uploads await ${bytesToCome} bytes; with ${size} more they would take over half of the room that is left (${mostToCome} bytes). Finish or discard some first.`,
  );
}

/**
 * Refuses if this many more bytes have no room. Uploads count with their full size, including what is still to come.
 */
export function requireRoom(stored: number, size: number, most: number): void {
  if (stored + size <= most) return;
  throw new AppError(
    'too_large',
    `Files and artifacts take ${stored} of the ${most} bytes that they may; ${size} more have no room. Delete files or old runs, or raise --file-storage-gb.`,
  );
}

async function wholeDigest(
  { sql, masterKey }: Pick<FileDeps, 'sql' | 'masterKey'>,
  content: ContentRow,
  { userId }: Pick<Caller, 'userId'>,
): Promise<string> {
  const received = receivedBytes(content);
  if (content.parts < partsOfSize(content.size))
    throw new AppError('conflict', `Only ${received} of its ${content.size} bytes are here: send the rest.`);
  return digestOfContent(sql, masterKey, content, userId);
}

function requireWholePieces({ size }: ContentRow, offset: number, length: number): void {
  if (offset + length > size)
    throw new AppError('invalid', `The file was announced with ${size} bytes; these go beyond its end.`);
  if (offset + length === size || (length > 0 && length % limits.contentPartBytes === 0)) return;
  throw new AppError(
    'invalid',
    `Send a multiple of ${limits.contentPartBytes} bytes, up to ${limits.maxUploadBytes}, or all up to the end of the file; found ${length}.`,
  );
}

function alreadyWhole(): AppError {
  return new AppError('conflict', 'The file is already complete, and never changes.');
}
