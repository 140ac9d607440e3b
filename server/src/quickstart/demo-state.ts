// What the demo's folder remembers: whether the setup was completed, and what belongs to the demo.
import { access, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface DemoState {
  segmentId: number;
  targetId: number;
  sshPort: number;
}

/** A file that exists from before the first start makes anything until the demo is complete. */
const mark = 'unfinished';

export async function markUnfinished(folder: string): Promise<void> {
  await writeFile(join(folder, mark), '', { mode: 0o600 });
}

export function isMarked(folder: string): Promise<boolean> {
  return access(join(folder, mark)).then(
    () => true,
    () => false,
  );
}

/**
 * Returns the state, or `undefined` if there is none or the demo is not complete. Rejects, naming the file, if it is
 * damaged.
 */
export async function readState(folder: string): Promise<DemoState | undefined> {
  const file = join(folder, 'demo.json');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : parseFile<DemoState>(file, text);
}

/** @throws {Error} naming the file, if the text is not JSON. */
export function parseFile<T>(file: string, text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new Error(`${file} is damaged: ${(cause as Error).message}`, { cause });
  }
}

/** Saves the state; from now on the demo is complete. */
export async function saveState(folder: string, state: DemoState): Promise<void> {
  const file = join(folder, 'demo.json');
  await writeFile(`${file}.new`, JSON.stringify(state), { mode: 0o600 });
  await rename(`${file}.new`, file);
  await rm(join(folder, mark), { force: true });
  await rm(join(folder, 'token'), { force: true });
}
