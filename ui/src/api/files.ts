import { type Artifact, type FileUses, limits, type StoredFile } from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { ApiError, request } from './client.ts';
import { type Page, type PageQuery, readAll } from './page.ts';

export function listFiles(
  query: PageQuery & { search?: string | undefined },
  signal?: AbortSignal,
): Promise<Page<StoredFile>> {
  return request('GET', apiPaths.files(query), { signal });
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

const busyPauseMs = 1_000;

/** Uploads the missing part of a file, then has the server check the whole file. */
export async function uploadContent(
  { id, size, receivedBytes }: Pick<StoredFile, 'id' | 'size' | 'receivedBytes'>,
  content: Blob,
  options: { signal: AbortSignal; onSent(bytes: number): void },
): Promise<StoredFile> {
  const { signal, onSent } = options;
  let offset = receivedBytes;
  onSent(offset);
  while (offset < size) {
    const piece = content.slice(offset, offset + limits.maxUploadBytes);
    try {
      const file: StoredFile = await request('PUT', apiPaths.fileContent(id, { offset }), {
        file: { content: piece, type: 'application/octet-stream' },
        harmless: true,
        signal,
      });
      offset = file.receivedBytes;
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'rate_limited') throw error;
      await new Promise((resolve) => setTimeout(resolve, busyPauseMs));
    }
    onSent(offset);
  }
  return request('POST', apiPaths.finishFile(id), { body: {}, harmless: true, signal });
}

export function getFile(id: string, signal?: AbortSignal): Promise<StoredFile> {
  return request('GET', apiPaths.file(id), { signal });
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
