// Walks a directory of the source together with the one at the destination, and has each entry copied, many at a time.
// An error with one entry is reported and doesn't affect the others.

import { Semaphore } from '../../timing/semaphore.ts';
import { Turn } from '../../timing/turn.ts';
import type { Ends } from '../find-ends.ts';
import { type NewRow, rowOf, type TransferReport } from '../report/transfer-report.ts';
import type { SmallFiles } from '../stream/small-files.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import { isSafeName } from '../tree/safe-name.ts';
import { temporaryPrefix } from '../tree/temporary-name.ts';
import { fileError, TransferError } from '../tree/transfer-error.ts';
import type { Directory, Entry } from '../tree/tree.ts';
import { chunkBytes } from './chunk-buffers.ts';
import { type Conduct, withRetries } from './copy-file.ts';
import { type Item, ItemCopy, type ItemProgress } from './item-copy.ts';
import { type BothSides, LargeDirectories } from './large-directories.ts';
import type { Listings } from './listings.ts';
import { directoryAttributes } from './new-attributes.ts';
import { type Part, type Reckoned, Reckoning } from './reckoning.ts';
import { entriesOf, folded, isTaken, sameName } from './refusals/same-names.ts';
import {
  badName,
  linkInCircle,
  linkNotFollowed,
  linkRefused,
  maxDepth,
  nameTaken,
  notTransferred,
  tooDeep,
} from './refusals/tree-refusals.ts';

const filesAtATime = 48;
const largeFilesAtATime = 3;
const directoriesAtATime = 8;
/** The same if small files are gathered and moved together. */
const directoriesAtATimeTogether = 40;
/** While a directory is being filled, its owner must have access to it. */
const fillMode = 0o700;

export interface TreeCopyOptions {
  plan: TransferPlan;
  conduct: Conduct;
  report: TransferReport;
  progress: TreeProgress;
  /** Listings of directories that were just looked at. */
  listings?: Listings;
  /** If given, small files are moved together. */
  smallFiles?: ((top: () => string) => SmallFiles) | undefined;
}

export interface TreeProgress extends Reckoned, ItemProgress {}

export class TreeCopy {
  readonly #options: TreeCopyOptions;
  readonly #files = new Semaphore(filesAtATime);
  readonly #largeFiles = new Semaphore(largeFilesAtATime);
  readonly #directories: Semaphore;
  readonly #smallFiles: SmallFiles | undefined;
  readonly #reckoning: Reckoning;
  readonly #items: ItemCopy;
  /** Paths of what is copied, of its copy, and of the directory that holds the copy. */
  #tops = { from: '', to: '', holds: '' };
  #isOver = false;

