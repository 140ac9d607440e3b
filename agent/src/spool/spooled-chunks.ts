// The chunks of one attempt that are on disk, in the order of their numbers: how far the server has been sent them, how
// far it has confirmed them, and what each is sent as. All of them are kept until the attempt's end is confirmed, unless
// the disk is nearly full: a server that was restored from a backup may need them again.
import { frameHeaderBytes, limits, type OutputPosition } from '@opsconductor/protocol';
import type { OutputStream } from '../steps/step-type.ts';
import { decompress } from './compress.ts';
import { DigestChain } from './digest-chain.ts';
import type { Spool } from './spool.ts';
import type { NewChunk, SpoolBase, SpooledChunk } from './spool-file.ts';

/** Size of the stored frames that stay in memory for sending; others are read back from the file. */
const maxCachedFrameBytes = 1024 * 1024;

export class SpooledChunks {
  readonly #spool: Spool;
  /** What comes before the chunks here: another agent sent it, or it was removed. */
  #base: SpoolBase | undefined;
  readonly #chunks: SpooledChunk[] = [];
  readonly #chain: DigestChain;
  #rawBytes: number;
  /** Raw bytes of each stream, if its beginning was here. */
  readonly #streamBytes: Record<OutputStream, number> | undefined;
  readonly #keepsEnds: boolean;
  /** Numbers of the chunks that are being read back to be sent. */
  readonly #reading = new Set<number>();
  #isAppending = false;
  #releasing: Promise<number> | undefined;
  #isClosed = false;
  readonly #cachedFrames = new Map<number, Buffer>();
  #cachedFrameBytes = 0;
  #ackedSeq: number;
  #sentSeq: number;
  #unackedBytes = 0;

  /**
   * @param recovered what the spool holds already.
   * @param base what the server has already; the chunks here continue it.
   * @param keepsEnds whether the ends of the streams are still to be read back.
   */
  constructor(
    spool: Spool,
    {
      recovered = [],
      base,
      keepsEnds = false,
    }: { recovered?: readonly SpooledChunk[]; base?: SpoolBase | undefined; keepsEnds?: boolean } = {},
  ) {
    this.#spool = spool;
    this.#base = base;
    this.#ackedSeq = this.baseSeq;
    this.#sentSeq = this.baseSeq;
    this.#rawBytes = base?.rawBytes ?? 0;
    this.#streamBytes = base === undefined ? { stdout: 0, stderr: 0 } : copyOf(base.streamBytes);
    this.#chain = new DigestChain(base?.digest);
    this.#keepsEnds = keepsEnds;
    for (const chunk of recovered) this.#register(chunk);
  }

  /** Number of the last chunk that is not here any more or never was; those here are numbered from the next one. */
  get baseSeq(): number {
    return this.#base?.seq ?? 0;
  }

  get lastSeq(): number {
    return this.baseSeq + this.#chunks.length;
  }

  get rawBytes(): number {
    return this.#rawBytes;
  }

  /** Digest chain over chunks 1 to `lastSeq`, base64. */
  get digest(): string {
    return this.#chain.base64;
  }

  /** Size of the files. */
  get storedBytes(): number {
    return this.#spool.bytes;
  }

  /** Bytes that the server has not confirmed, sent or not. */
  get unackedBytes(): number {
    return this.#unackedBytes;
  }

  /** Where the last chunk ends in the command's output, if that is tracked. */
  get position(): OutputPosition | undefined {
    return this.#chunks.at(-1)?.position ?? this.#base?.position;
  }

  /** Where the last confirmed chunk ends in the command's output, if that is tracked. */
  get ackedPosition(): OutputPosition | undefined {
    return this.#chunk(this.#ackedSeq)?.position ?? this.#base?.position;
  }

  // ---- storing

  /** Takes the spare file if there is one, so that the first chunk needn't wait for that. */
  expect(): void {
    this.#spool.takeSpare();
  }

