// The output of a transfer: what a dry run would do, what failed, and a summary line.
import type { TransferTotals } from '@opsconductor/protocol';
import type { OutputSink } from '../../steps/step-type.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import { shownPath } from '../tree/shown-path.ts';
import type { Failure } from './transfer-report.ts';

/** Limit on lines of each kind; further ones are only counted. */
const maxLines = 5_000;

export class TransferLines {
  readonly #output: Pick<OutputSink, 'write'>;
  #failures = 0;
  #planned = 0;
  #unfinished = 0;

  constructor(output: Pick<OutputSink, 'write'>) {
    this.#output = output;
  }

  failed({ path, error }: Failure): void {
    this.#failures += 1;
    if (this.#failures <= maxLines) this.#line('stderr', `${shownPath(path)}: ${error.message}`);
  }

  /** Names unfinished files and directories that may still be on the target. */
  left(paths: readonly string[]): void {
    for (const path of paths.slice(0, maxLines))
      this.#line('stderr', `${shownPath(path)}: unfinished, and may still be there: it could not be removed`);
  }

  /** Names unfinished files that a later transfer continues, with what they are to become. */
  kept(files: ReadonlyMap<string, string>): void {
    this.#unfinished = files.size;
    for (const [path, name] of [...files].slice(0, maxLines)) {
      const what = `unfinished, of ${shownPath(name)}; the same transfer goes on with it when it is run again`;
      this.#line('stderr', `${shownPath(path)}: ${what}`);
    }
  }

  planned(what: string, path: string): void {
    this.#planned += 1;
    if (this.#planned <= maxLines) this.#line('stdout', `would ${what} ${shownPath(path)}`);
  }

  sumUp(totals: TransferTotals, plan: Pick<TransferPlan, 'direction' | 'dryRun'>, elapsedMs: number): void {
    if (this.#failures > maxLines) this.#line('stderr', `and ${this.#failures - maxLines} more failed`);
    if (this.#planned > maxLines) this.#line('stdout', `and ${this.#planned - maxLines} more`);
    this.#line('stdout', summaryLine({ ...totals, unfinished: this.#unfinished }, plan, elapsedMs));
  }

  #line(stream: 'stdout' | 'stderr', text: string): void {
    this.#output.write(stream, Buffer.from(`${text}\n`));
  }
}

function summaryLine(
  totals: TransferTotals & { unfinished?: number },
  { direction, dryRun }: Pick<TransferPlan, 'direction' | 'dryRun'>,
  elapsedMs: number,
): string {
  const verb = direction === 'push' ? 'Uploaded' : 'Downloaded';
  const lead = dryRun
    ? 'Dry run, nothing was changed'
    : `${verb} ${sizeWord(totals.bytes)} in ${(elapsedMs / 1_000).toFixed(1)} s`;
  const parts = [
    `${totals.created} created`,
    `${totals.changed} changed`,
    `${totals.unchanged} unchanged`,
    ...counted(totals.directories, 'directory', 'directories'),
    ...counted(totals.links, 'link', 'links'),
    ...(totals.deleted > 0 ? [`${totals.deleted} deleted`] : []),
    ...(totals.failed > 0 ? [`${totals.failed} failed`] : []),
    ...((totals.unfinished ?? 0) > 0 ? [`${totals.unfinished} unfinished`] : []),
  ];
  return `${lead}: ${parts.join(', ')}.`;
}

function counted(count: number, one: string, several: string): string[] {
  if (count === 0) return [];
  return [`${count} ${count === 1 ? one : several}`];
}

/** Formats a size in decimal units, as the console does: `312 B`, `9.4 kB`, `200 MB`. */
export function sizeWord(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  let value = bytes;
  while (value >= (at === 0 ? 1_000 : 999.5) && at < units.length - 1) {
    value /= 1_000;
    at += 1;
  }
  return `${at === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}
