// Stores a content in pieces, each encrypted under the content's own data key, and its digest once all are there.
import { createHash } from 'node:crypto';
import { limits } from '@opsconductor/protocol';
import { newDataKey, unwrapDataKey, wrapDataKey } from '../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { aadOf, openAtRest, sealAtRest } from '../credentials/at-rest/seal-at-rest.ts';
import type { Queryable, Tx } from '../store/database/connection.ts';
import { appendParts, type ContentRow, insertContent, readParts } from '../store/files/contents.ts';
import { readInTurns } from '../turns/read-in-turns.ts';

const { contentPartBytes } = limits;
/** Pieces that are read from the database at once. */
const partsAtATime = 4;

/** Creates an empty content of this size, for the file or artifact with the same id. */
export async function beginContent(
  tx: Tx,
  masterKey: MasterKey,
  { id, owner, size }: { id: string; owner: 'file' | 'artifact'; size: number },
): Promise<void> {
  const dataKey = newDataKey();
  await insertContent(tx, {
    id,
    owner,
    size,
    dataKey: wrapDataKey(masterKey, dataKey, contentKeyContext(id)),
  });
  dataKey.fill(0);
}

export function partsOfSize(size: number): number {
  return Math.ceil(size / contentPartBytes);
}

/** Returns the number of bytes that are stored. */
export function receivedBytes({ size, parts }: Pick<ContentRow, 'size' | 'parts'>): number {
  return Math.min(size, parts * contentPartBytes);
}

/** Appends bytes: whole pieces, or everything up to the end. The content must be locked. */
export async function appendBytes(
  tx: Tx,
  masterKey: MasterKey,
  content: ContentRow,
  bytes: Uint8Array,
): Promise<void> {
  const key = keyOf(masterKey, content);
  const sealed: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += contentPartBytes) {
    const number = content.parts + sealed.length;
    sealed.push(sealAtRest(key, bytes.subarray(at, at + contentPartBytes), partAad(content.id, number)));
  }
  if (sealed.length > 0) await appendParts(tx, content, sealed);
}

/** Returns one piece; undefined if it does not exist. */
export async function readPart(
  db: Queryable,
  masterKey: MasterKey,
  content: ContentRow,
  number: number,
): Promise<Buffer | undefined> {
  const [sealed] = await readParts(db, content.id, number, 1);
  if (sealed === undefined) return undefined;
  return openAtRest(keyOf(masterKey, content), sealed, partAad(content.id, number));
}

/** Yields the bytes from `start` (inclusive) to `end` (exclusive) in pieces, reading on as they are taken. */
export async function* readContent(
  db: Queryable,
  masterKey: MasterKey,
  content: ContentRow,
  { start, end }: { start: number; end: number } = { start: 0, end: content.size },
): AsyncGenerator<Buffer> {
  const key = keyOf(masterKey, content);
  const last = partsOfSize(end);
  for (let from = Math.floor(start / contentPartBytes); from < last; from += partsAtATime) {
    const count = Math.min(partsAtATime, last - from);
    const parts = await readParts(db, content.id, from, count);
    // Deleted meanwhile: the reader must not take what has arrived for the whole.
    if (parts.length < count) throw new Error(`content ${content.id} has lost pieces from ${from} on`);
    for (const [at, sealed] of parts.entries()) {
      const number = from + at;
      const bytes = openAtRest(key, sealed, partAad(content.id, number));
      const offset = number * contentPartBytes;
      yield bytes.subarray(Math.max(0, start - offset), Math.min(bytes.length, end - offset));
    }
  }
}

/** Returns the SHA-256 of everything that is stored, in hex. `userId`: read in turns with other users. */
export async function digestOfContent(
  db: Queryable,
  masterKey: MasterKey,
  content: ContentRow,
  userId?: number,
): Promise<string> {
  const hash = createHash('sha256');
  const pieces = readContent(db, masterKey, content);
  for await (const bytes of userId === undefined ? pieces : readInTurns(userId, pieces)) hash.update(bytes);
  return hash.digest('hex');
}

function keyOf(masterKey: MasterKey, { id, dataKey }: Pick<ContentRow, 'id' | 'dataKey'>): Buffer {
  return unwrapDataKey(masterKey, dataKey, contentKeyContext(id));
}

/** Binds a content's wrapped data key to that content. */
export function contentKeyContext(id: string): string {
  return `content/${id}`;
}

function partAad(id: string, number: number): Uint8Array {
  return aadOf('content_parts', id, number);
}
