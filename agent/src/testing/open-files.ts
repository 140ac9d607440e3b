import { readdir, readlink } from 'node:fs/promises';

/** Returns the paths below `start` that this process has open. */
export async function openFiles(start: string): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  const paths = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return paths.filter((path) => path.startsWith(start)).sort();
}
