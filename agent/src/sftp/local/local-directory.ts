// A directory of the agent that is held open. Names are looked up in the directory that was opened (by way of
// /proc/self/fd, which is what openat does), and no link is followed: whoever puts a link in its place meanwhile leads
// nobody astray.
import { constants, type Stats } from 'node:fs';
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rmdir,
  statfs,
  symlink,
  unlink,
} from 'node:fs/promises';
import { hashBytes } from '../tree/hash-bytes.ts';
import { assertSafeName, isReadable } from '../tree/safe-name.ts';
import { temporaryName } from '../tree/temporary-name.ts';
import { fileError, TransferError } from '../tree/transfer-error.ts';
import type {
  Attributes,
  Directory,
  Entry,
  EntryKind,
  Owner,
  Place,
  Sink,
  SinkOptions,
  Source,
} from '../tree/tree.ts';

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
const where = 'on the agent';
/** A file of a target is never set-uid on the agent. */
const modeMask = 0o777;
const statsAtATime = 64;

/** What the agent's owner allows, for a directory and all below it. */
export interface LocalAccess {
  /** Throws where a path may not be used as the directory is. */
  require(path: string): void;
  locateReal(path: string, use: { write: boolean }): Promise<Place | undefined>;
}

export class LocalDirectory implements Directory {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #access: LocalAccess;

  constructor(handle: FileHandle, path: string, access: LocalAccess) {
    this.#handle = handle;
    this.path = path;
    this.#access = access;
  }

  async list(): Promise<Entry[]> {
    const names = await this.#told('', 'listed', () => readdir(this.#self));
    const entries: Entry[] = [];
    for (let at = 0; at < names.length; at += statsAtATime) {
      const some = names.slice(at, at + statsAtATime);
      // One that is gone by now is no entry.
      const found = await Promise.all(
        some.map((name) => (isReadable(name) ? this.look(name) : unreadable(name))),
      );
      for (const entry of found) if (entry !== undefined) entries.push(entry);
    }
    return entries;
  }

