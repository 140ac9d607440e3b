// Goes through a directory of the source beside the one at the destination, decides about each entry and has it done,
// many at a time. What goes wrong with one is told and keeps none of the others from being done.
import type { TransferRow } from '@opsconductor/protocol';
import type { Ends } from '../find-ends.ts';
import type { TransferReport } from '../report/transfer-report.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import { isReadable, isSafeName } from '../tree/safe-name.ts';
import { temporaryPrefix } from '../tree/temporary-name.ts';
import { fileError, TransferError } from '../tree/transfer-error.ts';
import type { Attributes, Directory, Entry, Source } from '../tree/tree.ts';
import { chunkBytes } from './chunk-buffers.ts';
import { type Conduct, copyFile, withRetries } from './copy-file.ts';
import { isDifferent, mayReplace } from './decide.ts';
import { Slots } from './slots.ts';
import {
  badName,
  linkInCircle,
  linkLeadsOut,
  linkNotFollowed,
  linkRefused,
  nameTaken,
  notTransferred,
  tooDeep,
  tooMuch,
} from './tree-refusals.ts';

const filesAtATime = 48;
const largeFilesAtATime = 3;
const directoriesAtATime = 8;
/** Directories inside one another, so that no tree takes a file for each level without end. */
const maxDepth = 128;
/** While a directory is filled it must be open to whom it is filled by. */
const fillMode = 0o700;

export interface TreeCopyOptions {
  plan: TransferPlan;
  conduct: Conduct;
  report: TransferReport;
  progress: TreeProgress;
}

export interface TreeProgress {
  found(bytes: number): void;
  began(path: string): void;
  ended(path: string): void;
}

/** One entry of a directory of the source, and where it goes. */
interface Item {
  entry: Entry;
  from: Directory;
  to: Directory;
  toName: string;
  there: Entry | undefined;
  /** From the top of what is transferred. */
  relative: string;
  /** Paths of the directories of the source that it was found in, from the top. */
  above: readonly string[];
}

export class TreeCopy {
  readonly #options: TreeCopyOptions;
  readonly #files = new Slots(filesAtATime);
  readonly #largeFiles = new Slots(largeFilesAtATime);
  readonly #directories = new Slots(directoriesAtATime);
  /** Paths of what is copied and of what it becomes. */
  #tops = { from: '', to: '' };
  #isOver = false;
  /** Of files that were begun. */
  #bytes = 0;

  constructor(options: TreeCopyOptions) {
    this.#options = options;
  }

  /** Rejects with what ends it all; what goes wrong with one file is in the report. */
  async copy({ from, entry, to, toName, there }: Ends): Promise<void> {
    this.#tops = { from: pathIn(from, entry?.name), to: pathIn(to, toName) };
    if (entry !== undefined && toName !== undefined) {
      await this.#entry({ entry, from, to, toName, there, relative: '', above: [] }, 0);
      return;
    }
    if (entry?.kind === 'file') throw fileError({ code: 'EISDIR' }, '', to.path, 'replaced');
    const source = entry === undefined ? from : await from.enter(entry.name);
    try {
      await this.#intoDirectory(source, to, toName, there);
    } finally {
      if (source !== from) await source.close();
    }
  }

