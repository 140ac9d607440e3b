// The program of the thread that reads and writes small files, with synchronous calls: they cost a fraction of
// asynchronous ones, and in a thread a slow disk delays nothing but the transfer.
import type { MessagePort } from 'node:worker_threads';

export type FilesRequest =
  | { do: 'look'; fd: number; names: readonly FileName[] }
  | { do: 'read'; fd: number; names: readonly FileName[]; into: Uint8Array<SharedArrayBuffer> }
  | { do: 'write'; fd: number; temporary: string; files: readonly WrittenFile[]; bytes: ArrayBuffer };

/** Bytes if the name is not text. */
export type FileName = string | Uint8Array;

export interface WrittenFile {
  name: FileName;
  length: number;
  mode: number;
  mtimeS: number | undefined;
}

export interface ReadFile {
  length: number;
  mode: number;
  mtimeMs: number;
  uid: number;
  gid: number;
}

/** The fields of `lstat` that an entry is made of. */
export interface Looked {
  mode: number;
  size: number;
  mtimeMs: number;
  uid: number;
  gid: number;
}

export type FilesReply =
  | { did: 'look'; files: (Looked | undefined)[] }
  | { did: 'read'; files: (ReadFile | undefined)[] }
  | { did: 'write'; files: boolean[] };

/**
 * Runs in a thread that is given only the text of this function, so it must not use anything from outside. Directories
 * are descriptors that the main thread holds open, and names are single parts of a path.
 */
export function serveFiles(port: MessagePort, fs: typeof import('node:fs')): void {
  const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const at = (fd: number, name: FileName): string | Buffer => {
    const directory = `/proc/self/fd/${fd}/`;
    return typeof name === 'string' ? directory + name : Buffer.concat([Buffer.from(directory), name]);
  };

  const look = ({ fd, names }: Extract<FilesRequest, { do: 'look' }>): FilesReply => {
    const lookOne = (name: FileName): Looked | undefined => {
      const stats = fs.lstatSync(at(fd, name), { throwIfNoEntry: false });
      if (stats === undefined) return undefined;
      const { mode, size, mtimeMs, uid, gid } = stats;
      return { mode, size, mtimeMs, uid, gid };
    };
    return { did: 'look', files: names.map(lookOne) };
  };

  const read = ({ fd, names, into }: Extract<FilesRequest, { do: 'read' }>): FilesReply => {
    let used = 0;
    const readOne = (name: FileName): ReadFile | undefined => {
      let file: number | undefined;
      try {
        file = fs.openSync(at(fd, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        const { size, mode, mtimeMs, uid, gid, ...stats } = fs.fstatSync(file);
        const hasRoom = used + size <= into.length;
        if ((mode & fs.constants.S_IFMT) !== fs.constants.S_IFREG || !hasRoom) return undefined;
        let length = 0;
        while (length < size) {
          const got = fs.readSync(file, into, used + length, size - length, length);
          if (got === 0) return undefined;
          length += got;
        }
        const after = fs.fstatSync(file);
        if (after.size !== size || after.mtimeMs !== mtimeMs || after.ctimeMs !== stats.ctimeMs)
          return undefined;
        used += size;
        return { length, mode: mode & 0o7777, mtimeMs, uid, gid };
      } catch {
        return undefined;
      } finally {
        if (file !== undefined) fs.closeSync(file);
      }
    };
    const files = names.map(readOne);
    return { did: 'read', files };
  };

  const remove = (path: string | Buffer) => {
    try {
      fs.unlinkSync(path);
    } catch {
      // It was never made, or already has its final name.
    }
  };

  // `temporary` is the name of each file, one after the other, until it is complete.
  const write = ({ fd, temporary, files, bytes }: Extract<FilesRequest, { do: 'write' }>): FilesReply => {
    let next = 0;
    const writeOne = ({ name, length, mode, mtimeS }: WrittenFile): boolean => {
      const start = next;
      next += length;
      let file: number | undefined;
      try {
        file = fs.openSync(at(fd, temporary), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
        const content = Buffer.from(bytes, start, length);
        for (let done = 0; done < length; ) done += fs.writeSync(file, content, done, length - done, done);
        fs.fchmodSync(file, mode);
        if (mtimeS !== undefined) fs.futimesSync(file, mtimeS, mtimeS);
        fs.closeSync(file);
        file = undefined;
        fs.renameSync(at(fd, temporary), at(fd, name));
        return true;
      } catch {
        if (file !== undefined) fs.closeSync(file);
        remove(at(fd, temporary));
        return false;
      }
    };
    return { did: 'write', files: files.map(writeOne) };
  };

  port.on('message', ({ id, request }: { id: number; request: FilesRequest }) => {
    try {
      const reply =
        request.do === 'look' ? look(request) : request.do === 'read' ? read(request) : write(request);
      port.postMessage({ id, reply });
    } catch {
      // The caller then does it file by file and sees the error.
      port.postMessage({ id, reply: undefined });
    }
  });
}
