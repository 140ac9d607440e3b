// Copies one file from one side to the other: in chunks, several in flight, under a temporary name until it is
// complete.

import { pause } from '../../timing/pause.ts';
import { joinPath } from '../tree/join-path.ts';
import { shownPath } from '../tree/shown-path.ts';
import { temporaryName } from '../tree/temporary-name.ts';
import { TransferError, type TransferReason } from '../tree/transfer-error.ts';
import type { Attributes, Directory, Sink, Source } from '../tree/tree.ts';
import { type ChunkBuffers, chunkBytes } from './chunk-buffers.ts';
import type { RateLimit } from './rate-limit.ts';

const chunksInFlight = 16;
/** Sending a smaller file again is faster than comparing it. */
const resumeBytes = 4 * 1024 * 1024;
/** Free space is not checked for smaller files. */
const spaceBytes = 1024 * 1024;
const firstPauseMs = 250;
/** Reasons that mean that what has arrived is not the file, so that it is not resumed. */
const ofContent: ReadonlySet<string> = new Set<TransferReason>(['file_changed', 'checksum_mismatch']);

/** How files are copied; the same for the whole transfer. */
export interface Conduct {
  readonly buffers: ChunkBuffers;
  readonly rateLimit: RateLimit | undefined;
  readonly signal: AbortSignal;
  readonly verify: 'size' | 'checksum';
  readonly resume: boolean;
  readonly retries: number;
  /** Identifies both ends among those of other transfers. */
  readonly ends: string;
  /** Called for each entry of the source, whether it is moved or not. */
  looksAt(): void;
  /** Called with the number of bytes that have arrived. */
  moved(bytes: number): void;
  /** Called with how many bytes more are there than have arrived in this transfer; negative if some are sent again. */
  found(bytes: number): void;
  /** The paths of unfinished files that are kept for a later try, with what they are to become. */
  readonly unfinished: Map<string, string>;
}

export interface FileCopy {
  from: Directory;
  fromName: string;
  to: Directory;
  toName: string;
  /**
   * Set if this transfer has just made `to`, which gets its attributes once it is complete: the path of the nearest
   * directory above it that existed before.
   */
  madeUnder?: string | undefined;
  attributes(source: Pick<Source, 'mode' | 'mtimeS' | 'owner'>): Attributes;
  /** Called on each try with the opened file's own data. Throws if the file is too large. */
  admit?(source: Pick<Source, 'size'>): void;
}

export interface CopiedFile {
  size: number;
  /** Bytes of it that this transfer moved, in however many tries; fewer than `size` if an earlier one was resumed. */
  movedBytes: number;
}

/** Resume keys of the files being written, over all transfers of this agent: no two files may share one. */
const inUse = new Set<string>();

/** How far the tries at one file are. */
interface Tries {
  /** Where the one that began earliest in the file began. */
  begunAt: number;
  /** Bytes of it that progress has been told of. */
  told: number;
}

export async function copyFile(copy: FileCopy, conduct: Conduct): Promise<CopiedFile> {
  const tries: Tries = { begunAt: Number.POSITIVE_INFINITY, told: 0 };
  return withRetries(conduct, () => copyOnce(copy, conduct, tries));
}

/** Retries after retryable errors, with growing pauses. */
export async function withRetries<T>(
  conduct: Pick<Conduct, 'retries' | 'signal'>,
  act: () => Promise<T>,
): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await act();
    } catch (error) {
      conduct.signal.throwIfAborted();
      const mayHelp = (error as { retryable?: unknown }).retryable === true;
      if (!mayHelp || tries >= conduct.retries) throw error;
      await pause(firstPauseMs * 2 ** tries * (0.8 + Math.random() * 0.4), conduct.signal);
    }
  }
}

async function copyOnce(copy: FileCopy, conduct: Conduct, tries: Tries): Promise<CopiedFile> {
  const source = await copy.from.openSource(copy.fromName);
  try {
    return await copyFrom(source, copy, conduct, tries);
  } finally {
    await source.close();
  }
}

