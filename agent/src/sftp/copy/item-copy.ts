// Decides about one file or link of a tree, copies it, and counts it in the report.
import type { Semaphore } from '../../timing/semaphore.ts';
import type { NewRow, TransferReport } from '../report/transfer-report.ts';
import type { SmallFiles } from '../stream/small-files.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import { fileError } from '../tree/transfer-error.ts';
import type { Directory, Entry } from '../tree/tree.ts';
import { type Conduct, type CopiedFile, copyFile, type FileCopy, withRetries } from './copy-file.ts';
import { isDifferent, mayReplace } from './decide.ts';
import type { LargeDirectories } from './large-directories.ts';
import { changedAttributes, fileAttributes } from './new-attributes.ts';
import type { Part, Reckoning } from './reckoning.ts';
import { leadsOut } from './refusals/leads-out.ts';
import { refusePlace } from './refusals/refuse-place.ts';
import { linkLeadsOut, tooManyFiles, tooMuch } from './refusals/tree-refusals.ts';

/** One entry of a directory of the source, and where it goes. */
export interface Item {
  entry: Entry;
  from: Directory;
  to: Directory;
  toName: string;
  there: Entry | undefined;
  /** Path from the top of what is transferred. */
  relative: string;
  /** Paths of the source's directories that contain it, from the top. */
  above: readonly string[];
  /** Its part of the total. */
  part: Part;
  /** What is held of the directories that contain it. */
  large: LargeDirectories;
  /** As in `FileCopy`. */
  madeUnder?: string | undefined;
  /** The slots that it occupies one of, if it does. */
  slots: Semaphore | undefined;
}

/** Is told of each file that is moved, by its path from the top. */
export interface ItemProgress {
  began(path: string): void;
  ended(path: string): void;
}

/** What all items of a transfer have in common. */
interface ItemCopyOptions {
  plan: TransferPlan;
  conduct: Conduct;
  report: TransferReport;
  progress: ItemProgress;
}

/** What they share with the walk that finds them. */
interface ItemCopyParts {
  reckoning: Reckoning;
  smallFiles: SmallFiles | undefined;
  rowOf(item: Item): NewRow;
}

export class ItemCopy {
  readonly #options: ItemCopyOptions;
  readonly #parts: ItemCopyParts;
  /** Number of files started, and their bytes. */
  #begun = 0;
  #bytes = 0;

  constructor(options: ItemCopyOptions, parts: ItemCopyParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Copies a file, unless what is there stays or is the same already. */
  async file(item: Item): Promise<void> {
    const { plan, conduct, report, progress } = this.#options;
    const { entry, from, to, toName, there } = item;
    refusePlace(there, toName);
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
      // What can't be read is found out only by opening it.
      await withRetries(conduct, async () => (await from.openSource(entry.name)).close());
      report.count(there === undefined ? 'created' : 'changed');
      report.done(() => ({ ...this.#parts.rowOf(item), status: 'planned' }));
      return;
    }
    this.#parts.reckoning.found(item.part, entry.size);
    progress.began(item.relative || entry.name);
    const startedAt = new Date();
    let counted: number | undefined;
    try {
      const copied = await this.#move(item, {
        from,
        fromName: entry.name,
        to,
        toName,
        madeUnder: item.madeUnder,
        attributes: (source) => fileAttributes(plan, source, there),
        admit: ({ size }) => {
          counted = this.#countWithin(entry.name, size, counted);
        },
      });
      report.count(there === undefined ? 'created' : 'changed');
      report.count('bytes', copied.movedBytes);
      report.done(() => ({
        ...this.#parts.rowOf(item),
        fileSize: copied.size,
        bytesTransferred: copied.movedBytes,
        startedAt: startedAt.toISOString(),
        completedAt: new Date().toISOString(),
      }));
    } finally {
      progress.ended(item.relative || entry.name);
    }
  }

  /** Moves a file together with others if possible, and otherwise by itself. */
  async #move({ entry, slots }: Item, copy: FileCopy): Promise<CopiedFile> {
    const file = { copy, size: entry.size, mtimeS: entry.mtimeS };
    if (slots !== undefined && this.#parts.smallFiles?.takes(file) === true) {
      // A file that goes with others doesn't need a slot, which is for files that are copied by themselves.
      const copied = await this.#parts.smallFiles.move(file, () => slots.give());
      await slots.take();
      if (copied !== undefined) return copied;
    }
    return copyFile(copy, this.#options.conduct);
  }

  /**
   * Counts a file towards the limits. Uses the size of the opened file, because a hostile server may list a smaller
   * one.
   *
   * @param counted the size with which an earlier try counted this file
   * @returns the size with which it counts now
   */
  #countWithin(name: string, size: number, counted: number | undefined): number {
    const { maxBytes = Infinity, maxFiles = Infinity } = this.#options.plan;
    const files = this.#begun + (counted === undefined ? 1 : 0);
    const bytes = this.#bytes - (counted ?? 0) + size;
    if (bytes > maxBytes) throw tooMuch(name, size, maxBytes);
    if (files > maxFiles) throw tooManyFiles(maxFiles);
    this.#begun = files;
    this.#bytes = bytes;
    return size;
  }

  /** Handles a file whose bytes are already at the destination: only its attributes may change. */
  async #sameFile({ entry, to, toName }: Item, there: Entry): Promise<void> {
    const { plan, report, conduct } = this.#options;
    const attributes = changedAttributes(plan, entry, there);
    if (attributes === undefined) {
      report.count('unchanged');
      return;
    }
    if (!plan.dryRun) await withRetries(conduct, () => to.setAttributes(toName, attributes));
    report.count('changed');
  }

  /** Makes the same link at the destination. */
  async link(item: Item): Promise<void> {
    const { plan, report, conduct } = this.#options;
    const { entry, from, to, toName, there, relative } = item;
    const target = await withRetries(conduct, () => from.readLink(entry.name));
    // On the agent a link must not lead out of what was transferred, because others would follow it.
    if (plan.direction === 'pull' && leadsOut(relative, target)) throw linkLeadsOut(target);
    refusePlace(there, toName);
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
    report.done(() => ({
      ...this.#parts.rowOf(item),
      operation: 'link',
      status: plan.dryRun ? 'planned' : 'completed',
    }));
  }
}
