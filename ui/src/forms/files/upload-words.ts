// An upload in words.
import type { StoredFile } from '@opsconductor/protocol';
import { longDuration, timeLeft } from '../../format/duration.ts';
import { ago } from '../../format/moment.ts';
import { byteSize } from '../../format/quantity.ts';

/** `12 MB/s, 1 min 05 s left`; empty while nothing is known. */
export function paceWords(bytesLeft: number, bytesPerSecond: number | undefined): string {
  if (bytesPerSecond === undefined) return '';
  // Less than this is what is left of a rate after nothing has moved for a while.
  if (bytesPerSecond < 100) return 'nothing moves';
  return [`${byteSize(bytesPerSecond)}/s`, timeLeft(bytesLeft, bytesPerSecond) ?? []].flat().join(', ');
}

/** `begun 3 h ago, kept for another 21 h` */
export function ageWords({ createdAt, uploadExpiresAt }: StoredFile, now: number): string {
  const begun = `begun ${ago(createdAt, now)}`;
  if (uploadExpiresAt === null) return begun;
  const left = new Date(uploadExpiresAt).getTime() - now;
  const minutes = Math.floor(left / 60_000);
  if (minutes < 1) return `${begun}, about to be removed`;
  const roundMs = (minutes < 60 ? minutes : Math.floor(minutes / 60) * 60) * 60_000;
  return `${begun}, kept for another ${longDuration(roundMs)}`;
}
