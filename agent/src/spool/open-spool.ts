// Opens the spool that an earlier process left of an attempt. A file that can't be read is set aside: it keeps the agent
// from nothing else, and stays where a person can get it back.
import { readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { errorCode } from '../identity/durable-file.ts';
import { Spool, type SpoolPart } from './spool.ts';
import { type SpoolBase, type SpooledChunk, SpoolFile } from './spool-file.ts';

export interface OpenedSpool {
  spool: Spool;
  chunks: SpooledChunk[];
  /** What comes before the chunks, if their first files were removed: the server has confirmed all of it. */
  base?: SpoolBase | undefined;
  /** Set if what is in a file's place can't be read. The chunks end before it. */
  unreadable?: UnreadableSpool;
}

export interface UnreadableSpool {
  error: Error;
  /** Where it is now. It is still in its place if it could not be set aside. */
  path: string;
}

/** Errors of the process and not of the file: after the next start, it may well be readable. */
const passing: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR']);

const asideName = /\.unreadable-\d+$/;

/** Whether an entry of the spool folder was set aside because it can't be read. */
export function isSetAside(name: string): boolean {
  return asideName.test(name);
}

/** Returns the name of the first file of the spool that a file belongs to. */
export function spoolOf(name: string): string {
  return name.replace(/\.\d+$/, '');
}

/**
 * A torn or damaged record is cut off, with everything after it.
 *
 * @param path of the attempt's first file.
 * @param firstSeq number of the first chunk in that file.
 * @param names of what is in its folder; looked up if they are not known.
 * @throws an error of the process, such as EMFILE; the files stay as they are.
 */
export async function openSpool(
  path: string,
  firstSeq: number,
  names?: readonly string[],
): Promise<OpenedSpool> {
  const parts: SpoolPart[] = [];
  const chunks: SpooledChunk[] = [];
  let unreadable: UnreadableSpool | undefined;
  const present = placesOf(path, firstSeq, names ?? (await readdir(dirname(path))));
  for (const place of present) {
    if (unreadable !== undefined) {
      await setAside(place.path);
      continue;
    }
    try {
      const part = await openPart(place, chunks, parts.length === 0);
      if (part === undefined) await unlink(place.path);
      else parts.push(part);
    } catch (error) {
      if (!(error instanceof Error) || passing.has(errorCode(error) ?? '')) throw error;
      const aside = await setAside(place.path);
      unreadable = { error, path: aside ?? place.path };
      if (aside === undefined)
        parts.push({ file: SpoolFile.refusing(place.path, error), firstSeq: place.firstSeq });
    }
  }
  const [first = { file: SpoolFile.create(path), firstSeq }, ...rest] = parts;
  const spool = new Spool(path, [first, ...rest]);
  return { spool, chunks, base: first.base, ...(unreadable === undefined ? {} : { unreadable }) };
}

/** What people are told about an attempt whose output was kept in it. */
export function tellUnreadable({ error, path }: UnreadableSpool): string {
  const name = basename(path);
  return `The agent can’t read the output that it had kept of this attempt (${errorCode(error) ?? error.message}), so some or all of it is missing. The file is kept in the agent’s spool as ${name}.`;
}

interface Place {
  path: string;
  firstSeq: number;
  isFirst: boolean;
}

/** Returns where the files of a spool are, in the order of their chunks. */
function placesOf(path: string, firstSeq: number, names: readonly string[]): Place[] {
  const first = basename(path);
  return names
    .filter((name) => spoolOf(name) === first)
    .map((name) => ({
      path: `${path}${name.slice(first.length)}`,
      firstSeq: name === first ? firstSeq : Number(name.slice(first.length + 1)),
      isFirst: name === first,
    }))
    .sort((a, b) => a.firstSeq - b.firstSeq);
}

/** Adds a file's chunks; returns undefined if it does not continue those before it. */
async function openPart(
  { path, firstSeq, isFirst }: Place,
  chunks: SpooledChunk[],
  isLowest: boolean,
): Promise<SpoolPart | undefined> {
  if (!isLowest && firstSeq !== (chunks.at(-1)?.seq ?? 0) + 1) return undefined;
  const { file, chunks: found, base } = await SpoolFile.recover(path, firstSeq);
  if (!isFirst && base?.seq !== firstSeq - 1) {
    await file.close();
    return undefined;
  }
  for (const chunk of found) chunks.push(chunk);
  return { file, firstSeq, base };
}

/** Renames a file in its folder, as the spool may be a file system of its own. Returns where it is, if that was possible. */
async function setAside(path: string): Promise<string | undefined> {
  const aside = `${path}.unreadable-${Date.now()}`;
  return rename(path, aside).then(
    () => aside,
    () => undefined,
  );
}