  /** All that is in a directory, where one of the two is an outermost one and has no attributes to be given. */
  async #intoDirectory(
    from: Directory,
    to: Directory,
    toName: string | undefined,
    there: Entry | undefined,
  ): Promise<void> {
    const { plan, report } = this.#options;
    if (toName === undefined) return this.#contents(from, to, { relative: '', isNew: false, above: [] }, 0);
    if (there === undefined) {
      report.count('directories');
      if (plan.dryRun) return this.#contents(from, to, { relative: '', isNew: true, above: [] }, 0);
      await makeIfMissing(to, toName, plan.directoryMode ?? 0o755);
    }
    const inside = await to.enter(toName);
    try {
      await this.#contents(from, inside, { relative: '', isNew: there === undefined, above: [] }, 0);
    } finally {
      await inside.close();
    }
  }

  async #contents(
    from: Directory,
    to: Directory,
    { relative, isNew, above }: Pick<Item, 'relative' | 'above'> & { isNew: boolean },
    depth: number,
  ): Promise<void> {
    const { conduct, plan, report } = this.#options;
    conduct.signal.throwIfAborted();
    let entries: Entry[];
    let there: Map<string, Entry>;
    try {
      if (depth > maxDepth) throw tooDeep(from.path, maxDepth);
      [entries, there] = await withRetries(conduct, () =>
        Promise.all([from.list(), isNew ? new Map<string, Entry>() : entriesOf(to)]),
      );
    } catch (error) {
      this.#fail(error, { path: from.path, row: {} });
      return;
    }
    const work: Promise<void>[] = [];
    /** Names that a side may take for one another. */
    const likely = new Map<string, string>();
    try {
      for (const entry of entries) {
        if (this.#isOver) break;
        if (entry.name.startsWith(temporaryPrefix)) continue;
        const path = relative === '' ? entry.name : `${relative}/${entry.name}`;
        if (!plan.filter(path, entry.kind === 'directory')) continue;
        const item = {
          entry,
          from,
          to,
          toName: entry.name,
          there: there.get(sameName(to, entry.name)),
          relative: path,
          above: [...above, from.path],
        };
        if (!isSafeName(entry.name) || !isReadable(entry.name)) {
          report.fail(path, badName(entry.name), this.#row(item));
          continue;
        }
        const alike = likely.get(folded(entry.name));
        likely.set(folded(entry.name), entry.name);
        if (alike !== undefined) {
          await Promise.allSettled(work);
          if (await isTaken(item, alike, plan)) {
            report.fail(path, nameTaken(entry.name, alike), this.#row(item));
            continue;
          }
        }
        work.push(this.#watched(await this.#roomFor(item, depth)));
      }
    } finally {
      await Promise.allSettled(work);
    }
    await Promise.all(work);
  }

  /** One that ends everything keeps others from being begun; whoever waits for it hears of it. */
  #watched(begin: () => Promise<void>): Promise<void> {
    const work = begin();
    work.catch(() => {
      this.#isOver = true;
    });
    return work;
  }

  /** Waits until there is room for work on an entry; what it resolves to begins it, and resolves at its end. */
  async #roomFor(item: Item, depth: number): Promise<() => Promise<void>> {
    const { entry } = item;
    const mayBeDeep =
      entry.kind === 'directory' || (entry.kind === 'link' && this.#options.plan.symlinks === 'follow');
    if (mayBeDeep) {
      if (this.#directories.tryTake())
        return () => this.#entry(item, depth + 1).finally(() => this.#directories.give());
      // A directory never waits for a place that the one above it has: without one it is done right here.
      await this.#entry(item, depth + 1);
      return async () => undefined;
    }
    const slots = entry.size > chunkBytes ? this.#largeFiles : this.#files;
    await slots.take();
    return () => this.#entry(item, depth).finally(() => slots.give());
  }

  /** Rejects only with what ends the whole transfer. */
  async #entry(item: Item, depth: number): Promise<void> {
    const { conduct } = this.#options;
    try {
      conduct.signal.throwIfAborted();
      if (item.entry.kind === 'file') await this.#file(item);
      else if (item.entry.kind === 'directory') await this.#directory(item, depth);
      else if (item.entry.kind === 'link') await this.#link(item, depth);
      else throw notTransferred(item.entry.name);
    } catch (error) {
      conduct.signal.throwIfAborted();
      if (endsAll(error)) throw error;
      this.#fail(error, { path: item.relative || item.entry.name, row: this.#row(item) });
    }
  }

  async #file(item: Item): Promise<void> {
    const { plan, report, conduct, progress } = this.#options;
    const { entry, from, to, toName, there } = item;
    if (there?.kind === 'directory') throw fileError({ code: 'EISDIR' }, '', toName, 'replaced');
    if (there !== undefined && !mayReplace(plan.overwrite, entry, there)) {
      if (plan.overwrite === 'fail') throw fileError({ code: 'EEXIST' }, '', toName, 'written');
      report.count('unchanged');
      return;
    }
    const mayBeSame = plan.overwrite !== 'always' && plan.overwrite !== 'newer' && plan.overwrite !== 'fail';
    if (there !== undefined && mayBeSame && !(await isDifferent(item, plan.compare))) {
      await this.#sameFile(item, there);
      return;
    }
    if (plan.dryRun) {
      report.count(there === undefined ? 'created' : 'changed');
      report.done({ ...this.#row(item), status: 'planned' });
      return;
    }
    progress.found(entry.size);
    progress.began(item.relative || entry.name);
    const startedAt = new Date().toISOString();
    let counted = 0;
    try {
      const copied = await copyFile(
        {
          from,
          fromName: entry.name,
          to,
          toName,
          attributes: (source) => this.#attributes(source, there),
          admit: ({ size }) => {
            counted = this.#countWithin(entry.name, size, counted);
          },
        },
        conduct,
      );
      report.count(there === undefined ? 'created' : 'changed');
      report.count('bytes', copied.movedBytes);
      const completedAt = new Date().toISOString();
      report.done({
        ...this.#row(item),
        fileSize: copied.size,
        bytesTransferred: copied.movedBytes,
        startedAt,
        completedAt,
      });
    } finally {
      progress.ended(item.relative || entry.name);
    }
  }

  /** By the size of the opened file: what a hostile server lists may be less. Returns what it counts for by now. */
  #countWithin(name: string, size: number, counted: number): number {
    const { maxBytes } = this.#options.plan;
    const bytes = this.#bytes - counted + size;
    if (maxBytes !== undefined && bytes > maxBytes) throw tooMuch(name, size, maxBytes);
    this.#bytes = bytes;
    return size;
  }

  /** Its bytes are there already. */
  async #sameFile({ entry, to, toName }: Item, there: Entry): Promise<void> {
    const { plan, report, conduct } = this.#options;
    const attributes = {
      ...(plan.preservePermissions && entry.mode !== there.mode ? { mode: entry.mode } : {}),
      ...(plan.preserveTimes && entry.mtimeS !== there.mtimeS ? { mtimeS: entry.mtimeS } : {}),
      ...this.#ownerOf(entry, there),
    };
    if (Object.keys(attributes).length === 0) {
      report.count('unchanged');
      return;
    }
    if (!plan.dryRun) await withRetries(conduct, () => to.setAttributes(toName, attributes));
    report.count('changed');
  }

  async #directory(item: Item, depth: number): Promise<void> {
    const { plan, report, conduct } = this.#options;
    const { entry, from, to, toName, there } = item;
    if (there !== undefined && there.kind !== 'directory') {
      throw fileError({ code: there.kind === 'link' ? 'ELOOP' : 'ENOTDIR' }, '', toName, 'entered');
    }
    const isNew = there === undefined;
    if (isNew) {
      report.count('directories');
      if (!plan.dryRun) await withRetries(conduct, () => makeIfMissing(to, toName, fillMode));
      else report.done({ ...this.#row(item), status: 'planned' });
    }
    const source = await withRetries(conduct, () => from.enter(entry.name));
    try {
      // Where nothing is made there is nothing to enter either.
      const inside = isNew && plan.dryRun ? to : await withRetries(conduct, () => to.enter(toName));
      try {
        await this.#contents(source, inside, { ...item, isNew }, depth);
      } finally {
        if (inside !== to) await inside.close();
      }
    } finally {
      await source.close();
    }
    if (plan.dryRun) return;
    const attributes = this.#directoryAttributes(entry, there);
    if (attributes !== undefined) await withRetries(conduct, () => to.setAttributes(toName, attributes));
  }

  /** Those of a directory that was filled; undefined where they stay. */
  #directoryAttributes(entry: Entry, there: Entry | undefined): Attributes | undefined {
    const { plan } = this.#options;
    const others = {
      ...(plan.preserveTimes ? { mtimeS: entry.mtimeS } : {}),
      ...this.#ownerOf(entry, there),
    };
    if (there === undefined) {
      const own = plan.preservePermissions ? entry.mode : entry.mode & 0o755;
      return { mode: plan.directoryMode ?? own, ...others };
    }
    const mode = plan.preservePermissions && entry.mode !== there.mode ? { mode: entry.mode } : {};
    const all = { ...mode, ...others };
    return Object.keys(all).length > 0 ? all : undefined;
  }

  /** As scp does where nothing is said: the source's bits, but nobody else may write. What is replaced keeps its own. */
  #attributes(source: Pick<Source, 'mode' | 'mtimeS' | 'owner'>, there: Entry | undefined): Attributes {
    const { fileMode, preservePermissions, preserveTimes } = this.#options.plan;
    const kept = there?.kind === 'file' ? there.mode : source.mode & 0o755;
    const mode = fileMode ?? (preservePermissions ? source.mode : kept);
    return { mode, ...(preserveTimes ? { mtimeS: source.mtimeS } : {}), ...this.#ownerOf(source, undefined) };
  }

  /** The owner that it is to get; nothing where it stays, or has it already. */
  #ownerOf({ owner }: Pick<Entry, 'owner'>, there: Entry | undefined): Pick<Attributes, 'owner'> {
    if (this.#options.plan.preserveOwner !== true || owner === undefined) return {};
    const has = there?.owner?.uid === owner.uid && there.owner.gid === owner.gid;
    return has ? {} : { owner };
  }

  async #link(item: Item, depth: number): Promise<void> {
    const { plan } = this.#options;
    if (plan.symlinks === 'skip') return;
    if (plan.symlinks === 'fail') throw linkRefused(item.entry.name);
    if (plan.symlinks === 'copy') await this.#copyLink(item);
    else await this.#followLink(item, depth);
  }

  async #copyLink(item: Item): Promise<void> {
    const { plan, report, conduct } = this.#options;
    const { entry, from, to, toName, there, relative } = item;
    const target = await withRetries(conduct, () => from.readLink(entry.name));
    // On the agent a link must not lead out of what was transferred: others would follow it.
    if (plan.direction === 'pull' && leadsOut(relative, target)) throw linkLeadsOut(target);
    if (there?.kind === 'directory') throw fileError({ code: 'EISDIR' }, '', toName, 'replaced');
    if (there?.kind === 'link' && (await to.readLink(toName)) === target) {
      report.count('unchanged');
      return;
    }
    if (there !== undefined && (plan.overwrite === 'never' || plan.overwrite === 'fail')) {
      if (plan.overwrite === 'fail') throw fileError({ code: 'EEXIST' }, '', toName, 'created');
      report.count('unchanged');
      return;
    }
    if (!plan.dryRun) await withRetries(conduct, () => to.makeLink(toName, target));
    report.count('links');
    report.done({ ...this.#row(item), operation: 'link', status: plan.dryRun ? 'planned' : 'completed' });
  }

  async #followLink(item: Item, depth: number): Promise<void> {
    const found = await item.from.follow(item.entry.name, { write: false });
    if (found === undefined) throw linkNotFollowed(item.entry.name);
    try {
      if (item.above.includes(pathIn(found.directory, found.entry.name))) throw linkInCircle(item.entry.name);
      await this.#entry({ ...item, from: found.directory, entry: found.entry }, depth + 1);
    } finally {
      await found.directory.close();
    }
  }

  #row({ entry, relative }: Item): Omit<TransferRow, 'status'> {
    const { from, to } = this.#tops;
    const at = relative === '' ? '' : `/${relative}`;
    return this.#rowOf(`${from}${at}`, `${to}${at}`, entry.kind === 'file' ? entry.size : undefined);
  }

  #rowOf(source: string, destination: string, fileSize: number | undefined): Omit<TransferRow, 'status'> {
    const isPush = this.#options.plan.direction === 'push';
    const [localPath, remotePath] = isPush ? [source, destination] : [destination, source];
    return {
      operation: isPush ? 'upload' : 'download',
      localPath: localPath.slice(0, 1_000),
      remotePath: remotePath.slice(0, 1_000),
      bytesTransferred: 0,
      ...(fileSize === undefined ? {} : { fileSize }),
    };
  }

  #fail(error: unknown, { path, row }: { path: string; row: Partial<TransferRow> }): void {
    this.#options.conduct.signal.throwIfAborted();
    if (endsAll(error)) throw error;
    this.#options.report.fail(path, error, { ...this.#rowOf(path, path, undefined), ...row });
  }
}

