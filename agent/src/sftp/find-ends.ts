// Finds both ends of a transfer: what the source is, and which name it gets at the destination.

import type { TransferPlan } from './transfer-plan.ts';
import { type Chosen, chosenBy, isNamePattern } from './tree/name-pattern.ts';
import { shownPath } from './tree/shown-path.ts';
import { fileError, TransferError } from './tree/transfer-error.ts';
import type { Directory, Entry, Place, Tree } from './tree/tree.ts';

export interface Ends {
  from: Directory;
  to: Directory;
  /** What is copied; undefined if it is everything in `from`. */
  entry: Entry | undefined;
  /** Its name in `to`; undefined if it goes into `to` itself. */
  toName: string | undefined;
  /** What already has that name there. */
  there: Entry | undefined;
  /** If the source’s last part is a pattern: what of `from` is copied. */
  chosen?: Chosen;
}

/**
 * Looks at both ends. The directories in the answer are open: `closeEnds` closes them.
 * @throws {TransferError}
 */
export async function findEnds(plan: TransferPlan, trees: { local: Tree; remote: Tree }): Promise<Ends> {
  const isPush = plan.direction === 'push';
  const [sourcePath, path] = isPush ? [plan.localPath, plan.remotePath] : [plan.remotePath, plan.localPath];
  const [sourceTree, tree] = isPush ? [trees.local, trees.remote] : [trees.remote, trees.local];
  const { from, entry, name, chosen } = await findSource(sourceTree, sourcePath, plan);
  try {
    // Use the name that was asked for: the name of a link's target comes from the source, which may be hostile.
    const file = entry?.kind === 'directory' ? undefined : name;
    const ends = { from, entry, ...(await findDestination(tree, path, file, plan)) };
    return chosen === undefined ? ends : { ...ends, chosen };
  } catch (error) {
    await from.close();
    throw error;
  }
}

export async function closeEnds({ from, to }: Ends): Promise<void> {
  await from.close();
  await to.close();
}

async function findSource(
  tree: Tree,
  path: string,
  plan: TransferPlan,
): Promise<Pick<Ends, 'from' | 'entry' | 'chosen'> & { name: string | undefined }> {
  const { parent, name } = await tree.locate(path, { write: false, create: false });
  if (name === undefined) return { from: parent, entry: undefined, name };
  try {
    const entry = await parent.look(name);
    if (entry === undefined && plan.takesPatterns === true && isNamePattern(name))
      return { from: parent, entry, name: undefined, chosen: chosenBy(name) };
    if (entry === undefined) throw fileError({ code: 'ENOENT' }, tree.where, path, 'found');
    // A path that names a link means what the link leads to.
    const found = entry.kind === 'link' ? await followed(tree, parent, name, path) : { from: parent, entry };
    if (plan.isSync && found.entry.kind !== 'directory') {
      if (found.from !== parent) await found.from.close();
      throw noDirectory(path, tree.where);
    }
    if (found.from !== parent) await parent.close();
    return { ...found, name };
  } catch (error) {
    await parent.close();
    throw error;
  }
}

function noDirectory(path: string, where: string): TransferError {
  return new TransferError({
    reason: 'path_missing',
    message: `${shownPath(path)} ${where} is not a directory, and sftp.sync compares directories.`,
    advice: 'Name a directory, or use sftp.upload or sftp.download for a single file.',
  });
}

async function followed(tree: Tree, parent: Directory, name: string, path: string) {
  const found = await parent.follow(name, { write: false });
  if (found === undefined) throw fileError({ code: 'ELOOP' }, tree.where, path, 'read');
  return { from: found.directory, entry: found.entry };
}

export async function findDestination(
  tree: Tree,
  path: string,
  /** The file's name; undefined for a directory. */
  fileName: string | undefined,
  { createDirectories, dryRun }: TransferPlan,
): Promise<Pick<Ends, 'to' | 'toName' | 'there'>> {
  const create = createDirectories && (dryRun ? 'planned' : true);
  // A dry run writes nothing, but says what the policy would refuse.
  const options = { write: true, create } as const;
  const endsInSlash = path.endsWith('/');
  // A slash at the end puts a file into that directory; for a directory, the path is its name in any case.
  if (endsInSlash && fileName !== undefined) {
    const place = await tree.locate(`${path}${fileName}`, options);
    try {
      return placed(place, await place.parent.look(fileName));
    } catch (error) {
      await place.parent.close();
      throw error;
    }
  }
  const place = await tree.locate(path, options);
  if (place.name === undefined) return placed(place, undefined);
  try {
    const there = await place.parent.look(place.name);
    if (there?.kind !== 'link' || !endsInSlash) return placed(place, there);
    const found = await place.parent.follow(place.name, options);
    if (found === undefined) return placed(place, there);
    await place.parent.close();
    return { to: found.directory, toName: found.entry.name, there: found.entry };
  } catch (error) {
    await place.parent.close();
    throw error;
  }
}

function placed({ parent, name }: Place, there: Entry | undefined): Pick<Ends, 'to' | 'toName' | 'there'> {
  return { to: parent, toName: name, there };
}
