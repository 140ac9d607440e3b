// Keeps downloads that become artifacts in a private directory of the agent until the server has them.

import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '@opsconductor/protocol';
import { cutText } from '../cut-text.ts';
import { makePrivateFolder } from '../identity/durable-file.ts';
import { isText, nameOf, pathBytes } from '../sftp/tree/name-bytes.ts';
import { shownPath } from '../sftp/tree/shown-path.ts';
import { temporaryPrefix } from '../sftp/tree/temporary-name.ts';
import { fileError, TransferError } from '../sftp/tree/transfer-error.ts';
import type { AskServer } from './content-link.ts';
import { requireAnswer } from './require-answer.ts';

const { contentPartBytes } = limits;

export interface ArtifactSending {
  ask: AskServer;
  began(name: string, size: number): void;
  moved(bytes: number): void;
  ended(name: string): void;
  /** Called for each file that the server has. */
  kept(name: string): void;
  /** Called for a file that could not be sent, or is not sent because of its name. */
  left(name: string, error: unknown): void;
}

export class StagedArtifacts {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Removes what an earlier process left: those attempts are over, and the server accepts nothing more for them. */
  static async open(folder: string): Promise<StagedArtifacts> {
    await rm(folder, { recursive: true, force: true });
    await makePrivateFolder(folder);
    return new StagedArtifacts(folder);
  }

  /**
   * Returns a new empty directory; the caller must release it, which never rejects: the next process of this agent
   * removes what is left.
   *
   * @throws {TransferError} if it can't be made.
   */
  async stage(): Promise<{ directory: string; release(): Promise<void> }> {
    const directory = join(this.#folder, randomUUID());
    try {
      // It is empty most of the time, and programs that clean up remove empty folders.
      await makePrivateFolder(this.#folder);
      await mkdir(directory, { mode: 0o700 });
    } catch (error) {
      throw fileError(error, 'on the agent', this.#folder, 'written');
    }
    return {
      directory,
      release: () => rm(directory, { recursive: true, force: true }).catch(() => undefined),
    };
  }
}

/**
 * Sends all files in a directory to the server, named by their paths below it. Links and unfinished files are left out.
 * Rejects if a file could not be sent.
 */
export async function sendArtifacts(directory: string, sending: ArtifactSending): Promise<void> {
  const files = await filesBelow(directory).catch(unreadable(directory));
  if (files.length > limits.maxArtifactsPerAttempt) throw tooMany(files.length);
  // Checked here, because the server would close the connection, again and again, and disturb everything the agent
  // does.
  const tooLong = files.find((name) => name.length > limits.maxArtifactNameLength);
  if (tooLong !== undefined) throw nameTooLong(tooLong);
  const unnamed = files.filter((name) => !isText(name));
  for (const name of unnamed) sending.left(name, nameIsNoText(name));
  const waiting = files.filter(isText).sort();
  let hasFailed = false;
  const send = async () => {
    for (let name = waiting.shift(); name !== undefined && !hasFailed; name = waiting.shift()) {
      await sendArtifact(join(directory, name), name, sending).catch((error: unknown) => {
        hasFailed = true;
        sending.left(name, error);
        throw error;
      });
    }
  };
  // Several at a time, because each one waits for answers. Wait for all of them, even if one has failed: nothing may be
  // in progress when the directory is removed.
  const ends = await Promise.allSettled(Array.from({ length: limits.maxArtifactsAtATime }, send));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  if (unnamed[0] !== undefined) throw nameIsNoText(unnamed[0]);
}

async function filesBelow(directory: string): Promise<string[]> {
  const files: string[] = [];
  const visit = async (below: string): Promise<void> => {
    const options = { withFileTypes: true, encoding: 'buffer' } as const;
    for (const entry of await readdir(pathBytes(join(directory, below)), options)) {
      const name = nameOf(entry.name);
      if (name.startsWith(temporaryPrefix)) continue;
      const path = join(below, name);
      if (entry.isDirectory()) await visit(path);
      else if (entry.isFile()) files.push(path);
    }
  };
  await visit('');
  return files;
}

async function sendArtifact(path: string, name: string, sending: ArtifactSending): Promise<void> {
  const handle = await open(path).catch(unreadable(path));
  try {
    const { size } = await handle.stat().catch(unreadable(path));
    sending.began(name, size);
    const opened = await sending.ask({ do: 'open_artifact', name, size });
    const { id } = requireAnswer(opened, 'artifact');
    const sha256 = await sendParts(handle, { id, size, path }, sending);
    requireAnswer(await sending.ask({ do: 'close_artifact', artifact: id, sha256 }), 'artifact');
    sending.kept(name);
  } finally {
    sending.ended(name);
    await handle.close();
  }
}

function unreadable(path: string): (error: unknown) => never {
  return (error) => {
    throw fileError(error, 'on the agent', path, 'read');
  };
}

async function sendParts(
  handle: FileHandle,
  { id, size, path }: { id: string; size: number; path: string },
  { ask, moved }: ArtifactSending,
): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(contentPartBytes);
  for (let part = 0; part * contentPartBytes < size; part += 1) {
    const { bytesRead } = await handle
      .read(buffer, 0, contentPartBytes, part * contentPartBytes)
      .catch(unreadable(path));
    const bytes = buffer.subarray(0, bytesRead);
    hash.update(bytes);
    const data = bytes.toString('base64');
    requireAnswer(await ask({ do: 'write_artifact', artifact: id, part, data }), 'artifact');
    moved(bytesRead);
  }
  return hash.digest('hex');
}

function tooMany(count: number): TransferError {
  return new TransferError({
    reason: 'no_space',
    message: `${count} files were downloaded; a step keeps at most ${limits.maxArtifactsPerAttempt} artifacts.`,
    advice: 'Leave some out with exclude, or pack them into one file on the target first.',
  });
}

function nameIsNoText(name: string): TransferError {
  return new TransferError({
    reason: 'path_refused',
    message: `The path ${cutText(shownPath(name), 100)} contains bytes that are not UTF-8 text, which an artifact's path can't. The others were kept.`,
    advice: 'Rename it, leave it out with exclude, or pack the files into one on the target first.',
  });
}

function nameTooLong(name: string): TransferError {
  return new TransferError({
    reason: 'path_refused',
    message: `The path ${cutText(shownPath(name), 100)} has ${name.length} characters; an artifact's has at most ${limits.maxArtifactNameLength}.`,
    advice: 'Leave it out with exclude, or pack the files into one on the target first.',
  });
}