/** What no other file would fare better with: the target is gone, and was waited for. */
function endsAll(error: unknown): boolean {
  return !(error instanceof TransferError) || error.reason === 'transfer_cut';
}

async function entriesOf(directory: Directory): Promise<Map<string, Entry>> {
  return new Map((await directory.list()).map((entry) => [sameName(directory, entry.name), entry]));
}

/** What names have in common that differ in case, or in how their letters are composed. */
function folded(name: string): string {
  return name.normalize('NFC').toLowerCase();
}

/** Whether the destination has by this name what was just put there by a name that is like it. */
async function isTaken(
  { to, toName, there }: Item,
  alike: string,
  { dryRun }: TransferPlan,
): Promise<boolean> {
  if (sameName(to, toName) === sameName(to, alike)) return true;
  return !dryRun && there === undefined && (await to.look(toName)) !== undefined;
}

function sameName(directory: Directory, name: string): string {
  return directory.sameName?.(name) ?? name;
}

/** A try whose answer was lost may have made it. */
async function makeIfMissing(directory: Directory, name: string, mode: number): Promise<void> {
  try {
    await directory.make(name, mode);
  } catch (error) {
    if ((await directory.look(name))?.kind !== 'directory') throw error;
  }
}

function pathIn({ path }: Directory, name: string | undefined): string {
  if (name === undefined) return path === '/' ? '' : path;
  return path.endsWith('/') ? path + name : `${path}/${name}`;
}

/**
 * Whether a link at a path of the transfer may lead out of it. A `..` after a name does: what has that name may be a
 * link too, and then it is not the directory above that is meant.
 */
export function leadsOut(relative: string, target: string): boolean {
  if (target.startsWith('/')) return true;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const named = parts.findIndex((part) => part !== '..');
  const above = named === -1 ? parts : parts.slice(0, named);
  return above.length >= relative.split('/').length || parts.lastIndexOf('..') >= above.length;
}
