// A directory of the target, addressed by its path, since SFTP can't hold one open. Before a directory inside what is
// transferred is entered, it is checked not to be a link.
import { chunkBytes } from '../copy/chunk-buffers.ts';
import { hashBytes } from '../tree/hash-bytes.ts';
import { joinPath } from '../tree/join-path.ts';
import { kindOfMode } from '../tree/kind-of-mode.ts';
import { assertSafeName, isSafeName } from '../tree/safe-name.ts';
import { shownPath } from '../tree/shown-path.ts';
import { temporaryName } from '../tree/temporary-name.ts';
import { fileError, isCut, sftpStatus, TransferError } from '../tree/transfer-error.ts';
import type {
  Attributes,
  Directory,
  Entry,
  EntryKind,
  Owner,
  Sink,
  SinkOptions,
  Source,
} from '../tree/tree.ts';
import { remoteHash } from './remote-hash.ts';
import type { SftpLink } from './sftp-link.ts';
import { type FileAttributes, NotReplaced, type SetAttributes, type SftpSession } from './sftp-session.ts';

// Flags of SSH_FXP_OPEN; `ours` is create and exclusive.
const forReading = 0x01;
const forWriting = 0x02;
const ours = 0x08 | 0x20;
/** Smaller files are read back, which is faster than running a command. */
const hashThereBytes = 1024 * 1024;
const modeMask = 0o7777;

export class RemoteDirectory implements Directory {
  readonly path: string;
  readonly #link: SftpLink;

  constructor(link: SftpLink, path: string) {
    this.#link = link;
    this.path = path;
  }

  async list(): Promise<Entry[]> {
    const found = await this.#told('', 'listed', (session) => session.list(this.path));
    return found.map(({ name, attributes, line }) =>
      isSafeName(name)
        ? entryOf(name, attributes, line)
        : { name, kind: 'other', size: 0, mode: 0, mtimeS: 0 },
    );
  }

