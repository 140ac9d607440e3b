// A directory of the agent that is held open. Names are looked up in the opened directory (through /proc/self/fd, which
// is what openat does), and no link is followed, so that replacing the directory by a link in the meantime has no
// effect.
import { constants } from 'node:fs';
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
  symlink,
  unlink,
} from 'node:fs/promises';
import { kindOfMode } from '../tree/kind-of-mode.ts';
import { bytesOf, isText, nameOf, pathBytes } from '../tree/name-bytes.ts';
import { assertSafeName } from '../tree/safe-name.ts';
import { temporaryName } from '../tree/temporary-name.ts';
import { fileError } from '../tree/transfer-error.ts';
import type {
  Attributes,
  Directory,
  Entry,
  NewWholeFile,
  Place,
  Sink,
  SinkOptions,
  Source,
  WholeFile,
} from '../tree/tree.ts';
import type { FileThread } from './file-thread.ts';
import {
  LocalSink,
  LocalSource,
  modeMask,
  notAFile,
  openTemporary,
  ownerOf,
  setAttributes,
  where,
} from './local-file.ts';
import { requireRoom, roomBytes } from './room.ts';
import type { Looked } from './serve-files.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
const statsAtATime = 64;
/** Fewer names are looked up just as fast without the thread. */
const fewestForThread = 64;

/** What the agent's owner allows for a directory and everything below it. */
export interface LocalAccess {
  /** Throws if a path may not be used in the same way as the directory. */
  require(path: string): void;
  locateReal(path: string, use: { write: boolean }): Promise<Place | undefined>;
  /** The thread for many small files. */
  files(): FileThread;
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
    const listed = await this.#told('', 'listed', () => readdir(this.#self, { encoding: 'buffer' }));
    const names = listed.map(nameOf);
    const entries: Entry[] = [];
    const looked = names.length < fewestForThread ? undefined : await this.#lookAll(names);
    if (looked !== undefined) return looked;
    for (let at = 0; at < names.length; at += statsAtATime) {
      const some = names.slice(at, at + statsAtATime);
      // Skip files that are gone by now.
      const found = await Promise.all(some.map((name) => this.look(name)));
      for (const entry of found) if (entry !== undefined) entries.push(entry);
    }
    return entries;
  }

  /** Returns undefined if the thread can't do it. */
  async #lookAll(names: readonly string[]): Promise<Entry[] | undefined> {
    const reply = await this.#access
      .files()
      .ask({ do: 'look', fd: this.#handle.fd, names: names.map(askedName) });
    if (reply?.did !== 'look') return undefined;
    return reply.files.flatMap((found, n) => (found === undefined ? [] : [entryOf(names[n] ?? '', found)]));
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
        // For a link, Linux reports ENOTDIR.
        throw (await this.look(name))?.kind === 'link' ? { code: 'ELOOP' } : error;
      }),
    );
    return new LocalDirectory(handle, this.#pathOf(name), this.#access);
  }

  make(name: string, mode: number): Promise<void> {
    return this.#told(name, 'created', () => mkdir(this.#at(name), mode & modeMask));
  }

  async openSource(name: string): Promise<Source> {
    // O_NONBLOCK, in case it has become a pipe.
    const handle = await this.#told(name, 'read', () =>
      open(this.#at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
    );
    const stats = await this.#told(name, 'read', () => handle.stat()).catch(async (error: unknown) => {
      await handle.close();
      throw error;
    });
    if (stats.isFile()) return new LocalSource(handle, stats, this.#pathOf(name));
    await handle.close();
    throw notAFile(this.#pathOf(name));
  }

  async openSink(name: string, options: SinkOptions): Promise<Sink> {
    assertSafeName(name);
    const temporary = temporaryName(options.resumeKey);
    const path = this.#pathOf(name);
    await requireRoom(this.#self);
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

  async readWhole(
    names: readonly string[],
    into: Uint8Array<SharedArrayBuffer>,
  ): Promise<(WholeFile | undefined)[]> {
    for (const name of names) assertSafeName(name);
    const reply = await this.#access
      .files()
      .ask({ do: 'read', fd: this.#handle.fd, names: names.map(askedName), into });
    if (reply?.did !== 'read') return [];
    let start = 0;
    return reply.files.map((file) => {
      if (file === undefined) return undefined;
      const { length, mode, mtimeMs, uid, gid } = file;
      const bytes = Buffer.from(into.buffer, into.byteOffset + start, length);
      start += length;
      return { bytes, mode, mtimeS: Math.floor(mtimeMs / 1_000), owner: { uid, gid } };
    });
  }

  async writeWhole(files: readonly NewWholeFile[]): Promise<boolean[]> {
    const written = files.map(({ name, bytes, attributes: { mode, mtimeS } }) => {
      assertSafeName(name);
      return {
        name: askedName(name),
        length: bytes.length,
        mode: mode & modeMask,
        mtimeS,
      };
    });
    const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
    // One by one, each of them says what is wrong.
    if (((await this.freeBytes()) ?? total) < total) return [];
    const memory = Buffer.allocUnsafeSlow(total);
    let next = 0;
    for (const { bytes } of files) next += bytes.copy(memory, next);
    const bytes = memory.buffer as ArrayBuffer;
    const { fd } = this.#handle;
    const temporary = temporaryName(undefined);
    const reply = await this.#access.files().ask({ do: 'write', fd, temporary, files: written, bytes });
    return reply?.did === 'write' ? reply.files : [];
  }

  async readLink(name: string): Promise<string> {
    const read = () => readlink(this.#at(name), { encoding: 'buffer' });
    return nameOf(await this.#told(name, 'read', read));
  }

  async follow(
    name: string,
    use: { write: boolean },
  ): Promise<{ directory: Directory; entry: Entry } | undefined> {
    const real = await realpath(this.#at(name), { encoding: 'buffer' }).catch(() => undefined);
    const place = real === undefined ? undefined : await this.#access.locateReal(nameOf(real), use);
    if (place === undefined) return undefined;
    const entry = place.name === undefined ? undefined : await place.parent.look(place.name);
    if (entry !== undefined && entry.kind !== 'link') return { directory: place.parent, entry };
    await place.parent.close();
    return undefined;
  }

  async makeLink(name: string, to: string): Promise<void> {
    const temporary = this.#at(temporaryName(undefined));
    await this.#told(name, 'created', async () => {
      await symlink(pathBytes(to), temporary);
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

  leave(name: string, mode: number): Promise<void> {
    return this.setAttributes(name, { mode }).catch(() => undefined);
  }

  freeBytes(): Promise<number | undefined> {
    return roomBytes(this.#self);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  get #self(): string {
    return `/proc/self/fd/${this.#handle.fd}`;
  }

  #at(name: string): string | Buffer {
    assertSafeName(name);
    return pathBytes(`${this.#self}/${name}`);
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

function entryOf(name: string, stats: Looked): Entry {
  return {
    name,
    kind: kindOfMode(stats.mode),
    size: stats.size,
    mode: stats.mode & 0o7777,
    mtimeS: Math.floor(stats.mtimeMs / 1_000),
    owner: ownerOf(stats),
  };
}

/** Returns a name for the thread, which doesn't know the agent's form of names that are not text. */
function askedName(name: string): string | Uint8Array {
  return isText(name) ? name : bytesOf(name);
}
