// How much steps may write to the agent's own disks. A target says how much there is to be fetched, and a disk without
// room would keep the agent from recording what it does, for all targets.
import { statfs } from 'node:fs/promises';
import { TransferError } from '../tree/transfer-error.ts';

const mostKeptBytes = 1024 ** 3;
const keptPart = 0.05;

/** Returns how much is free for this user on the file system that holds a file or directory; undefined if it doesn't tell. */
export async function freeBytes(path: string): Promise<number | undefined> {
  return (await sizeOf(path))?.freeBytes;
}

/**
 * Returns how much may be written to the file system that holds a file or directory: what is free, less a twentieth of
 * it all or a gibibyte. Undefined if it doesn't tell.
 */
export async function roomBytes(path: string): Promise<number | undefined> {
  const size = await sizeOf(path);
  if (size === undefined) return undefined;
  const keptBytes = Math.min(mostKeptBytes, Math.floor(size.totalBytes * keptPart));
  return Math.max(0, size.freeBytes - keptBytes);
}

async function sizeOf(path: string): Promise<{ totalBytes: number; freeBytes: number } | undefined> {
  const found = await statfs(path).catch(() => undefined);
  if (found === undefined || found.blocks === 0) return undefined;
  return { totalBytes: found.blocks * found.bsize, freeBytes: found.bavail * found.bsize };
}

/** Throws `no_space` if nothing more may be written there. */
export async function requireRoom(path: string): Promise<void> {
  if ((await roomBytes(path)) !== 0) return;
  throw new TransferError({
    reason: 'no_space',
    message:
      'The disk of the agent is nearly full: the last 5 % of it, or the last GiB, is not for what steps fetch.',
    advice: 'Free space there, or choose another place.',
  });
}