  async look(name: string): Promise<Entry | undefined> {
    const session = await this.#link.session();
    try {
      return entryOf(name, await session.lstat(this.#at(name)));
    } catch (error) {
      if ((error as { code?: unknown }).code === sftpStatus.noSuchFile) return undefined;
      throw fileError(error, this.#where, this.#at(name), 'looked at');
    }
  }

  async enter(name: string): Promise<RemoteDirectory> {
    const entry = await this.look(name);
    if (entry?.kind === 'directory') return new RemoteDirectory(this.#link, this.#at(name));
    const code = entry === undefined ? 'ENOENT' : entry.kind === 'link' ? 'ELOOP' : 'ENOTDIR';
    throw fileError({ code }, this.#where, this.#at(name), 'entered');
  }

  make(name: string, mode: number): Promise<void> {
    return this.#told(name, 'created', (session) => session.makeDirectory(this.#at(name), mode));
  }

  async openSource(name: string): Promise<Source> {
    const path = this.#at(name);
    const session = await this.#link.session();
    return this.#told(name, 'read', async () => {
      const handle = await session.openFile(path, forReading);
      const found = await session.fstat(handle).catch(async (error: unknown) => {
        await session.closeFile(handle).catch(() => undefined);
        throw error;
      });
      return new RemoteSource({ link: this.#link, session, handle, path }, found);
    });
  }

  async openSink(name: string, options: SinkOptions): Promise<Sink> {
    const temporary = this.#at(temporaryName(options.resumeKey));
    const session = await this.#link.session();
    return this.#told(name, 'written', async () => {
      const opened = await openTemporary(this.#link, session, temporary, options).catch(
        async (error: unknown) => {
          if (isCut(error) && options.resumeKey === undefined)
            await removeLeft(this.#link, session, temporary);
          throw error;
        },
      );
      return new RemoteSink({
        ...opened,
        link: this.#link,
        session,
        path: temporary,
        final: this.#at(name),
        mode: options.mode,
      });
    });
  }

  readLink(name: string): Promise<string> {
    return this.#told(name, 'read', (session) => session.readLink(this.#at(name)));
  }

  async follow(name: string): Promise<{ directory: Directory; entry: Entry } | undefined> {
    const session = await this.#link.session();
    const real = await session.realPath(this.#at(name)).catch(() => undefined);
    if (real === undefined || !real.startsWith('/')) return undefined;
    const at = real.lastIndexOf('/');
    const directory = new RemoteDirectory(this.#link, real.slice(0, at) || '/');
    const last = real.slice(at + 1);
    const entry = last === '' ? undefined : await directory.look(last);
    return entry === undefined || entry.kind === 'link' ? undefined : { directory, entry };
  }

  async makeLink(name: string, to: string): Promise<void> {
    const temporary = this.#at(temporaryName(undefined));
    await this.#told(name, 'created', async (session) => {
      try {
        await session.makeLink(to, temporary);
        await session.replace(temporary, this.#at(name));
      } catch (error) {
        if (!(error instanceof NotReplaced)) await removeLeft(this.#link, session, temporary);
        throw error;
      }
    });
  }

  removeFile(name: string): Promise<void> {
    return this.#told(name, 'deleted', (session) => session.removeFile(this.#at(name)));
  }

  removeDirectory(name: string): Promise<void> {
    return this.#told(name, 'deleted', (session) => session.removeDirectory(this.#at(name)));
  }

  setAttributes(name: string, attributes: Attributes): Promise<void> {
    return this.#told(name, 'given its attributes', (session) =>
      session.setAttributes(this.#at(name), sftpAttributes(attributes)),
    );
  }

  async leave(name: string, mode: number): Promise<void> {
    const session = this.#link.openSession;
    await session?.setAttributes(this.#at(name), sftpAttributes({ mode })).catch(() => undefined);
  }

  async freeBytes(): Promise<number | undefined> {
    const session = await this.#link.session();
    return session.freeBytes(this.path).catch(() => undefined);
  }

  async close(): Promise<void> {}

  get #where(): string {
    return `on ${this.#link.host}`;
  }

  #at(name: string): string {
    if (name === '') return this.path;
    assertSafeName(name);
    return joinPath(this.path, name);
  }

  async #told<T>(name: string, doing: string, act: (session: SftpSession) => Promise<T>): Promise<T> {
    const session = await this.#link.session();
    try {
      return await act(session);
    } catch (error) {
      throw fileError(error, this.#where, this.#at(name), doing);
    }
  }
}

interface OpenFile {
  link: SftpLink;
  session: SftpSession;
  handle: Buffer;
  path: string;
}

class RemoteSource implements Source {
  readonly size: number;
  readonly mode: number;
  readonly mtimeS: number;
  readonly owner: Owner | undefined;
  readonly #file: OpenFile;

  constructor(file: OpenFile, attributes: FileAttributes) {
    this.#file = file;
    this.size = attributes.size ?? 0;
    this.mode = (attributes.mode ?? 0) & modeMask;
    this.mtimeS = attributes.mtime ?? 0;
    this.owner = ownerOf(attributes);
  }

  read(buffer: Buffer, length: number, position: number): Promise<number> {
    return readFully(this.#file, buffer, length, position);
  }

  hash(length: number): Promise<string> {
    return hashOf(this.#file, length);
  }

  async hasChanged(): Promise<boolean> {
    const { link, session, handle, path } = this.#file;
    const { size, mtime } = await session.fstat(handle).catch((error: unknown) => {
      throw fileError(error, `on ${link.host}`, path, 'read');
    });
    return (size ?? 0) !== this.size || (mtime ?? 0) !== this.mtimeS;
  }

  async close(): Promise<void> {
    // A lost session has closed it anyway.
    await this.#file.session.closeFile(this.#file.handle).catch(() => undefined);
  }
}

class RemoteSink implements Sink {
  readonly keptBytes: number;
  readonly #file: OpenFile & { keptBytes: number; final: string; mode: number };
  /** Whether the file that it was to replace is gone, so that this is the only copy. */
  #isLastCopy = false;

  constructor(file: OpenFile & { keptBytes: number; final: string; mode: number }) {
    this.#file = file;
    this.keptBytes = file.keptBytes;
  }

  async write(buffer: Buffer, length: number, position: number): Promise<void> {
    const { session, handle } = this.#file;
    try {
      await session.write(handle, buffer, length, position);
    } catch (error) {
      throw await this.#writeError(error);
    }
  }

  hash(length: number): Promise<string> {
    return hashOf(this.#file, length);
  }

  async commit({ mode, ...others }: Attributes, size: number): Promise<void> {
    const { session, handle, path, final } = this.#file;
    const attributes = { mode: mode ?? this.#file.mode, ...others };
    try {
      // A server handles requests in order, so these are sent without waiting for one another.
      const [, found] = await Promise.all([
        session.setAttributes(handle, {
          ...sftpAttributes(attributes),
          ...(this.keptBytes > size ? { size } : {}),
        }),
        // A file that was written in one request was taken completely or refused.
        size <= chunkBytes && this.keptBytes === 0 ? undefined : session.fstat(handle),
        session.closeFile(handle),
      ]);
      if (found !== undefined && found.size !== size)
        throw wrongSize(this.#where, final, found.size ?? 0, size);
      await session.replace(path, final);
    } catch (error) {
      this.#isLastCopy = error instanceof NotReplaced;
      throw fileError(error, this.#where, final, 'written');
    }
  }

  async discard(keep: boolean): Promise<void> {
    const { link, session, handle, path } = this.#file;
    await session.closeFile(handle).catch(() => undefined);
    if (keep || this.#isLastCopy) return;
    await removeLeft(link, session, path);
  }

  get #where(): string {
    return `on ${this.#file.link.host}`;
  }

  /** SFTP has no status for a full disk, so free space is checked after a general failure. */
  async #writeError(error: unknown): Promise<TransferError> {
    const { session, path, final } = this.#file;
    const mayBeFull = (error as { code?: unknown }).code === sftpStatus.failure;
    const directory = path.slice(0, path.lastIndexOf('/')) || '/';
    const free = mayBeFull ? await session.freeBytes(directory).catch(() => undefined) : undefined;
    const cause = free !== undefined && free < 1024 * 1024 ? { code: 'ENOSPC' } : error;
    return fileError(cause, this.#where, final, 'written');
  }
}

/**
 * Removes a file that a lost session left, or may have made without its answer arriving. If the next session is lost as
 * well, or the target refuses, that is left to the end of the transfer. Never rejects.
 */
async function removeLeft(link: SftpLink, session: SftpSession, path: string): Promise<void> {
  const open = session.open ? session : await link.session().catch(() => session);
  await open.removeFile(path).catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== sftpStatus.noSuchFile) link.removeAtEnd(path);
  });
}

/** Opens the temporary file. One that an earlier try left is resumed, but only if this user owns it. */
async function openTemporary(
  link: SftpLink,
  session: SftpSession,
  path: string,
  { resumeKey }: SinkOptions,
): Promise<{ handle: Buffer; keptBytes: number }> {
  try {
    return { handle: await session.openFile(path, forReading | forWriting | ours, 0o600), keptBytes: 0 };
  } catch (error) {
    if (resumeKey === undefined || error instanceof TransferError) throw error;
    const found = await session.lstat(path).catch(() => undefined);
    if (found === undefined) throw error;
    // Opening it would follow a link that someone put there, so it must be a regular file and belong to this user.
    const isFile = kindOfMode(found.mode ?? 0) === 'file';
    if (isFile && found.uid === (await ownUid(link, session, path))) {
      return { handle: await session.openFile(path, forReading | forWriting), keptBytes: found.size ?? 0 };
    }
    throw new TransferError({
      reason: 'path_refused',
      message: 'Something else is in the place of the unfinished file.',
      advice: `Look at ${shownPath(path)}, and remove it.`,
    });
  }
}

/** Returns the owner of files that this user makes there, by making one. */
async function ownUid(link: SftpLink, session: SftpSession, path: string): Promise<number | undefined> {
  const probe = `${path.slice(0, path.lastIndexOf('/'))}/${temporaryName(undefined)}`;
  try {
    const handle = await session.openFile(probe, forWriting | ours, 0o600);
    const { uid } = await session.fstat(handle).finally(() => session.closeFile(handle));
    return uid;
  } finally {
    await removeLeft(link, session, probe);
  }
}

async function readFully(file: OpenFile, buffer: Buffer, length: number, position: number): Promise<number> {
  try {
    let done = 0;
    while (done < length) {
      const got = await file.session.read(
        file.handle,
        done === 0 ? buffer : buffer.subarray(done),
        length - done,
        position + done,
      );
      if (got === 0) break;
      done += got;
    }
    return done;
  } catch (error) {
    throw fileError(error, `on ${file.link.host}`, file.path, 'read');
  }
}

async function hashOf(file: OpenFile, length: number): Promise<string> {
  const there = length < hashThereBytes ? undefined : await remoteHash(file.link, file.path, length);
  return there ?? hashBytes(length, (buffer, wanted, position) => readFully(file, buffer, wanted, position));
}

function sftpAttributes({ mode, mtimeS, owner }: Attributes): SetAttributes {
  return {
    ...(mode === undefined ? {} : { mode: mode & modeMask }),
    ...(mtimeS === undefined ? {} : { mtime: mtimeS, atime: mtimeS }),
    ...owner,
  };
}

/** Servers may leave out the owner. */
function ownerOf({ uid, gid }: FileAttributes): Owner | undefined {
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function entryOf(name: string, attributes: FileAttributes, longname?: string): Entry {
  const { mode, size, mtime } = attributes;
  return {
    name,
    kind: kindOf(mode, longname),
    size: size ?? 0,
    mode: (mode ?? 0) & modeMask,
    mtimeS: mtime ?? 0,
    owner: ownerOf(attributes),
  };
}

/** Servers that leave out the mode send a line like that of `ls -l`. */
function kindOf(mode: number | undefined, longname = ''): EntryKind {
  const letters: Record<string, EntryKind> = { '-': 'file', d: 'directory', l: 'link' };
  if (mode === undefined) return letters[longname.charAt(0)] ?? 'other';
  return kindOfMode(mode);
}

function wrongSize(where: string, path: string, found: number, expected: number): TransferError {
  return new TransferError({
    reason: 'checksum_mismatch',
    message: `${shownPath(path)} ${where} has ${found} bytes instead of ${expected}.`,
    advice: 'Check whether something else writes there.',
    retryable: true,
  });
}
