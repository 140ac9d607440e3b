import {
  type Artifact,
  type FileUses,
  limits,
  type ReceivedContent,
  type StoredFile,
} from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { ApiError, request } from './client.ts';
import { isUnknownParameter } from './older-server.ts';
import { type Page, type PageQuery, readAll } from './page.ts';

export function listFiles(
  query: PageQuery & { search?: string | undefined; state?: StoredFile['state']; mine?: boolean },
  signal?: AbortSignal,
): Promise<Page<StoredFile>> {
  return request('GET', apiPaths.files(query), { signal });
}

/** What the person who is signed in began to upload and didn't finish. */
export async function listUnfinishedUploads(
  query: PageQuery,
  signal?: AbortSignal,
): Promise<Page<StoredFile>> {
  try {
    return await listFiles({ ...query, state: 'uploading', mine: true }, signal);
  } catch (error) {
    if (!isUnknownParameter(error)) throw error;
    return { items: [], nextCursor: null };
  }
}

export function fileUses(id: string, signal?: AbortSignal): Promise<FileUses> {
  return request('GET', apiPaths.fileUses(id), { signal });
}

export function deleteFile(id: string): Promise<void> {
  return request('DELETE', apiPaths.file(id));
}

export interface NewFile {
  name: string;
  description?: string;
  category?: string;
}

export function createFile(file: NewFile & { size: number }): Promise<StoredFile> {
  return request('POST', apiPaths.files(), { body: file });
}

/** The digest of what has arrived of an upload. */
export function digestOfReceived(
  { id, size }: Pick<StoredFile, 'id' | 'size'>,
  signal?: AbortSignal,
): Promise<ReceivedContent> {
  return request('GET', apiPaths.receivedContent(id), { signal, answerWithinMs: readWithinMs(size) });
}

const busyPauseMs = 1_000;
/** A piece is as large as takes about so long: the progress is seen to move, and little is lost if it breaks off. */
const pieceMs = { least: 500, most: 2_000 };
const firstPieceBytes = 4 * limits.contentPartBytes;
/**
 * A connection can stop without an error, and browsers wait for minutes, or for ever. In this time a piece of the first
 * size has arrived at 18 kB/s, and one of the least size at 4.4 kB/s.
 */
export const pieceWithinMs = 60_000;
/** How long a server may take to read again what has arrived: far longer than it does. */
const readWithinMs = (bytes: number) => pieceWithinMs + bytes / 5_000;

/**
 * Uploads the missing part of a file, then has the server check the whole file: against `sha256`, if that is known. */
export async function uploadContent(
  { id, size, receivedBytes }: Pick<StoredFile, 'id' | 'size' | 'receivedBytes'>,
  content: Blob,
  options: {
    signal: AbortSignal;
    sha256?: Promise<string> | undefined;
    /** Begins with the smallest pieces: a large one may have taken too long. */
    beginsSmall?: boolean;
    onSent(bytes: number): void;
  },
): Promise<StoredFile> {
  const { signal, sha256, onSent } = options;
  let offset = receivedBytes;
  let pieceBytes = options.beginsSmall === true ? limits.contentPartBytes : firstPieceBytes;
  onSent(offset);
  while (offset < size) {
    // Read here: of a file that can't be read, a request would only say that it got no answer.
    const piece = new Blob([await content.slice(offset, offset + pieceBytes).arrayBuffer()]);
    const begunMs = performance.now();
    try {
      const file: StoredFile = await request('PUT', apiPaths.fileContent(id, { offset }), {
        file: { content: piece, type: 'application/octet-stream' },
        harmless: true,
        answerWithinMs: pieceWithinMs,
        signal,
      });
      offset = file.receivedBytes;
      const tookMs = performance.now() - begunMs;
      if (tookMs < pieceMs.least) pieceBytes = Math.min(limits.maxUploadBytes, pieceBytes * 2);
      if (tookMs > pieceMs.most) pieceBytes = Math.max(limits.contentPartBytes, pieceBytes / 2);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'rate_limited') throw error;
      await new Promise((resolve) => setTimeout(resolve, busyPauseMs));
    }
    onSent(offset);
  }
  const body = sha256 === undefined ? {} : { sha256: await sha256 };
  const answerWithinMs = readWithinMs(size);
  return request('POST', apiPaths.finishFile(id), { body, harmless: true, answerWithinMs, signal });
}

export function getFile(id: string, signal?: AbortSignal): Promise<StoredFile> {
  return request('GET', apiPaths.file(id), { signal, answerWithinMs: pieceWithinMs });
}

/** Returns all artifacts of an attempt. */
export function listArtifacts(
  runId: number,
  of: { stepId: number; attempt: number },
  signal?: AbortSignal,
): Promise<Artifact[]> {
  return readAll((query) => apiPaths.artifacts(runId, { ...query, ...of }), {
    signal,
    atMost: limits.maxArtifactsPerAttempt,
  });
}
