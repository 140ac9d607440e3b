// A disk that fails, or a process that is killed, at one operation. A test replaces `node:fs/promises` and `node:fs` with
// what this returns (`vi.mock`), lets the operations be counted once, and then tries each.
import type { FileHandle } from 'node:fs/promises';

/** The error, or `killed`: this operation and all later ones never come to an end. A write has done half by then. */
export type Failure = 'ENOSPC' | 'EIO' | 'killed';

export const disk = {
  failAt: 0,
  failure: 'EIO' as Failure,
  done: [] as string[],
  onKilled: () => {},
};

const opened = new Set<FileHandle>();

/** Closes the files of processes that were killed. */
export async function closeLeft(): Promise<void> {
  await Promise.all([...opened].map((handle) => handle.close()));
}

/** From here on nothing fails, and operations are counted from 1. */
export function workingDisk(): void {
  disk.failAt = 0;
  disk.done = [];
}

/** The result resolves when the process is killed. */
export function failAt(operation: number, failure: Failure): Promise<void> {
  disk.failAt = operation;
  disk.failure = failure;
  disk.done = [];
  return new Promise((resolve) => {
    disk.onKilled = resolve;
  });
}

/** Operations that change nothing, and are not counted. */
const harmless = new Set(['readdir', 'readFile', 'stat', 'lstat', 'realpath', 'readlink', 'close', 'read']);
const changing = [
  'appendFile',
  'chmod',
  'copyFile',
  'link',
  'mkdir',
  'open',
  'rename',
  'rm',
  'rmdir',
  'unlink',
];

/** Whether this operation fails. */
function isNext(name: string): boolean {
  if (harmless.has(name)) return false;
  disk.done.push(name);
  if (disk.failAt === 0) return false;
  return disk.done.length === disk.failAt || (disk.failure === 'killed' && disk.done.length > disk.failAt);
}

function fail(name: string): Promise<never> {
  if (disk.failure !== 'killed') return Promise.reject(errorOf(name));
  disk.onKilled();
  return new Promise(() => undefined);
}

function errorOf(name: string): Error {
  return Object.assign(new Error(`${disk.failure}: ${name}`), { code: disk.failure });
}

type Method = (...args: unknown[]) => unknown;

function watched(handle: FileHandle): FileHandle {
  opened.add(handle);
  return new Proxy(handle, {
    get(target, name) {
      const method = Reflect.get(target, name, target);
      if (typeof method !== 'function') return method;
      return async (...args: unknown[]) => {
        if (name === 'close') opened.delete(handle);
        const call = (given: unknown[]) => (method as Method).apply(target, given);
        if (!isNext(String(name))) return call(args);
        const [bytes] = args;
        const isWrite = name === 'write' || name === 'writeFile';
        if (isWrite && disk.done.length === disk.failAt)
          await call([Buffer.from(bytes as Buffer).subarray(0, 9)]);
        return fail(String(name));
      };
    },
  });
}

export function failingPromises<Fs extends object>(fs: Fs): Fs {
  const replaced = { ...fs } as Record<string, unknown>;
  for (const name of changing) {
    const method = replaced[name] as Method;
    replaced[name] = async (...args: unknown[]) => {
      if (isNext(name)) return fail(name);
      const result = await method(...args);
      return name === 'open' ? watched(result as FileHandle) : result;
    };
  }
  return replaced as Fs;
}

export function failingSync<Fs extends { writeSync: unknown }>(fs: Fs): Fs {
  const writeSync = (fd: number, bytes: Buffer, ...more: unknown[]) => {
    const call = fs.writeSync as Method;
    if (!isNext('writeSync')) return call(fd, bytes, ...more);
    if (disk.done.length === disk.failAt) call(fd, bytes.subarray(0, 9));
    disk.onKilled();
    throw errorOf('writeSync');
  };
  return { ...fs, writeSync };
}