  async look(name: string): Promise<Entry | undefined> {
    try {
      return entryOf(name, await lstat(this.#at(name)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw fileError(error, where, this.#pathOf(name), 'looked at');
    }
  }

  async enter(name: string): Promise<LocalDirectory> {
    this.#access.require(this.#pathOf(name));
    const handle = await this.#told(name, 'entered', () =>
      open(this.#at(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW).catch(async (error: unknown) => {
        // Linux says of a link that it is no directory.
        throw (await this.look(name))?.kind === 'link' ? { code: 'ELOOP' } : error;
      }),
    );
    return new LocalDirectory(handle, this.#pathOf(name), this.#access);
  }

  make(name: string, mode: number): Promise<void> {
    return this.#told(name, 'created', () => mkdir(this.#at(name), mode & modeMask));
  }

  async openSource(name: string): Promise<Source> {
    // Without waiting, should it be a pipe by now.
    const handle = await this.#told(name, 'read', () =>
      open(this.#at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
    );
    const stats = await handle.stat();
    if (stats.isFile()) return new LocalSource(handle, stats, this.#pathOf(name));
    await handle.close();
    throw notAFile(this.#pathOf(name));
  }

  async openSink(name: string, options: SinkOptions): Promise<Sink> {
    assertSafeName(name);
    const temporary = temporaryName(options.resumeKey);
    const path = this.#pathOf(name);
    const { handle, keptBytes } = await this.#told(name, 'written', () =>
      openTemporary(this.#at(temporary), options),
    );
    return new LocalSink({
      handle,
      keptBytes,
      path,
      temporary: this.#at(temporary),
      final: this.#at(name),
      mode: options.mode & modeMask,
    });
  }

  readLink(name: string): Promise<string> {
    return this.#told(name, 'read', () => readlink(this.#at(name)));
  }

  async follow(
    name: string,
    use: { write: boolean },
  ): Promise<{ directory: Directory; entry: Entry } | undefined> {
    const real = await realpath(this.#at(name)).catch(() => undefined);
    const place = real === undefined ? undefined : await this.#access.locateReal(real, use);
    if (place === undefined) return undefined;
    const entry = place.name === undefined ? undefined : await place.parent.look(place.name);
    if (entry !== undefined && entry.kind !== 'link') return { directory: place.parent, entry };
    await place.parent.close();
    return undefined;
  }

  async makeLink(name: string, to: string): Promise<void> {
    const temporary = this.#at(temporaryName(undefined));
    await this.#told(name, 'created', async () => {
      await symlink(to, temporary);
      await rename(temporary, this.#at(name)).catch(async (error: unknown) => {
        await unlink(temporary);
        throw error;
      });
    });
  }

  removeFile(name: string): Promise<void> {
    return this.#told(name, 'deleted', () => unlink(this.#at(name)));
  }

  async removeDirectory(name: string): Promise<void> {
    this.#access.require(this.#pathOf(name));
    return this.#told(name, 'deleted', () => rmdir(this.#at(name)));
  }

  async setAttributes(name: string, attributes: Attributes): Promise<void> {
    this.#access.require(this.#pathOf(name));
    await this.#told(name, 'given its attributes', async () => {
      const handle = await open(this.#at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      try {
        await setAttributes(handle, attributes);
      } finally {
        await handle.close();
      }
    });
  }

  async freeBytes(): Promise<number | undefined> {
    const { bavail, bsize } = await statfs(this.#self);
    return bavail * bsize;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  get #self(): string {
    return `/proc/self/fd/${this.#handle.fd}`;
  }

  #at(name: string): string {
    assertSafeName(name);
    return `${this.#self}/${name}`;
  }

  #pathOf(name: string): string {
    if (name === '') return this.path;
    return this.path === '/' ? `/${name}` : `${this.path}/${name}`;
  }

  async #told<T>(name: string, doing: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw fileError(error, where, this.#pathOf(name), doing);
    }
  }
}

class LocalSource implements Source {
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
    const { size, mtimeMs } = await this.#handle.stat();
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
  temporary: string;
  final: string;
  mode: number;
}

class LocalSink implements Sink {
  readonly keptBytes: number;
  readonly #writing: Writing;

  constructor(writing: Writing) {
    this.keptBytes = writing.keptBytes;
    this.#writing = writing;
  }

  async write(buffer: Buffer, length: number, position: number): Promise<void> {
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
    return hashBytes(length, (buffer, wanted, position) =>
      readFully(this.#writing.handle, buffer, wanted, position),
    );
  }

  async commit({ mode, ...others }: Attributes, size: number): Promise<void> {
    const { handle, temporary, final, path } = this.#writing;
    try {
      // An earlier try may have left more than there is now.
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

/** A file of its own; one that an earlier try has left is gone on with where it is ours alone. */
async function openTemporary(
  path: string,
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
    advice: `Look at ${path.split('/').pop()} in that directory, and remove it.`,
  });
}

async function setAttributes(handle: FileHandle, { mode, mtimeS, owner }: Attributes): Promise<void> {
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

function entryOf(name: string, stats: Stats): Entry {
  return {
    name,
    kind: kindOf(stats),
    size: stats.size,
    mode: stats.mode & 0o7777,
    mtimeS: Math.floor(stats.mtimeMs / 1_000),
    owner: ownerOf(stats),
  };
}

function ownerOf({ uid, gid }: Stats): Owner {
  return { uid, gid };
}

function kindOf(stats: Stats): EntryKind {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'link' : 'other';
}

function unreadable(name: string): Entry {
  return { name, kind: 'other', size: 0, mode: 0, mtimeS: 0 };
}

function notAFile(path: string): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message: `${path} ${where} is no file.`,
    advice: 'Devices, pipes and sockets are not transferred.',
  });
}
