// Chunks of one attempt on disk, in one append-only file. A record is a head (SHA-256 of the stored bytes, frame length,
// CRC-32 of all that and the frame's header), followed by the binary frame as it is sent. A file that continues another
// one begins with what comes before it, so that the other one can be removed.
import { createHash } from 'node:crypto';
import {
  close,
  closeSync,
  fdatasync,
  ftruncate,
  open,
  openSync,
  read,
  unlinkSync,
  writev,
  writevSync,
} from 'node:fs';
import { unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import {
  decodeFrame,
  encodeFrameHeader,
  frameHeaderBytes,
  limits,
  type OutputFrame,
  type OutputPosition,
  positionOf,
} from '@opsconductor/protocol';
import { isMissing } from '../identity/durable-file.ts';
import type { SpareFiles } from './spare-files.ts';

const openFile = promisify(open);
const readFrom = promisify(read);
const writeTo = promisify(writev);
const syncFile = promisify(fdatasync);
const truncateFile = promisify(ftruncate);
const closeFile = promisify(close);

const headBytes = 40;
const newest = 1; // the record layout; a file with another layout is not read
const baseRecord = 2;

export interface SpooledChunk {
  seq: number;
  stream: OutputFrame['stream'];
  rawLength: number;
  /** Digest of the stored bytes. */
  sha256: Buffer;
  /** Position in the file of the frame (header and stored bytes). */
  offset: number;
  frameBytes: number;
  /** Where the chunk ends in the command's output, if that is tracked. */
  position?: OutputPosition | undefined;
}

/**
 * Up to this size, a write to the page cache takes less time than handing over to a thread, and readers wait for it.
 */
const writtenAtOnceBytes = 4 * 1024;

/** Emptying a larger file takes longer, and is better done on another thread. */
const mostReusedBytes = 64 * 1024;

/** What comes before the first chunk of a file. */
export interface SpoolBase {
  /** Number of the last chunk before it. */
  seq: number;
  /** Raw bytes of both streams up to there. */
  rawBytes: number;
  /** The same of each stream, if this agent has read it from its beginning. */
  streamBytes?: Record<OutputFrame['stream'], number> | undefined;
  /** Digest chain up to there, base64. */
  digest: string;
  /** Where that ends in the command's output, if that is tracked. */
  position?: OutputPosition | undefined;
}

/** A chunk that is ready to be stored. */
export interface NewChunk {
  header: Omit<OutputFrame, 'bytes'>;
  /** Compressed with gzip. */
  bytes: Buffer;
}

export class SpoolFile {
  readonly #path: string;
  /** The descriptor, once there is a file. */
  #file: number | undefined;
  #end: number;
  readonly #spares: Pick<SpareFiles, 'take' | 'giveBack'> | undefined;
  readonly #reading = new Set<Promise<unknown>>();
  /** The record of what comes before its first chunk, until it is written with that. */
  #baseRecord: Buffer | undefined;
  /** Whether a chunk has come. */
  #isWritten = false;
  /** Why nothing can be stored. */
  #refusal: Error | undefined;

  private constructor(
    path: string,
    file: number | undefined,
    { end, spares }: { end: number; spares?: Pick<SpareFiles, 'take' | 'giveBack'> | undefined },
  ) {
    this.#path = path;
    this.#file = file;
    this.#end = end;
    this.#spares = spares;
  }

  /**
   * Returns a new file. It is created, or a spare one taken, at the first chunk: many attempts print nothing.
   *
   * @param base what comes before it, if it is not an attempt's first file.
   */
  static create(
    path: string,
    { spares, base }: { spares?: Pick<SpareFiles, 'take' | 'giveBack'> | undefined; base?: SpoolBase } = {},
  ): SpoolFile {
    const file = new SpoolFile(path, undefined, { end: 0, spares });
    if (base !== undefined) file.#baseRecord = encodeBase(base);
    return file;
  }

  /** Returns a file that stores nothing and fails with this error: what is in its place stays as it is. */
  static refusing(path: string, error: Error): SpoolFile {
    const file = new SpoolFile(path, undefined, { end: 0 });
    file.#refusal = error;
    return file;
  }

  /**
   * Reads a file that another process left. A torn or damaged record is cut off, with everything after it.
   *
   * @param firstSeq number of the first chunk in the file.
   * @throws the error of the disk if the file can't be read; it stays as it is.
   */
  static async recover(
    path: string,
    firstSeq = 1,
  ): Promise<{ file: SpoolFile; chunks: SpooledChunk[]; base?: SpoolBase | undefined }> {
    let file: number;
    try {
      file = await openFile(path, 'r+');
    } catch (error) {
      if (isMissing(error)) return { file: SpoolFile.create(path), chunks: [] };
      throw error;
    }
    const chunks: SpooledChunk[] = [];
    let end = 0;
    let base: SpoolBase | undefined;
    try {
      ({ base, end } = await readBase(file));
      for (;;) {
        const found = await readRecord(file, end);
        if (found === undefined || found.chunk.seq !== firstSeq + chunks.length) break;
        chunks.push(found.chunk);
        end = found.end;
      }
      await truncateFile(file, end);
    } catch (error) {
      await closeFile(file).catch(() => undefined);
      throw error;
    }
    return { file: new SpoolFile(path, file, { end }), chunks, base };
  }

  /** Whether what comes before it is not on disk yet. Then the files before it are needed. */
  get lacksBase(): boolean {
    return this.#baseRecord !== undefined;
  }

  /**
   * Writes what comes before it now, and not with the first chunk. Must not be called during an append.
   *
   * @throws the error of the disk. Then there is no such file, and the first chunk may still come.
   */
  writeBase(): void {
    const record = this.#baseRecord;
    if (record === undefined) return;
    this.#file ??= openSync(this.#path, 'w+', 0o600);
    try {
      const written = writevSync(this.#file, [record], 0);
      if (written < record.length) throw new Error(`The disk took only ${written} bytes of ${this.#path}`);
    } catch (error) {
      closeSync(this.#file);
      this.#file = undefined;
      unlinkSync(this.#path);
      throw error;
    }
    this.#end = record.length;
    this.#baseRecord = undefined;
  }

  /** Appends chunks in one write, and returns where they are. */
  async append(chunks: readonly NewChunk[]): Promise<{ chunk: SpooledChunk; frame: Buffer }[]> {
    const parts: Buffer[] = this.#baseRecord === undefined ? [] : [this.#baseRecord];
    let offset = this.#end + (this.#baseRecord?.length ?? 0);
    const placed = chunks.map(({ header, bytes }) => {
      const sha256 = createHash('sha256').update(bytes).digest();
      const record = encodeRecord(header, bytes, sha256);
      const frame = record.subarray(headBytes);
      parts.push(record);
      const { seq, stream, rawLength } = header;
      const place = { offset: offset + headBytes, frameBytes: frame.length };
      const chunk = { seq, stream, rawLength, sha256, ...place, position: positionOf(bytes) };
      offset += record.length;
      return { chunk, frame };
    });
    await this.#write(parts, offset - this.#end);
    this.#end = offset;
    this.#baseRecord = undefined;
    return placed;
  }

  /**
   * Takes a spare file before the first chunk comes, if there is one. Later it would replace the file that is being
   * created.
   */
  takeSpare(): void {
    if (!this.#isWritten) this.#file ??= this.#spares?.take(this.#path);
  }

  async #write(parts: readonly Buffer[], bytes: number): Promise<void> {
    if (this.#refusal !== undefined) throw this.#refusal;
    this.takeSpare();
    this.#isWritten = true;
    try {
      await this.#writeAtEnd(parts, bytes);
    } catch (error) {
      // What a full disk took of it would be in the way of something smaller.
      if (this.#file !== undefined) await truncateFile(this.#file, this.#end).catch(() => undefined);
      throw error;
    }
  }

  async #writeAtEnd(parts: readonly Buffer[], bytes: number): Promise<void> {
    if (bytes > writtenAtOnceBytes) {
      this.#file ??= await openFile(this.#path, 'w+', 0o600);
      await writeAll(this.#file, parts, this.#end);
      return;
    }
    this.#file ??= openSync(this.#path, 'w+', 0o600);
    const written = writevSync(this.#file, parts, this.#end);
    if (written < bytes) await writeAll(this.#file, cutFront(parts, written), this.#end + written);
  }

  /** Reads the binary frame of a chunk. */
  async readFrame(chunk: SpooledChunk): Promise<Buffer> {
    if (this.#file === undefined) throw new Error('A spool without a file has no chunks');
    const frame = Buffer.allocUnsafe(chunk.frameBytes);
    const reading = readFrom(this.#file, frame, 0, frame.length, chunk.offset);
    this.#reading.add(reading);
    const { bytesRead } = await reading.finally(() => this.#reading.delete(reading));
    if (bytesRead !== frame.length) throw new Error(`Spool file ${this.#path} is shorter than it was`);
    return frame;
  }

  /** Resolves when everything that was appended is on disk. */
  async sync(): Promise<void> {
    if (this.#file !== undefined) await syncFile(this.#file);
  }

  get bytes(): number {
    return this.#end;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) await closeFile(file);
  }

  /**
   * Removes the file and closes it, or makes it a spare one.
   *
   * @throws the error of the disk; the file is still there and open.
   */
  async remove(): Promise<void> {
    // Whoever still reads it must not be given what another attempt writes there.
    while (this.#reading.size > 0) await Promise.allSettled(this.#reading);
    if (this.#file === undefined) return;
    if (this.#end <= mostReusedBytes && this.#spares?.giveBack(this.#path, this.#file)) {
      this.#file = undefined;
      return;
    }
    await unlink(this.#path).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
    await this.close();
  }
}

function encodeRecord(header: NewChunk['header'], bytes: Buffer, sha256: Buffer): Buffer {
  const frameBytes = frameHeaderBytes + bytes.length;
  const record = Buffer.allocUnsafe(headBytes + frameBytes);
  sha256.copy(record, 0);
  record.writeUInt8(newest, 32);
  record.writeUIntBE(frameBytes, 33, 3);
  record.set(encodeFrameHeader(header), headBytes);
  record.writeUInt32BE(recordChecksum(record), 36);
  bytes.copy(record, headBytes + frameHeaderBytes);
  return record;
}

function encodeBase(base: SpoolBase): Buffer {
  const json = Buffer.from(JSON.stringify(base));
  const record = Buffer.alloc(headBytes + json.length);
  createHash('sha256').update(json).digest().copy(record, 0);
  record.writeUInt8(baseRecord, 32);
  record.writeUIntBE(json.length, 33, 3);
  record.writeUInt32BE(crc32(record.subarray(0, 36)), 36);
  json.copy(record, headBytes);
  return record;
}

/** Returns what the file says that comes before it, if it does, and where its chunks begin. */
async function readBase(file: number): Promise<{ base?: SpoolBase; end: number }> {
  const head = Buffer.alloc(headBytes);
  if ((await readFrom(file, head, 0, headBytes, 0)).bytesRead !== headBytes) return { end: 0 };
  if (head.readUInt8(32) !== baseRecord || head.readUInt32BE(36) !== crc32(head.subarray(0, 36)))
    return { end: 0 };
  const json = Buffer.alloc(head.readUIntBE(33, 3));
  const { bytesRead } = await readFrom(file, json, 0, json.length, headBytes);
  const sha256 = createHash('sha256').update(json).digest();
  if (bytesRead !== json.length || !sha256.equals(head.subarray(0, 32))) return { end: 0 };
  return { base: JSON.parse(json.toString()) as SpoolBase, end: headBytes + json.length };
}

function recordChecksum(record: Buffer): number {
  return crc32(record.subarray(headBytes, headBytes + frameHeaderBytes), crc32(record.subarray(0, 36)));
}

async function readRecord(
  file: number,
  at: number,
): Promise<{ chunk: SpooledChunk; end: number } | undefined> {
  const head = Buffer.alloc(headBytes + frameHeaderBytes);
  if ((await readFrom(file, head, 0, head.length, at)).bytesRead !== head.length) return undefined;
  if (head.readUInt8(32) !== newest || head.readUInt32BE(36) !== recordChecksum(head)) return undefined;
  const frameBytes = head.readUIntBE(33, 3);
  const frame = Buffer.allocUnsafe(frameBytes);
  const offset = at + headBytes;
  if ((await readFrom(file, frame, 0, frameBytes, offset)).bytesRead !== frameBytes) return undefined;
  const read = decodeFrame(frame, limits.maxChunkRawBytes);
  if (read === undefined) return undefined;
  const sha256 = createHash('sha256').update(read.bytes).digest();
  if (!sha256.equals(head.subarray(0, 32))) return undefined;
  const { seq, stream, rawLength } = read;
  const chunk = { seq, stream, rawLength, sha256, offset, frameBytes, position: positionOf(read.bytes) };
  return { chunk, end: offset + frameBytes };
}

async function writeAll(file: number, parts: readonly Buffer[], at: number): Promise<void> {
  let rest = parts;
  let position = at;
  while (rest.length > 0) {
    const { bytesWritten } = await writeTo(file, rest, position);
    position += bytesWritten;
    rest = cutFront(rest, bytesWritten);
  }
}

/** Returns the parts without this many bytes at their beginning. */
function cutFront(parts: readonly Buffer[], bytes: number): readonly Buffer[] {
  let left = bytes;
  const at = parts.findIndex((part) => {
    if (left < part.length) return true;
    left -= part.length;
    return false;
  });
  const first = parts[at];
  return first === undefined ? [] : [first.subarray(left), ...parts.slice(at + 1)];
}
