// Opens the spool file that an earlier process left of an attempt. One that can't be read is set aside: it keeps the agent
// from nothing else, and stays where a person can get it back.
import { rename } from 'node:fs/promises';
import { basename } from 'node:path';
import { errorCode } from '../identity/durable-file.ts';
import { type SpooledChunk, SpoolFile } from './spool-file.ts';

export interface OpenedSpool {
  file: SpoolFile;
  chunks: SpooledChunk[];
  /** Set if what is in the file's place can't be read. */
  unreadable?: UnreadableSpool;
}

export interface UnreadableSpool {
  error: Error;
  /** Where it is now. It is still in its place if it could not be set aside. */
  path: string;
}

/** Errors of the process and not of the file: after the next start, it may well be readable. */
const passing: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR']);

const asideName = /\.unreadable-\d+$/;

/** Whether an entry of the spool folder was set aside because it can't be read. */
export function isSetAside(name: string): boolean {
  return asideName.test(name);
}

/** @param firstSeq number of the first chunk in the file. */
export async function openSpool(path: string, firstSeq: number): Promise<OpenedSpool> {
  try {
    return await SpoolFile.recover(path, firstSeq);
  } catch (error) {
    if (!(error instanceof Error) || passing.has(errorCode(error) ?? '')) throw error;
    // In the same folder: the spool may be a file system of its own.
    const aside = `${path}.unreadable-${Date.now()}`;
    try {
      await rename(path, aside);
    } catch {
      return { file: SpoolFile.refusing(path, error), chunks: [], unreadable: { error, path } };
    }
    return { file: SpoolFile.create(path), chunks: [], unreadable: { error, path: aside } };
  }
}

/** What people are told about an attempt whose output was kept in it. */
export function tellUnreadable({ error, path }: UnreadableSpool): string {
  const name = basename(path);
  return `The agent can’t read the output that it had kept of this attempt (${errorCode(error) ?? error.message}), so some or all of it is missing. The file is kept in the agent’s spool as ${name}.`;
}
