// A transfer in words: progress and result.
import type { Transfer, TransferProgress, TransferTotals } from '@opsconductor/protocol';
import { timeLeft } from '../../../format/duration.ts';
import { byteSize, count, counted } from '../../../format/quantity.ts';

export function movesFiles(stepType: string): boolean {
  return stepType.startsWith('sftp.') || stepType.endsWith('.copy');
}

/** From 0 to 1; undefined while the total is unknown. */
export function shareOf({ bytes, bytesTotal, isCounted, filesTotal }: TransferProgress): number | undefined {
  const isKnown = isCounted || filesTotal === 1;
  return !isKnown || bytesTotal === 0 ? undefined : Math.min(1, bytes / bytesTotal);
}

/** `3 of 12 files, 45 MB of 120 MB, 12 MB/s, 6 s left` */
export function progressWords(progress: TransferProgress): string {
  const { files, filesTotal, bytes, bytesTotal, bytesPerSecond, isCounted } = progress;
  const isKnown = shareOf(progress) !== undefined;
  const parts = [
    isCounted ? `${count(files)} of ${counted(filesTotal, 'file')}` : counted(files, 'file'),
    isKnown ? `${byteSize(bytes)} of ${byteSize(bytesTotal)}` : byteSize(bytes),
    `${byteSize(bytesPerSecond)}/s`,
  ];
  const left = isKnown ? timeLeft(bytesTotal - bytes, bytesPerSecond) : undefined;
  if (left !== undefined) parts.push(left);
  return parts.join(', ');
}

/** Before a step begins, its agent fetches the file from the server: `to the agent: 45 MB of 52 MB, 12 MB/s, 1 s left` */
export function fetchingWords(progress: TransferProgress): string {
  return `to the agent: ${progressWords(progress).replace(/^[^,]+, /, '')}`;
}

/**
 * `2 created, 1 changed, 40 unchanged; 12 MB`; of a dry run, which has changed nothing, `dry run: 2 to create, 40
 * unchanged`.
 */
export function totalsWords(totals: TransferTotals, items: readonly Pick<Transfer, 'status'>[]): string {
  const { created, changed, unchanged, deleted, failed, directories, links, bytes } = totals;
  const isDry = items.some(({ status }) => status === 'planned');
  const counts: [number, string][] = [
    [failed, 'failed'],
    [created, isDry ? 'to create' : 'created'],
    [changed, isDry ? 'to change' : 'changed'],
    [unchanged, 'unchanged'],
    [deleted, isDry ? 'to delete' : 'deleted'],
    [links, links === 1 ? 'link' : 'links'],
    [directories, directories === 1 ? 'directory' : 'directories'],
  ];
  const shown = counts.filter(([number]) => number > 0).map(([number, word]) => `${count(number)} ${word}`);
  if (isDry) return `dry run: ${shown.join(', ')}`;
  return `${shown.length === 0 ? 'no file completed' : shown.join(', ')}; ${byteSize(bytes)}`;
}

/** Number of files that are counted but have no line of their own. */
export function leftOut(totals: TransferTotals, items: readonly Transfer[]): number {
  const { created, changed, deleted, failed, links } = totals;
  return Math.max(0, created + changed + deleted + failed + links - items.length);
}

/** The file that was written, or the one that was read if none was written. */
export function nameOf({ operation, localPath, remotePath }: Transfer): string {
  return (operation === 'download' ? localPath : (remotePath ?? localPath)) ?? '';
}
