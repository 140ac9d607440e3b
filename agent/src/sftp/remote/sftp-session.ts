// One SFTP session, with a method for each operation of the protocol. Every request settles, however the session ends.
import { Semaphore } from '../../timing/semaphore.ts';
import { shownPath } from '../tree/shown-path.ts';
import { sftpStatus, TransferError } from '../tree/transfer-error.ts';
import {
  attributes,
  type FileAttributes,
  replies,
  requests,
  type SetAttributes,
  string,
  uint32,
} from './wire/packets.ts';
import { type Reply, SftpStatus, type SftpWire } from './wire/sftp-wire.ts';

export type { FileAttributes, SetAttributes } from './wire/packets.ts';

const posixRename = 'posix-rename@openssh.com';
const statvfs = 'statvfs@openssh.com';
/** Only OpenSSH's sftp-server has this extension, whichever SSH server runs it. */
const lsetstat = 'lsetstat@openssh.com';

/** An entry of a directory listing. */
export interface ListedFile {
  name: string;
  /** A line like that of `ls -l`. */
  line: string;
  attributes: FileAttributes;
}

/** Limits on the listing of one directory. */
export interface ListBounds {
  entries: number;
  /** Characters of all names and lines together. */
  nameBytes: number;
}

/** Of listings that are longer, only one goes on at a time: all of them together would take too much memory. */
const longListing = 10_000;
const listBounds: ListBounds = { entries: 500_000, nameBytes: 128 * 1024 * 1024 };

/** A file was removed to be replaced, and its replacement, now the only copy, could not be renamed. */
export class NotReplaced extends TransferError {}

export class SftpSession {
  readonly #wire: SftpWire;
  readonly #host: string;
  readonly #most: ListBounds;
  /** OpenSSH's server expects the two paths of a symlink request in the opposite order to the protocol. */
  readonly #isOpenSsh: boolean;
  readonly #longListings = new Semaphore(1);

  constructor(
    wire: SftpWire,
    host: string,
    { most = listBounds, isOpenSsh = false }: { most?: ListBounds; isOpenSsh?: boolean } = {},
  ) {
    this.#wire = wire;
    this.#host = host;
    this.#most = most;
    this.#isOpenSsh = isOpenSsh || wire.extensions.has(lsetstat);
  }

  get open(): boolean {
    return this.#wire.over === undefined;
  }

  close(): void {
    this.#wire.close();
  }

  openFile(path: string, flags: number, mode?: number): Promise<Buffer> {
    const fields = [string(path), uint32(flags), attributes(mode === undefined ? {} : { mode })];
    return this.#handle(requests.open, fields);
  }

  closeFile(handle: Buffer): Promise<void> {
    return this.#act(requests.close, string(handle));
  }

  /** Returns the number of bytes read; 0 at the end of the file. */
  read(handle: Buffer, buffer: Buffer, length: number, position: number): Promise<number> {
    return this.#told(() => this.#wire.read(handle, buffer, length, position));
  }

  write(handle: Buffer, buffer: Buffer, length: number, position: number): Promise<void> {
    return this.#told(() => this.#wire.write(handle, buffer.subarray(0, length), position));
  }

  fstat(handle: Buffer): Promise<FileAttributes> {
    return this.#attributes(requests.fstat, handle);
  }

  lstat(path: string): Promise<FileAttributes> {
    return this.#attributes(requests.lstat, path);
  }

  stat(path: string): Promise<FileAttributes> {
    return this.#attributes(requests.stat, path);
  }

  setAttributes(to: string | Buffer, set: SetAttributes): Promise<void> {
    const type = typeof to === 'string' ? requests.setstat : requests.fsetstat;
    return this.#act(type, string(to), attributes(set));
  }

