// Receives files and directories from an `scp -f` on the target. Its input is treated as hostile: names can't lead out
// of the destination, and nothing is accepted that was not asked for.

import { cutText } from '../cut-text.ts';
import { directoryAttributes, fileAttributes } from '../sftp/copy/new-attributes.ts';
import { refusePlace } from '../sftp/copy/refusals/refuse-place.ts';
import type { TransferReport } from '../sftp/report/transfer-report.ts';
import type { TransferPlan } from '../sftp/transfer-plan.ts';
import { isSafeName } from '../sftp/tree/safe-name.ts';
import { toldPath } from '../sftp/tree/shown-path.ts';
import { fileError, TransferError } from '../sftp/tree/transfer-error.ts';
import type { Directory, Place, Sink } from '../sftp/tree/tree.ts';
import type { ScpChannel } from './scp-channel.ts';

const maxDepth = 128;
const pieceBytes = 255 * 1024;

export interface ScpDownload {
  channel: ScpChannel;
  plan: TransferPlan;
  report: TransferReport;
  signal: AbortSignal;
  moved(bytes: number): void;
}

interface Record {
  kind: 'C' | 'D';
  mode: number;
  size: number;
  /** Its name at the destination. */
  name: string;
  mtimeS: number | undefined;
}

/**
 * Receives one file or directory.
 *
 * @param path what was asked for
 * @param placeFor returns where it goes, once it is known which of the two it is. If the place has no name, the content
 * of the directory goes there.
 */
export async function takeEntry(
  download: ScpDownload,
  path: string,
  placeFor: (kind: Record['kind']) => Promise<Place>,
): Promise<void> {
  await go(download);
  const record = await nextRecord(download, path);
  if (record === undefined) {
    // If it could not read something, that is already in the report.
    if (download.report.firstFailure === undefined) throw odd('it sent nothing');
    return;
  }
  const { parent, name } = await placeFor(record.kind);
  const source = path.replace(/\/+$/, '');
  try {
    if (name !== undefined) return await take(download, parent, { ...record, name }, source, 0);
    if (record.kind === 'C') throw fileError({ code: 'EISDIR' }, '', parent.path, 'replaced');
    await takeContents(download, parent, source, 0);
    await go(download);
  } finally {
    await parent.close();
  }
}

async function take(
  download: ScpDownload,
  to: Directory,
  record: Record,
  /** Its path on the target. */
  source: string,
  depth: number,
): Promise<void> {
  download.signal.throwIfAborted();
  if (record.kind === 'C') return takeFile(download, to, record, source);
  if (depth >= maxDepth) throw odd(`it sent directories more than ${maxDepth} deep`);
  const { plan, report } = download;
  const there = await to.look(record.name);
  if (there === undefined) {
    await to.make(record.name, 0o700);
    report.count('directories');
  }
  const inside = await to.enter(record.name);
  const attributes = directoryAttributes(plan, record, there);
  try {
    await takeContents(download, inside, source, depth);
  } catch (error) {
    // The next try keeps the permissions of an existing directory, so set them now, but keep it fillable.
    if (there === undefined && attributes?.mode !== undefined)
      await to.setAttributes(record.name, { mode: attributes.mode | 0o700 }).catch(() => undefined);
    throw error;
  } finally {
    await inside.close();
  }
  if (attributes !== undefined) await to.setAttributes(record.name, attributes);
  await go(download);
}

async function takeContents(
  download: ScpDownload,
  inside: Directory,
  source: string,
  depth: number,
): Promise<void> {
  await go(download);
  for (;;) {
    const inner = await nextRecord(download, source);
    if (inner === undefined) return;
    if (!isSafeName(inner.name)) throw odd('it sent a name that leads elsewhere');
    await take(download, inside, inner, `${source}/${inner.name}`, depth + 1);
  }
}

async function takeFile(download: ScpDownload, to: Directory, record: Record, source: string): Promise<void> {
  const { channel, plan, report, signal } = download;
  const { name, size } = record;
  const startedAt = new Date().toISOString();
  const localPath = cutText(toldPath(`${to.path}/${name}`), 1_000);
  const remotePath = cutText(toldPath(source), 1_000);
  const row = { operation: 'download', localPath, remotePath, fileSize: size, startedAt } as const;
  const there = await to.look(name);
  let sink: Sink | undefined;
  let isCommitted = false;
  try {
    refusePlace(there, name);
    sink = await to.openSink(name, { size, mode: 0o600 });
    await go(download);
    for (let at = 0; at < size; ) {
      signal.throwIfAborted();
      const piece = await channel.upTo(Math.min(pieceBytes, size - at));
      await sink.write(piece, piece.length, at);
      at += piece.length;
      download.moved(piece.length);
    }
    // If it had an error while reading, it sends that instead of the confirmation.
    await channel.answer(source, 'read');
    await sink.commit(fileAttributes(plan, record, there), size);
    isCommitted = true;
  } catch (error) {
    if (!signal.aborted) report.end(source, error, { ...row, bytesTransferred: 0 });
    throw error;
  } finally {
    if (!isCommitted) await sink?.discard(false);
  }
  report.count(there === undefined ? 'created' : 'changed');
  report.count('bytes', size);
  const completedAt = new Date().toISOString();
  report.done(() => ({ ...row, bytesTransferred: size, completedAt }));
  await go(download);
}

/**
 * Reads the next file or directory record; undefined at the end of a directory, or of everything.
 *
 * @param within path on the target of what it is in, for objections that name no path
 */
async function nextRecord(download: ScpDownload, within: string): Promise<Record | undefined> {
  const { channel } = download;
  let mtimeS: number | undefined;
  for (;;) {
    const code = await channel.byte();
    if (code === undefined) return undefined;
    const line = await channel.line();
    const letter = String.fromCharCode(code);
    if (letter === 'E') return undefined;
    if (code === 1 || code === 2) {
      const path = /^scp: (.+): [^:]+$/s.exec(line)?.[1]?.replace(/^\.\//, '~/') ?? within;
      if (code === 2) throw channel.refusal(line, path, 'read');
      download.report.fail(path, channel.refusal(line, path, 'read'), {
        operation: 'download',
        remotePath: cutText(toldPath(path), 1_000),
        bytesTransferred: 0,
      });
      continue;
    }
    if (letter === 'T') {
      mtimeS = Number(/^(\d{1,12}) /.exec(line)?.[1] ?? Number.NaN);
      if (Number.isNaN(mtimeS)) throw odd('it sent an invalid time');
      await go(download);
      continue;
    }
    const match = /^([0-7]{4}) (\d{1,15}) (.+)$/s.exec(line);
    if ((letter !== 'C' && letter !== 'D') || match === null) throw odd('it sent something else');
    const [, mode = '', size = '', name = ''] = match;
    return { kind: letter, mode: Number.parseInt(mode, 8), size: Number(size), name, mtimeS };
  }
}

async function go({ channel }: ScpDownload): Promise<void> {
  await channel.send(Buffer.from([0]));
}

function odd(what: string): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message: `The target's scp does not keep to its protocol: ${what}.`,
    advice: "Look at scp on the target, and whether the user's shell prints anything when it starts.",
  });
}