async function copyFrom(source: Source, copy: FileCopy, conduct: Conduct, tries: Tries): Promise<CopiedFile> {
  copy.admit?.(source);
  const key = keyOf(source, copy, conduct);
  if (key !== undefined) inUse.add(key);
  const unfinished = joinPath(copy.to.path, temporaryName(key));
  try {
    const options = { size: source.size, mode: 0o600, resumeKey: key };
    const sink = await copy.to.openSink(copy.toName, options);
    let isCommitted = false;
    let isSound = false;
    try {
      isSound = sink.keptBytes > 0;
      await requireSpace(copy, source.size, sink.keptBytes);
      const from = await comparedBytes(source, sink);
      isSound = true;
      tries.begunAt = Math.min(tries.begunAt, from);
      if (from !== tries.told) conduct.found(from - tries.told);
      tries.told = from;
      const moved = (bytes: number) => {
        tries.told += bytes;
        conduct.moved(bytes);
      };
      await moveBytes(source, sink, from, { ...conduct, moved });
      await requireSame(source, sink, copy, conduct);
      conduct.signal.throwIfAborted();
      isSound = false;
      await sink.commit(copy.attributes(source), source.size);
      isCommitted = true;
      conduct.unfinished.delete(unfinished);
      return { size: source.size, movedBytes: source.size - tries.begunAt };
    } catch (error) {
      // If a connection or a permission was lost, what has arrived is still good.
      if (error instanceof TransferError && ofContent.has(error.reason)) isSound = false;
      throw error;
    } finally {
      if (!isCommitted) {
        const isKept = isSound && key !== undefined;
        await sink.discard(isKept);
        if (isKept) conduct.unfinished.set(unfinished, copy.toName);
        else conduct.unfinished.delete(unfinished);
      }
    }
  } finally {
    if (key !== undefined) inUse.delete(key);
  }
}

/** Returns the key by which a later copy of the same file to the same place finds what this one left. */
function keyOf(source: Source, copy: FileCopy, { resume, ends }: Conduct): string | undefined {
  if (!resume || source.size < resumeBytes) return undefined;
  const { from, fromName, to, toName } = copy;
  const key = JSON.stringify([ends, from.path, fromName, to.path, toName, source.size, source.mtimeS]);
  return inUse.has(key) ? undefined : key;
}

async function requireSpace({ to, toName }: FileCopy, size: number, keptBytes: number): Promise<void> {
  if (size < spaceBytes) return;
  const free = await to.freeBytes();
  if (free === undefined || free >= size - keptBytes) return;
  throw new TransferError({
    reason: 'no_space',
    message: `${shownPath(toName)} has ${size} bytes, and ${shownPath(to.path)} has ${free} left.`,
    advice: 'Free space there, or choose another place.',
  });
}

/**
 * Returns how many bytes left by an earlier try match the source. The last chunks are not counted: they may have
 * arrived in any order, leaving holes.
 */
async function comparedBytes(source: Source, sink: Sink): Promise<number> {
  const length = Math.min(sink.keptBytes - chunksInFlight * chunkBytes, source.size);
  if (length < chunkBytes) return 0;
  const [ours, theirs] = await Promise.all([source.hash(length), sink.hash(length)]);
  return ours === theirs ? length : 0;
}

async function moveBytes(source: Source, sink: Sink, from: number, conduct: Conduct): Promise<void> {
  const { size } = source;
  let next = from;
  let hasFailed = false;
  const carryOne = async (buffer: Buffer) => {
    conduct.signal.throwIfAborted();
    // Others may have taken the last chunks while this one waited for a buffer.
    if (next >= size || hasFailed) return;
    const position = next;
    const length = Math.min(chunkBytes, size - position);
    next += length;
    const got = await source.read(buffer, length, position);
    if (got < length) throw changedMeanwhile();
    await conduct.rateLimit?.take(length, conduct.signal);
    await sink.write(buffer, length, position);
    conduct.moved(length);
  };
  const carry = async () => {
    while (next < size && !hasFailed) {
      const buffer = await conduct.buffers.take();
      try {
        await carryOne(buffer);
      } catch (error) {
        hasFailed = true;
        throw error;
      } finally {
        conduct.buffers.give(buffer);
      }
    }
  };
  const carriers = Math.min(chunksInFlight, Math.ceil((size - from) / chunkBytes));
  // Wait for all of them, even if one has failed: nothing may be in progress when the file is closed.
  const ends = await Promise.allSettled(Array.from({ length: carriers }, carry));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

async function requireSame(
  source: Source,
  sink: Sink,
  { toName }: FileCopy,
  { verify }: Conduct,
): Promise<void> {
  if (await source.hasChanged()) throw changedMeanwhile();
  if (verify === 'size') return;
  const [ours, theirs] = await Promise.all([source.hash(source.size), sink.hash(source.size)]);
  if (ours === theirs) return;
  throw new TransferError({
    reason: 'checksum_mismatch',
    message: `${shownPath(toName)} has arrived with a different SHA-256 from the one it was sent with.`,
    advice: 'Check the disks and the memory of both machines, and whether something else writes there.',
    retryable: true,
  });
}

function changedMeanwhile(): TransferError {
  return new TransferError({
    reason: 'file_changed',
    message: 'The file changed while it was read.',
    advice: 'Transfer a copy of it, or at a time when nothing writes to it.',
    retryable: true,
  });
}