  /** Returns whether a new file was begun for them. */
  async append(chunks: readonly NewChunk[]): Promise<{ beganPart: boolean }> {
    const beganPart = this.#spool.isPartFull;
    if (beganPart) this.#spool.beginPart(this.#nextBase());
    this.#isAppending = true;
    try {
      for (const { chunk, frame } of await this.#spool.append(chunks)) {
        this.#register(chunk);
        if (this.#cachedFrameBytes + frame.length <= maxCachedFrameBytes) {
          this.#cachedFrames.set(chunk.seq, frame);
          this.#cachedFrameBytes += frame.length;
        }
      }
    } finally {
      this.#isAppending = false;
    }
    return { beganPart };
  }

  /**
   * Removes chunks that the server has confirmed, as far as they fill files and nothing here needs them. They can't be
   * sent again. Returns how many bytes that frees. Must not be called again before it resolves.
   *
   * @throws an error of the disk if nothing could be removed; nothing is lost.
   */
  async release(): Promise<number> {
    if (this.#isClosed) return 0;
    this.#releasing = this.#release();
    return await this.#releasing;
  }

  async #release(): Promise<number> {
    const bytes = await this.#removeConfirmed();
    const isAll = this.#confirmedUpTo() === this.lastSeq && this.#chunks.length > 0 && !this.#isAppending;
    if (!isAll || !this.#spool.isEndWorthReleasing) return bytes;
    // Only now: on a full disk, there is room for this once the others are gone.
    try {
      this.#spool.beginPartOnDisk(this.#nextBase());
      return bytes + (await this.#removeConfirmed());
    } catch (error) {
      if (bytes === 0) throw error;
      return bytes;
    }
  }

  async #removeConfirmed(): Promise<number> {
    const base = this.#spool.releaseUpTo(this.#confirmedUpTo());
    if (base !== undefined) {
      this.#chunks.splice(0, base.seq - this.baseSeq);
      this.#base = base;
    }
    return await this.#spool.removeReleased();
  }

  /** Number of the last chunk that the server has confirmed and that nothing here needs, nor any before it. */
  #confirmedUpTo(): number {
    return Math.min(this.#ackedSeq, this.#neededFrom() - 1);
  }

  /** Nothing more is released from here on. Resolves when what is being released is gone; never rejects. */
  async #released(): Promise<void> {
    this.#isClosed = true;
    await this.#releasing?.catch(() => undefined);
  }

