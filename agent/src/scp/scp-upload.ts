// Sends files and directories of the agent to an `scp -t` on the target.
import { cutText } from '../cut-text.ts';
import { chunkBytes } from '../sftp/copy/chunk-buffers.ts';
import type { TransferReport } from '../sftp/report/transfer-report.ts';
import type { TransferPlan } from '../sftp/transfer-plan.ts';
import { toldPath } from '../sftp/tree/shown-path.ts';
import { TransferError } from '../sftp/tree/transfer-error.ts';
import type { Directory, Entry, Source } from '../sftp/tree/tree.ts';
import type { ScpChannel } from './scp-channel.ts';

export interface ScpUpload {
  channel: ScpChannel;
  plan: TransferPlan;
  report: TransferReport;
  signal: AbortSignal;
  moved(bytes: number): void;
}

/** Limit on nested directories. */
const maxDepth = 128;

/** How an entry is sent. */
interface Sent {
  /** The name that scp is told. */
  name: string;
  /** Its path on the target once everything is in its place. */
  remotePath: string;
  /** Paths of the directories that contain it. */
  above: readonly string[];
}

/** Sends one entry under a name. Throws an error that ends the transfer; a file that can't be sent is in the report. */
export async function sendEntry(upload: ScpUpload, from: Directory, entry: Entry, sent: Sent): Promise<void> {
  const { report, signal } = upload;
  signal.throwIfAborted();
  const { name, remotePath } = sent;
  const path = `${from.path}/${entry.name}`;
  const row = rowOf(path, remotePath);
  if (entry.kind === 'link') {
    const found = await from.follow(entry.name, { write: false });
    if (found === undefined) return void report.fail(path, notSent('It is a link that leads nowhere.'), row);
    try {
      return await sendEntry(upload, found.directory, found.entry, sent);
    } finally {
      await found.directory.close();
    }
  }
  if (name.includes('\n') || entry.kind === 'other')
    return void report.fail(
      path,
      notSent('scp can’t send it: it is a device, or its name contains a line break.'),
      row,
    );
  if (entry.kind === 'directory') await sendDirectory(upload, from, entry, sent);
  else await sendFile(upload, from, entry, sent);
}

async function sendDirectory(
  upload: ScpUpload,
  from: Directory,
  entry: Entry,
  { name, remotePath, above }: Sent,
): Promise<void> {
  const { channel, plan, report } = upload;
  const inside = await from.enter(entry.name);
  try {
    if (above.includes(inside.path) || above.length >= maxDepth) {
      report.fail(inside.path, endless(), rowOf(inside.path, remotePath));
      return;
    }
    await sendTimes(upload, entry.mtimeS, remotePath);
    const mode = plan.directoryMode ?? (plan.preservePermissions ? entry.mode : entry.mode & 0o755);
    await channel.send(`D${octal(mode)} 0 ${name}\n`);
    await channel.answer(remotePath, 'created');
    report.count('directories');
    const within = [...above, inside.path];
    for (const each of await inside.list()) {
      const below = `${remotePath}/${each.name}`;
      await sendEntry(upload, inside, each, { name: each.name, remotePath: below, above: within });
    }
    await channel.send('E\n');
    await channel.answer(remotePath, 'created');
  } finally {
    await inside.close();
  }
}

async function sendFile(
  upload: ScpUpload,
  from: Directory,
  entry: Entry,
  { name, remotePath }: Sent,
): Promise<void> {
  const { channel, plan, report } = upload;
  const path = `${from.path}/${entry.name}`;
  const row = rowOf(path, remotePath);
  const startedAt = new Date().toISOString();
  let source: Source;
  try {
    source = await from.openSource(entry.name);
  } catch (error) {
    return void report.fail(path, error, row);
  }
  try {
    await sendTimes(upload, source.mtimeS, remotePath);
    const mode = plan.fileMode ?? (plan.preservePermissions ? source.mode : source.mode & 0o755);
    await channel.send(`C${octal(mode)} ${source.size} ${name}\n`);
    await channel.answer(remotePath, 'written');
    await sendBytes(upload, source);
    await channel.send(Buffer.from([0]));
    await channel.answer(remotePath, 'written');
  } catch (error) {
    if (!upload.signal.aborted) report.end(path, error, { ...row, fileSize: source.size, startedAt });
    throw error;
  } finally {
    await source.close();
  }
  report.count('created');
  report.count('bytes', source.size);
  const completedAt = new Date().toISOString();
  report.done(() => ({
    ...row,
    fileSize: source.size,
    bytesTransferred: source.size,
    startedAt,
    completedAt,
  }));
}

async function sendTimes({ channel, plan }: ScpUpload, mtimeS: number, path: string): Promise<void> {
  if (!plan.preserveTimes) return;
  await channel.send(`T${mtimeS} 0 ${mtimeS} 0\n`);
  await channel.answer(path, 'given its times');
}

async function sendBytes({ channel, signal, moved }: ScpUpload, source: Source): Promise<void> {
  for (let at = 0; at < source.size; ) {
    signal.throwIfAborted();
    // A new buffer each time, because the channel may keep what it was given.
    const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, source.size - at));
    const got = await source.read(buffer, buffer.length, at);
    if (got < buffer.length) throw changed();
    await channel.send(buffer);
    moved(got);
    at += got;
  }
  if (await source.hasChanged()) throw changed();
}

function rowOf(localPath: string, remotePath: string) {
  return {
    operation: 'upload' as const,
    localPath: cutText(toldPath(localPath), 1_000),
    remotePath: cutText(toldPath(remotePath), 1_000),
    bytesTransferred: 0,
  };
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function notSent(message: string): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message,
    advice: 'Leave it out, or use a target with SFTP.',
  });
}

function endless(): TransferError {
  return new TransferError({
    reason: 'path_refused',
    message: `Through a link it contains itself, or it is more than ${maxDepth} directories deep.`,
    advice: 'Remove the circular link, or transfer a directory further below.',
  });
}

function changed(): TransferError {
  return new TransferError({
    reason: 'file_changed',
    message: 'A file changed while it was read.',
    advice: 'Transfer a copy of it, or at a time when nothing writes to it.',
    retryable: true,
  });
}
