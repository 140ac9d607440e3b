// Which of the files that a transfer brought are kept as artifacts, for a report that says so.

import type { TransferReport } from '@opsconductor/protocol';
import { cutText } from '../cut-text.ts';
import { isText } from '../sftp/tree/name-bytes.ts';
import { toldPath } from '../sftp/tree/shown-path.ts';

export class KeptArtifacts {
  /** Where the transfer put them. */
  readonly #directory: string;
  /** By the path that their rows have. */
  readonly #kept = new Set<string>();
  readonly #left = new Map<string, string>();
  #others = 'the step ended before it was sent to the server';

  constructor(directory: string) {
    this.#directory = directory;
  }

  get count(): number {
    return this.#kept.size;
  }

  kept(name: string): void {
    this.#kept.add(this.#rowPath(name));
  }

  left(name: string, error: unknown): void {
    const why = isText(name) ? messageOf(error) : 'its name is not UTF-8 text';
    this.#left.set(this.#rowPath(name), why);
  }

  /** Says why files are not kept of which nothing else is known. */
  ended(why: string): void {
    this.#others = why;
  }

  /** Returns the report in which files that arrived on the agent and are not kept have failed. */
  onlyKept({ totals, rows }: TransferReport): TransferReport {
    const arrived = totals.created + totals.changed;
    const lost = Math.max(0, arrived - this.count);
    const told = rows.map((row) => {
      if (row.status !== 'completed' || row.operation !== 'download') return row;
      const path = row.localPath ?? '';
      if (this.#kept.has(path)) return row;
      const error = cutText(`Not kept with the run: ${this.#left.get(path) ?? this.#others}`, 1_000);
      return { ...row, status: 'failed' as const, error };
    });
    const isFailed = ({ status }: { status: string }) => status === 'failed';
    return {
      totals: { ...totals, created: arrived - lost, changed: 0, failed: totals.failed + lost },
      rows: [...told.filter(isFailed), ...told.filter((row) => !isFailed(row))],
    };
  }

  /** As the report of a transfer has it, with what stands for the directory. */
  #rowPath(name: string): string {
    const path = cutText(toldPath(`${this.#directory}/${name}`), 1_000);
    return shownInstead(path, `${this.#directory}/`, 'artifact ');
  }
}

/** Replaces a private directory in a text by what it stands for, also at the beginning of a path in quotes. */
export function shownInstead(text: string, directory: string, word: string): string {
  return text.replaceAll(`"${directory}`, `${word}"`).replaceAll(directory, word);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
