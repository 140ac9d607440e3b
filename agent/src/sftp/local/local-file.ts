// Open files of the agent: read, or written under a temporary name until they are complete.
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { hashBytes } from '../tree/hash-bytes.ts';
import { shownPath } from '../tree/shown-path.ts';
import { fileError, TransferError } from '../tree/transfer-error.ts';
import type { Attributes, Owner, Sink, SinkOptions, Source } from '../tree/tree.ts';
import { requireRoom } from './room.ts';

const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
export const where = 'on the agent';
/** Files from a target never become set-uid on the agent. */
export const modeMask = 0o777;

export class LocalSource implements Source {
  readonly size: number;
  readonly mode: number;
  readonly mtimeS: number;
  readonly owner: Owner;
  readonly #handle: FileHandle;
  readonly #stats: Stats;
  readonly #path: string;

  constructor(handle: FileHandle, stats: Stats, path: string) {
    this.#handle = handle;
    this.#stats = stats;
    this.#path = path;
    this.size = stats.size;
    this.mode = stats.mode & 0o7777;
    this.mtimeS = Math.floor(stats.mtimeMs / 1_000);
    this.owner = ownerOf(stats);
  }

  read(buffer: Buffer, length: number, position: number): Promise<number> {
    return readFully(this.#handle, buffer, length, position).catch((error: unknown) => {
      throw fileError(error, where, this.#path, 'read');
    });
  }

  hash(length: number): Promise<string> {
    return hashBytes(length, (buffer, wanted, position) => this.read(buffer, wanted, position));
  }

  async hasChanged(): Promise<boolean> {
    const { size, mtimeMs } = await this.#handle.stat().catch((error: unknown) => {
      throw fileError(error, where, this.#path, 'read');
    });
    return size !== this.#stats.size || mtimeMs !== this.#stats.mtimeMs;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

interface Writing {
  handle: FileHandle;
  keptBytes: number;
  path: string;
  temporary: string | Buffer;
  final: string | Buffer;
  mode: number;
}

/** After how many bytes of a file it is looked again whether there is room for more. */
const lookEveryBytes = 4 * 1024 * 1024;

export class LocalSink implements Sink {
  readonly keptBytes: number;
  readonly #writing: Writing;
  #unlookedBytes = 0;

  constructor(writing: Writing) {
    this.keptBytes = writing.keptBytes;
    this.#writing = writing;
  }

  async write(buffer: Buffer, length: number, position: number): Promise<void> {
    this.#unlookedBytes += length;
    if (this.#unlookedBytes >= lookEveryBytes) {
      this.#unlookedBytes = 0;
      await requireRoom(`/proc/self/fd/${this.#writing.handle.fd}`);
    }
    try {
      for (let done = 0; done < length; ) {
        const { bytesWritten } = await this.#writing.handle.write(
          buffer,
          done,
          length - done,
          position + done,
        );
        done += bytesWritten;
      }
    } catch (error) {
      throw fileError(error, where, this.#writing.path, 'written');
    }
  }

  hash(length: number): Promise<string> {
    const { handle, path } = this.#writing;
    return hashBytes(length, (buffer, wanted, position) =>
      readFully(handle, buffer, wanted, position).catch((error: unknown) => {
        throw fileError(error, where, path, 'read back');
      }),
    );
  }

  async commit({ mode, ...others }: Attributes, size: number): Promise<void> {
    const { handle, temporary, final, path } = this.#writing;
    try {
      // An earlier try may have left more than the file has now.
      if (this.keptBytes > size) await handle.truncate(size);
      await setAttributes(handle, { mode: mode ?? this.#writing.mode, ...others });
      await handle.close();
      await rename(temporary, final);
    } catch (error) {
      throw fileError(error, where, path, 'written');
    }
  }

  async discard(keep: boolean): Promise<void> {
    await this.#writing.handle.close().catch(() => undefined);
    if (!keep) await unlink(this.#writing.temporary).catch(() => undefined);
  }
}

/** Opens the temporary file. One that an earlier try left is resumed, but only if nobody else owns or has linked it. */
export async function openTemporary(
  path: string | Buffer,
  { resumeKey }: SinkOptions,
): Promise<{ handle: FileHandle; keptBytes: number }> {
  try {
    return { handle: await open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600), keptBytes: 0 };
  } catch (error) {
    if (resumeKey === undefined || (error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const handle = await open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK).catch(() => undefined);
  const stats = await handle?.stat();
  const isOurs = stats?.isFile() === true && stats.uid === process.getuid?.() && stats.nlink === 1;
  if (handle !== undefined && stats !== undefined && isOurs) return { handle, keptBytes: stats.size };
  await handle?.close();
  throw new TransferError({
    reason: 'path_refused',
    message: 'Something else is in the place of the unfinished file.',
    advice: `Look at ${path.toString().split('/').pop()} in that directory, and remove it.`,
  });
}

/** Sets the attributes that are given; the others stay. The time is in seconds. */
export async function setAttributes(handle: FileHandle, { mode, mtimeS, owner }: Attributes): Promise<void> {
  if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
  if (mode !== undefined) await handle.chmod(mode & modeMask);
  if (mtimeS !== undefined) await handle.utimes(mtimeS, mtimeS);
}

async function readFully(
  handle: FileHandle,
  buffer: Buffer,
  length: number,
  position: number,
): Promise<number> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

export function ownerOf({ uid, gid }: Owner): Owner {
  return { uid, gid };
}

export function notAFile(path: string): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message: `${shownPath(path)} ${where} is not a regular file.`,
    advice: 'Devices, pipes and sockets are not transferred.',
  });
}
