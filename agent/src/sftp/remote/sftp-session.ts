// One SFTP session, as promises. ssh2 leaves a request without an answer when the session is over: here each one ends.
import type { FileEntry, SFTPWrapper, Stats } from 'ssh2';
import { shownPath } from '../tree/shown-path.ts';
import { sftpStatus, TransferError } from '../tree/transfer-error.ts';

const posixRename = 'posix-rename@openssh.com';
const statvfs = 'statvfs@openssh.com';

/** Of what SFTP says of a file; servers may leave any of it out. */
export type FileAttributes = Pick<Stats, 'mode' | 'size' | 'mtime' | 'uid' | 'gid'>;

/** What is set of a file; user and group go together. */
export interface SetAttributes {
  mode?: number;
  mtime?: number;
  atime?: number;
  size?: number;
  uid?: number;
  gid?: number;
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

type Done<T> = (error: Error | null | undefined, value: T) => void;

export class SftpSession {
  readonly #sftp: SFTPWrapper;
  readonly #host: string;
  readonly #most: ListBounds;
  readonly #extensions: Readonly<Record<string, string>>;
  readonly #pending = new Set<(error: unknown) => void>();
  #cut: TransferError | undefined;

  constructor(sftp: SFTPWrapper, host: string, most: ListBounds = listBounds) {
    this.#sftp = sftp;
    this.#most = most;
    this.#host = host;
    this.#extensions = (sftp as SFTPWrapper & { _extensions?: Record<string, string> })._extensions ?? {};
    for (const event of ['close', 'end', 'error']) sftp.on(event, (cause?: unknown) => this.#end(cause));
  }

  get open(): boolean {
    return this.#cut === undefined;
  }

  close(): void {
    this.#end(undefined);
    this.#sftp.end();
  }

  openFile(path: string, flags: number, mode?: number): Promise<Buffer> {
    return this.#ask((done) =>
      mode === undefined
        ? this.#sftp.open(path, flags as never, done)
        : this.#sftp.open(path, flags as never, mode, done),
    );
  }

  closeFile(handle: Buffer): Promise<void> {
    return this.#act((done) => this.#sftp.close(handle, done));
  }

  /** Bytes read; 0 at the end of the file. */
  read(handle: Buffer, buffer: Buffer, length: number, position: number): Promise<number> {
    return this.#ask((done) => this.#sftp.read(handle, buffer, 0, length, position, done));
  }

  write(handle: Buffer, buffer: Buffer, length: number, position: number): Promise<void> {
    return this.#act((done) => this.#sftp.write(handle, buffer, 0, length, position, done));
  }

  fstat(handle: Buffer): Promise<FileAttributes> {
    return this.#ask((done) => this.#sftp.fstat(handle, done));
  }

  lstat(path: string): Promise<FileAttributes> {
    return this.#ask((done) => this.#sftp.lstat(path, done));
  }

  stat(path: string): Promise<FileAttributes> {
    return this.#ask((done) => this.#sftp.stat(path, done));
  }

  setAttributes(to: string | Buffer, attributes: SetAttributes): Promise<void> {
    return this.#act((done) =>
      typeof to === 'string'
        ? this.#sftp.setstat(to, attributes as never, done)
        : this.#sftp.fsetstat(to, attributes as never, done),
    );
  }

  /** Piece by piece: a server may go on naming files without end. */
  async list(path: string): Promise<FileEntry[]> {
    const handle = await this.#ask<Buffer>((done) => this.#sftp.opendir(path, done));
    const entries: FileEntry[] = [];
    let nameBytes = 0;
    try {
      for (;;) {
        const piece = await this.#piece(handle);
        if (piece === undefined) return entries;
        for (const entry of piece) {
          entries.push(entry);
          nameBytes += entry.filename.length + entry.longname.length;
        }
        if (entries.length > this.#most.entries || nameBytes > this.#most.nameBytes)
          throw listTooLong(this.#host, path, this.#most);
      }
    } finally {
      await this.closeFile(handle).catch(() => undefined);
    }
  }

  /** The next files of a directory, or undefined at its end. */
  async #piece(handle: Buffer): Promise<FileEntry[] | undefined> {
    try {
      return await this.#ask<FileEntry[]>((done) => this.#sftp.readdir(handle, done));
    } catch (error) {
      if ((error as { code?: unknown }).code === sftpStatus.eof) return undefined;
      throw error;
    }
  }

  makeDirectory(path: string, mode: number): Promise<void> {
    return this.#act((done) => this.#sftp.mkdir(path, { mode } as never, done));
  }

  removeDirectory(path: string): Promise<void> {
    return this.#act((done) => this.#sftp.rmdir(path, done));
  }

  removeFile(path: string): Promise<void> {
    return this.#act((done) => this.#sftp.unlink(path, done));
  }

  /**
   * In place of what is there. Servers without OpenSSH's extension have no such step: there it is removed first.
   *
   * @throws {NotReplaced} when it was removed, and `from` is all that is left.
   */
  async replace(from: string, to: string): Promise<void> {
    if (this.#extensions[posixRename] === '1')
      return this.#act((done) => this.#sftp.ext_openssh_rename(from, to, done));
    const rename = () => this.#act((done) => this.#sftp.rename(from, to, done));
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
    return this.#act((done) => this.#sftp.symlink(target, path, done));
  }

  readLink(path: string): Promise<string> {
    return this.#ask((done) => this.#sftp.readlink(path, done));
  }

  realPath(path: string): Promise<string> {
    return this.#ask((done) => this.#sftp.realpath(path, done));
  }

  /** Bytes that are free for this user where the path lies; undefined where the server doesn't tell. */
  async freeBytes(path: string): Promise<number | undefined> {
    if (this.#extensions[statvfs] !== '2') return undefined;
    const found = await this.#ask<{ f_bavail: number; f_frsize: number }>((done) =>
      this.#sftp.ext_openssh_statvfs(path, done as never),
    );
    return found.f_bavail * found.f_frsize;
  }

  #act(start: (done: (error?: Error | null) => void) => void): Promise<void> {
    return this.#ask<void>((done) => start((error) => done(error, undefined)));
  }

  #ask<T>(start: (done: Done<T>) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#cut !== undefined) {
        reject(this.#cut);
        return;
      }
      this.#pending.add(reject);
      const done: Done<T> = (error, value) => {
        this.#pending.delete(reject);
        if (error === undefined || error === null) resolve(value);
        // An answer has a code; what has none is ssh2's own word on a session that is over.
        else
          reject(
            (error as { code?: unknown }).code === undefined ? (this.#cut ?? cut(this.#host, error)) : error,
          );
      };
      try {
        start(done);
      } catch (error) {
        this.#pending.delete(reject);
        reject(error);
      }
    });
  }

  #end(cause: unknown): void {
    if (this.#cut !== undefined) return;
    this.#cut = cut(this.#host, cause);
    for (const reject of this.#pending) reject(this.#cut);
    this.#pending.clear();
  }
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
