// One SFTP session, by the verbs of its protocol. However it ends, each request does.
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
/** Of OpenSSH's own servers alone, whatever stands before them. */
const lsetstat = 'lsetstat@openssh.com';

/** A name of a directory, and what is told with it. */
export interface ListedFile {
  name: string;
  /** As a line of `ls -l`. */
  line: string;
  attributes: FileAttributes;
}

/** How much of one directory is taken. */
export interface ListBounds {
  entries: number;
  /** Characters of names, and of the lines that go with them. */
  nameBytes: number;
}

const listBounds: ListBounds = { entries: 500_000, nameBytes: 128 * 1024 * 1024 };

/** A file was removed to be replaced, and what was to replace it did not get its name: it is all there is. */
export class NotReplaced extends TransferError {}

export class SftpSession {
  readonly #wire: SftpWire;
  readonly #host: string;
  readonly #most: ListBounds;
  /** It takes both paths of a link the other way round than the protocol has them. */
  readonly #isOpenSsh: boolean;

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

  /** Bytes read; 0 at the end of the file. */
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

  /** Piece by piece: a server may go on naming files without end. */
  async list(path: string): Promise<ListedFile[]> {
    const handle = await this.#handle(requests.opendir, [string(path)]);
    const entries: ListedFile[] = [];
    let nameBytes = 0;
    try {
      for (;;) {
        const piece = await this.#piece(handle);
        // A server may have no more names to tell and say so for ever.
        if (piece === undefined || piece.length === 0) return entries;
        for (const entry of piece) {
          // Itself and the one above are listed too.
          if (entry.name !== '.' && entry.name !== '..') entries.push(entry);
          nameBytes += entry.name.length + entry.line.length;
        }
        if (entries.length > this.#most.entries || nameBytes > this.#most.nameBytes)
          throw listTooLong(this.#host, path, this.#most);
      }
    } finally {
      await this.closeFile(handle).catch(() => undefined);
    }
  }

  /** The next files of a directory, or undefined at its end. */
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
   * In place of what is there. Servers without OpenSSH's extension have no such step: there it is removed first.
   *
   * @throws {NotReplaced} when it was removed, and `from` is all that is left.
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

  /** Bytes that are free for this user where the path lies; undefined where the server doesn't tell. */
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
      // What each of them has is told by the packet: a count alone takes no memory.
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

  /** A no of the server is told as it is; all else means that the session is of no more use. */
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
  if (type !== wanted) throw new Error(`a reply of type ${type} in place of ${wanted}`);
  return body;
}

function listTooLong(host: string, path: string, most: ListBounds): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message: `${shownPath(path)} on ${host} has more than ${most.entries} files, or names without end: more than is taken of one directory.`,
    advice: 'Transfer the directories in it one by one, or spread its files over several.',
  });
}

function notReplaced(
  host: string,
  { from, to, cause }: { from: string; to: string; cause: unknown },
): NotReplaced {
  return new NotReplaced({
    reason: 'transfer_failed',
    message: `${shownPath(to)} on ${host} was removed to be replaced, but what was to replace it could not be renamed. It is there whole, as ${shownPath(from)}.`,
    advice: `Rename it by hand, and look at who may write there.`,
    cause,
  });
}

function cut(host: string, cause: unknown): TransferError {
  return new TransferError({
    reason: 'transfer_cut',
    message: `The connection to ${host} was lost during the transfer.`,
    advice:
      'Look at the network between agent and target, and run the step again: no file is there half, and large ones are gone on with.',
    retryable: true,
    cause,
  });
}