  /** Lists a directory piece by piece, within limits: a server may list files endlessly. */
  async list(path: string): Promise<ListedFile[]> {
    const handle = await this.#handle(requests.opendir, [string(path)]);
    const entries: ListedFile[] = [];
    let nameBytes = 0;
    let isLong = false;
    try {
      for (;;) {
        const piece = await this.#piece(handle);
        // An empty piece counts as the end: a server may send empty pieces forever.
        if (piece === undefined || piece.length === 0) return entries;
        for (const entry of piece) {
          // The directory itself and its parent are listed too.
          if (entry.name !== '.' && entry.name !== '..') entries.push(entry);
          nameBytes += entry.name.length + entry.line.length;
        }
        if (entries.length > this.#most.entries || nameBytes > this.#most.nameBytes)
          throw listTooLong(this.#host, path, this.#most);
        if (isLong || entries.length <= longListing) continue;
        isLong = true;
        await this.#longListings.take();
      }
    } finally {
      if (isLong) this.#longListings.give();
      await this.closeFile(handle).catch(() => undefined);
    }
  }

  /** Returns the next entries of a directory, or undefined at its end. */
  async #piece(handle: Buffer): Promise<ListedFile[] | undefined> {
    try {
      return await this.#names(requests.readdir, string(handle));
    } catch (error) {
      if ((error as { code?: unknown }).code === sftpStatus.eof) return undefined;
      throw error;
    }
  }

  makeDirectory(path: string, mode: number): Promise<void> {
    return this.#act(requests.mkdir, string(path), attributes({ mode }));
  }

  removeDirectory(path: string): Promise<void> {
    return this.#act(requests.rmdir, string(path));
  }

  removeFile(path: string): Promise<void> {
    return this.#act(requests.remove, string(path));
  }

  /**
   * Renames `from` to `to`, replacing what is there. Without OpenSSH's extension a server can't do that in one step, so
   * the old file is removed first.
   *
   * @throws NotReplaced if the old file was removed and `from` could not be renamed
   */
  async replace(from: string, to: string): Promise<void> {
    if (this.#wire.extensions.get(posixRename) === '1')
      return this.#act(requests.extended, string(posixRename), string(from), string(to));
    const rename = () => this.#act(requests.rename, string(from), string(to));
    await rename().catch(async (error: unknown) => {
      if (error instanceof TransferError) throw error;
      await this.removeFile(to).catch(() => {
        throw error;
      });
      await rename().catch((cause: unknown) => {
        throw cause instanceof TransferError ? cause : notReplaced(this.#host, { from, to, cause });
      });
    });
  }

  makeLink(target: string, path: string): Promise<void> {
    const [first, second] = this.#isOpenSsh ? [target, path] : [path, target];
    return this.#act(requests.symlink, string(first), string(second));
  }

  readLink(path: string): Promise<string> {
    return this.#name(requests.readlink, path);
  }

  realPath(path: string): Promise<string> {
    return this.#name(requests.realpath, path);
  }

  /** Returns the free bytes for this user in the path's file system; undefined if the server doesn't tell. */
  async freeBytes(path: string): Promise<number | undefined> {
    if (this.#wire.extensions.get(statvfs) !== '2') return undefined;
    return this.#ask(requests.extended, [string(statvfs), string(path)], ({ body }) => {
      // bsize, frsize, blocks, bfree, bavail.
      const [, size, , , free] = [0, 1, 2, 3, 4].map(() => body.uint64());
      return (size ?? 0) * (free ?? 0);
    });
  }

  #act(type: number, ...fields: readonly Buffer[]): Promise<void> {
    return this.#ask(type, fields, () => undefined);
  }

  #handle(type: number, fields: readonly Buffer[]): Promise<Buffer> {
    return this.#ask(type, fields, (reply) => expected(reply, replies.handle).string());
  }

  #attributes(type: number, of: string | Buffer): Promise<FileAttributes> {
    return this.#ask(type, [string(of)], (reply) => expected(reply, replies.attributes).attributes());
  }

  #names(type: number, of: Buffer): Promise<ListedFile[]> {
    return this.#ask(type, [of], (reply) => {
      const body = expected(reply, replies.name);
      const count = body.uint32();
      const files: ListedFile[] = [];
      // Read one by one from the packet, so that a false count can't allocate memory.
      while (files.length < count)
        files.push({ name: body.name(), line: body.name(), attributes: body.attributes() });
      return files;
    });
  }

  async #name(type: number, path: string): Promise<string> {
    const [file] = await this.#names(type, string(path));
    if (file === undefined) throw new SftpStatus(sftpStatus.failure, 'the server gave no path');
    return file.name;
  }

  #ask<T>(type: number, fields: readonly Buffer[], read: (reply: Reply) => T): Promise<T> {
    return this.#told(async () => read(await this.#wire.ask(type, ...fields)));
  }

  /** Passes on a refusal of the server unchanged; any other error ends the session. */
  async #told<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (error instanceof SftpStatus) throw error;
      this.#wire.close();
      throw cut(this.#host, error);
    }
  }
}

function expected({ type, body }: Reply, wanted: number): Reply['body'] {
  if (type !== wanted) throw new Error(`a reply of type ${type} instead of ${wanted}`);
  return body;
}

function listTooLong(host: string, path: string, most: ListBounds): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message: `${shownPath(path)} on ${host} has more than ${most.entries} files, or names that are too long: more than is accepted from one directory.`,
    advice: 'Transfer the directories in it one by one, or spread its files over several.',
  });
}

function notReplaced(
  host: string,
  { from, to, cause }: { from: string; to: string; cause: unknown },
): NotReplaced {
  return new NotReplaced({
    reason: 'transfer_failed',
    message: `${shownPath(to)} on ${host} was removed to be replaced, but what was to replace it could not be renamed. The replacement is there, complete, as ${shownPath(from)}.`,
    advice: `Rename it by hand, and check who may write there.`,
    cause,
  });
}

function cut(host: string, cause: unknown): TransferError {
  return new TransferError({
    reason: 'transfer_cut',
    message: `The connection to ${host} was lost during the transfer.`,
    advice:
      'Look at the network between agent and target, and run the step again: no file has its final name before it is complete, and large ones are resumed.',
    retryable: true,
    cause,
  });
}