  /** Number of the first chunk that is being read, or that the end of a stream may still be read from. */
  #neededFrom(): number {
    let first = Math.min(this.lastSeq + 1, ...this.#reading);
    if (!this.#keepsEnds) return first;
    for (const stream of ['stdout', 'stderr'] as const) {
      let bytes = 0;
      for (let at = this.#chunks.length - 1; at >= 0 && bytes < limits.maxOutputDocumentBytes; at -= 1) {
        const chunk = this.#chunks[at];
        if (chunk?.stream !== stream) continue;
        bytes += chunk.rawLength;
        first = Math.min(first, chunk.seq);
      }
    }
    return first;
  }

  #nextBase(): SpoolBase {
    const { lastSeq: seq, rawBytes, digest, position } = this;
    return { seq, rawBytes, digest, position, streamBytes: copyOf(this.#streamBytes) };
  }

  /** Resolves when all chunks are on disk. */
  async sync(): Promise<void> {
    if (this.#chunks.length > 0) await this.#spool.sync();
  }

  /** Leaves the files for the next process. */
  async close(): Promise<void> {
    await this.#released();
    await this.#spool.close();
  }

  /** Removes the files. */
  async remove(): Promise<void> {
    await this.#released();
    await this.#spool.remove();
  }

  // ---- sending

  get hasUnsent(): boolean {
    return this.#sentSeq < this.lastSeq;
  }

  /** Size of the next frame to send. */
  get nextFrameBytes(): number {
    return this.#chunk(this.#sentSeq + 1)?.frameBytes ?? 0;
  }

  /** Returns the next frame to send, which counts as sent from now on. */
  takeFrame(): Buffer | Promise<Buffer> {
    const chunk = this.#chunk(this.#sentSeq + 1);
    if (chunk === undefined) throw new Error('There is no chunk to send');
    this.#sentSeq = chunk.seq;
    const cached = this.#cachedFrames.get(chunk.seq);
    if (cached === undefined) return this.#readBack(chunk);
    this.#dropCached(chunk.seq);
    return cached;
  }

  /** Notes that the server has stored everything up to `seq`. Returns how many bytes in flight that confirms. */
  acknowledge(seq: number): number {
    let confirmed = 0;
    for (let at = this.#ackedSeq + 1; at <= Math.min(seq, this.lastSeq); at++) {
      const { frameBytes = 0 } = this.#chunk(at) ?? {};
      this.#unackedBytes -= frameBytes;
      if (at <= this.#sentSeq) confirmed += frameBytes;
      this.#dropCached(at);
    }
    this.#ackedSeq = Math.max(this.#ackedSeq, Math.min(seq, this.lastSeq));
    this.#sentSeq = Math.max(this.#sentSeq, this.#ackedSeq);
    return confirmed;
  }

  /** Bytes that were sent and not acknowledged. */
  get inFlightBytes(): number {
    let bytes = 0;
    for (let at = this.#ackedSeq + 1; at <= this.#sentSeq; at++) bytes += this.#chunk(at)?.frameBytes ?? 0;
    return bytes;
  }

  /**
   * Sends again from `seq` or from the first chunk that is here, on a new connection or when the server lacks chunks.
   */
  sendFrom(seq: number): void {
    const first = Math.max(seq, this.baseSeq + 1);
    for (let at = first; at <= this.#ackedSeq; at++) this.#unackedBytes += this.#chunk(at)?.frameBytes ?? 0;
    this.#ackedSeq = Math.min(this.#ackedSeq, first - 1);
    this.#sentSeq = Math.min(first - 1, this.lastSeq);
  }

  // ---- reading back

  async #readBack(chunk: SpooledChunk): Promise<Buffer> {
    this.#reading.add(chunk.seq);
    try {
      return await this.#spool.readFrame(chunk);
    } finally {
      this.#reading.delete(chunk.seq);
    }
  }

  /** Returns the end of a stream, at most `maxBytes` long. Only if `keepsEnds` is all of it sure to be here. */
  async endOf(stream: OutputStream, maxBytes: number): Promise<{ bytes: Buffer; isWhole: boolean }> {
    const parts: Buffer[] = [];
    let bytes = 0;
    let isWhole = this.#base === undefined || this.#base.streamBytes?.[stream] === 0;
    const latestFirst = this.#chunks.filter((chunk) => chunk.stream === stream).reverse();
    for (const chunk of latestFirst) {
      if (bytes >= maxBytes) {
        isWhole = false;
        break;
      }
      const frame = await this.#spool.readFrame(chunk);
      parts.unshift(await decompress(frame.subarray(frameHeaderBytes)));
      bytes += chunk.rawLength;
    }
    const end = Buffer.concat(parts);
    if (end.length <= maxBytes) return { bytes: end, isWhole };
    return { bytes: end.subarray(end.length - maxBytes), isWhole: false };
  }

  #chunk(seq: number): SpooledChunk | undefined {
    return this.#chunks[seq - 1 - this.baseSeq];
  }

  #register(chunk: SpooledChunk): void {
    this.#chunks.push(chunk);
    this.#chain.add(chunk);
    this.#rawBytes += chunk.rawLength;
    if (this.#streamBytes !== undefined) this.#streamBytes[chunk.stream] += chunk.rawLength;
    this.#unackedBytes += chunk.frameBytes;
  }

  #dropCached(seq: number): void {
    this.#cachedFrameBytes -= this.#cachedFrames.get(seq)?.length ?? 0;
    this.#cachedFrames.delete(seq);
  }
}

function copyOf<T extends object>(value: T | undefined): T | undefined {
  return value === undefined ? undefined : { ...value };
}