  constructor(options: TreeCopyOptions) {
    this.#options = options;
    this.#reckoning = new Reckoning(options.progress);
    const { direction } = options.plan;
    this.#smallFiles = options.smallFiles?.(
      () => (direction === 'push' ? this.#tops.holds : this.#tops.from) || '/',
    );
    this.#items = new ItemCopy(options, {
      reckoning: this.#reckoning,
      smallFiles: this.#smallFiles,
      rowOf: (item) => this.#row(item),
    });
    this.#directories = new Semaphore(
      this.#smallFiles === undefined ? directoriesAtATime : directoriesAtATimeTogether,
    );
  }

  /** Copies everything. Rejects only with an error that ends the whole transfer; others are in the report. */
  async copy(ends: Ends): Promise<void> {
    const { from, entry, to, toName } = ends;
    this.#tops = { from: pathIn(from, entry?.name), to: pathIn(to, toName), holds: to.path };
    const part = this.#reckoning.open();
    try {
      await this.#copy(ends, part);
    } finally {
      this.#reckoning.close(part);
      await this.#smallFiles?.end();
    }
  }

  async #copy({ from, entry, to, toName, there }: Ends, part: Part): Promise<void> {
    if (entry !== undefined && toName !== undefined) {
      const top = { relative: '', above: [], slots: undefined, large: new LargeDirectories() };
      await this.#entry({ entry, from, to, toName, there, part, ...top }, 0);
      return;
    }
    if (entry?.kind === 'file') throw fileError({ code: 'EISDIR' }, '', to.path, 'replaced');
    const source = entry === undefined ? from : await from.enter(entry.name);
    try {
      await this.#intoDirectory({ from: source, to, toName, there }, part);
    } finally {
      if (source !== from) await source.close();
    }
  }

  /** Copies the content of a directory if one of the two is an outermost directory, whose attributes are not copied. */
  async #intoDirectory({ from, to, toName, there }: Omit<Ends, 'entry'>, part: Part): Promise<void> {
    const { plan, report } = this.#options;
    const top = { relative: '', above: [], part, large: new LargeDirectories() };
    if (toName === undefined) return this.#contents(from, to, { ...top, isNew: false }, 0);
    if (there === undefined) {
      if (!plan.dryRun) await makeIfMissing(to, toName, plan.directoryMode ?? 0o755);
      report.count('directories');
      if (plan.dryRun) return this.#contents(from, to, { ...top, isNew: true }, 0);
    }
    const inside = await to.enter(toName);
    try {
      await this.#contents(from, inside, { ...top, isNew: there === undefined }, 0);
    } finally {
      await inside.close();
    }
  }

  async #contents(
    from: Directory,
    to: Directory,
    {
      relative,
      isNew,
      above,
      part,
      madeUnder,
      large,
    }: Pick<Item, 'relative' | 'above' | 'part' | 'madeUnder' | 'large'> & { isNew: boolean },
    depth: number,
  ): Promise<void> {
    const { conduct, listings } = this.#options;
    conduct.signal.throwIfAborted();
    const look = (): Promise<BothSides> => {
      const listing = isNew ? [] : (listings?.take('to', to) ?? to.list());
      return Promise.all([listings?.take('from', from) ?? from.list(), listing]);
    };
    let found: Awaited<ReturnType<LargeDirectories['list']>>;
    try {
      if (depth > maxDepth) throw tooDeep(from.path);
      found = await withRetries(conduct, () => large.list(from.path, look));
    } catch (error) {
      this.#fail(error, { path: from.path, row: {} });
      return;
    }
    try {
      await this.#listed(
        from,
        to,
        { relative, above, part, madeUnder, large: found.inside },
        found.both,
        depth,
      );
    } finally {
      found.release();
    }
  }

  /** Copies the entries of a directory that both sides have been listed for. */
  async #listed(
    from: Directory,
    to: Directory,
    {
      relative,
      above,
      part,
      madeUnder,
      large,
    }: Pick<Item, 'relative' | 'above' | 'part' | 'madeUnder' | 'large'>,
    [entries, listed]: BothSides,
    depth: number,
  ): Promise<void> {
    const { conduct } = this.#options;
    let there: Map<string, Entry>;
    try {
      there = await withRetries(conduct, () => entriesOf(to, entries, listed));
    } catch (error) {
      this.#fail(error, { path: from.path, row: {} });
      return;
    }
    const inside = [...above, from.path];
    const wanted = (await this.#wanted(entries, relative)).map(
      ({ entry, path }): Item => ({
        entry,
        from,
        to,
        toName: entry.name,
        there: there.get(sameName(to, entry.name)),
        relative: path,
        above: inside,
        madeUnder,
        part: this.#reckoning.open(),
        large,
        slots: undefined,
      }),
    );
    for (const item of wanted) this.#foresee(item);
    // From here on each item counts for itself.
    this.#reckoning.close(part);
    await this.#each(wanted, depth);
  }

  /** Works on the entries of one directory, and resolves when all of them are done. */
  async #each(items: readonly Item[], depth: number): Promise<void> {
    const work: Promise<void>[] = [];
    /** Names by their folded form: a side may not distinguish two names with the same one. */
    const likely = new Map<string, string>();
    try {
      for (const item of items) {
        if (this.#isOver) break;
        const { name } = item.entry;
        if (!isSafeName(name)) {
          this.#refuse(item, badName());
          continue;
        }
        const alike = likely.get(folded(name));
        likely.set(folded(name), name);
        if (alike !== undefined) {
          await Promise.allSettled(work);
          if (await isTaken(item, alike, this.#options.plan)) {
            this.#refuse(item, nameTaken(name, alike));
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

  #refuse(item: Item, why: TransferError): void {
    this.#options.report.fail(item.relative, why, this.#row(item));
    this.#reckoning.close(item.part);
  }

  /** Returns the entries of a directory that are transferred, with their paths from the top. */
  async #wanted(entries: readonly Entry[], relative: string): Promise<{ entry: Entry; path: string }[]> {
    const { plan, conduct } = this.#options;
    const wanted: { entry: Entry; path: string }[] = [];
    const turn = new Turn();
    for (const entry of entries) {
      const { name, kind } = entry;
      if (name.startsWith(temporaryPrefix)) continue;
      const path = relative === '' ? name : `${relative}/${name}`;
      // What no pattern needs to be tried on is reported, however long it is.
      if (!isSafeName(name) || plan.filter(path, kind === 'directory')) wanted.push({ entry, path });
      if (!turn.isOver) continue;
      await turn.next();
      conduct.signal.throwIfAborted();
    }
    return wanted;
  }

  /** Counts a file that is missing at the destination before its turn comes, because it will certainly be moved. */
  #foresee({ entry, there, part }: Item): void {
    const isMoved = entry.kind === 'file' && there === undefined && isSafeName(entry.name);
    if (isMoved && !this.#options.plan.dryRun) this.#reckoning.found(part, entry.size);
  }

  /** Starts work; if that fails in a way that ends the transfer, nothing more is started. */
  #watched(begin: () => Promise<void>): Promise<void> {
    const work = begin();
    work.catch(() => {
      this.#isOver = true;
    });
    return work;
  }

  /** Waits for room to work on an entry. Resolves with a function that starts the work and resolves when it is done. */
  async #roomFor(item: Item, depth: number): Promise<() => Promise<void>> {
    const { entry } = item;
    const mayBeDeep =
      entry.kind === 'directory' || (entry.kind === 'link' && this.#options.plan.symlinks === 'follow');
    if (mayBeDeep) {
      if (this.#directories.tryTake())
        return () => this.#entry(item, depth + 1).finally(() => this.#directories.give());
      // A directory must not wait for a slot that its parent may hold, so without a free slot it is done right here.
      await this.#entry(item, depth + 1);
      return async () => undefined;
    }
    const slots = entry.size > chunkBytes ? this.#largeFiles : this.#files;
    await slots.take();
    item.slots = slots;
    return () => this.#entry(item, depth).finally(() => slots.give());
  }

  /** Transfers one entry. Rejects only with an error that ends the whole transfer. */
  async #entry(item: Item, depth: number): Promise<void> {
    const { conduct } = this.#options;
    try {
      conduct.signal.throwIfAborted();
      conduct.looksAt();
      if (item.entry.kind === 'file') await this.#items.file(item);
      else if (item.entry.kind === 'directory') await this.#directory(item, depth);
      else if (item.entry.kind === 'link') await this.#link(item, depth);
      else throw notTransferred(item.entry.name);
    } catch (error) {
      conduct.signal.throwIfAborted();
      if (endsAll(error)) throw error;
      this.#fail(error, { path: item.relative || item.entry.name, row: this.#row(item) });
    } finally {
      this.#reckoning.close(item.part);
    }
  }

  async #directory(item: Item, depth: number): Promise<void> {
    const { plan, report, conduct } = this.#options;
    const { entry, to, toName, there } = item;
    if (there !== undefined && there.kind !== 'directory') {
      throw fileError({ code: there.kind === 'link' ? 'ELOOP' : 'ENOTDIR' }, '', toName, 'entered');
    }
    const isNew = there === undefined;
    if (isNew) {
      if (!plan.dryRun) await withRetries(conduct, () => makeIfMissing(to, toName, fillMode));
      report.count('directories');
    }
    const attributes = directoryAttributes(plan, entry, there);
    try {
      await this.#insideOf(item, isNew, depth);
      if (attributes === undefined || plan.dryRun) return;
      await withRetries(conduct, () => to.setAttributes(toName, attributes));
    } catch (error) {
      // The next try keeps the permissions of an existing directory, so set them now, but keep it fillable.
      if (isNew && !plan.dryRun && attributes?.mode !== undefined)
        await to.leave(toName, attributes.mode | fillMode);
      throw error;
    }
  }

  async #insideOf(item: Item, isNew: boolean, depth: number): Promise<void> {
    const { plan, conduct } = this.#options;
    const { entry, from, to, toName } = item;
    const source = await withRetries(conduct, () => from.enter(entry.name));
    try {
      // A dry run doesn't make the directory, so there is nothing to enter.
      const inside = isNew && plan.dryRun ? to : await withRetries(conduct, () => to.enter(toName));
      try {
        const madeUnder = isNew ? (item.madeUnder ?? to.path) : undefined;
        await this.#contents(source, inside, { ...item, isNew, madeUnder }, depth);
      } finally {
        if (inside !== to) await inside.close();
      }
    } finally {
      await source.close();
    }
  }

  async #link(item: Item, depth: number): Promise<void> {
    const { plan } = this.#options;
    if (plan.symlinks === 'skip') return;
    if (plan.symlinks === 'fail') throw linkRefused(item.entry.name);
    if (plan.symlinks === 'copy') await this.#items.link(item);
    else await this.#followLink(item, depth);
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

  #row({ entry, relative }: Item): NewRow {
    const { from, to } = this.#tops;
    const at = relative === '' ? '' : `/${relative}`;
    const fileSize = entry.kind === 'file' ? entry.size : undefined;
    return rowOf(this.#options.plan, { source: `${from}${at}`, destination: `${to}${at}`, fileSize });
  }

  #fail(error: unknown, { path, row }: { path: string; row: Partial<NewRow> }): void {
    this.#options.conduct.signal.throwIfAborted();
    if (endsAll(error)) throw error;
    this.#options.report.fail(path, error, {
      ...rowOf(this.#options.plan, { source: path, destination: path, fileSize: undefined }),
      ...row,
    });
  }
}

/** Whether an error would hit every other file too: an unexpected one, or a target still gone after all retries. */
function endsAll(error: unknown): boolean {
  return !(error instanceof TransferError) || error.reason === 'transfer_cut';
}

/** Makes a directory. An earlier try whose answer was lost may have made it already. */
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
