// The chunks of one attempt that are on disk, in the order of their numbers: how far the server has been sent them, how
// far it has confirmed them, and what each is sent as. All of them are kept until the attempt's end is confirmed.
import { frameHeaderBytes, type OutputPosition, type StoredOutput } from '@opsconductor/protocol';
import type { OutputStream } from '../steps/step-type.ts';
import { decompress } from './compress.ts';
import { DigestChain } from './digest-chain.ts';
import type { NewChunk, SpooledChunk, SpoolFile } from './spool-file.ts';

/** Size of the stored frames that stay in memory for sending; others are read back from the file. */
const maxCachedFrameBytes = 1024 * 1024;

export class SpooledChunks {
  readonly #file: SpoolFile;
  readonly #before: StoredOutput | undefined;
  /** Number of the last chunk that another agent sent; the chunks here are numbered from the next one. */
  readonly #baseSeq: number;
  readonly #chunks: SpooledChunk[] = [];
  readonly #chain: DigestChain;
  #rawBytes: number;
  readonly #cachedFrames = new Map<number, Buffer>();
  #cachedFrameBytes = 0;
  #ackedSeq: number;
  #sentSeq: number;
  #unackedBytes = 0;

  /**
   * @param recovered what the file holds already.
   * @param before what the server has from another agent; the chunks here continue it.
   */
  constructor(file: SpoolFile, recovered: readonly SpooledChunk[] = [], before?: StoredOutput) {
    this.#file = file;
    this.#before = before;
    this.#baseSeq = before?.seq ?? 0;
    this.#ackedSeq = this.#baseSeq;
    this.#sentSeq = this.#baseSeq;
    this.#rawBytes = before?.rawBytes ?? 0;
    this.#chain = new DigestChain(before?.digest);
    for (const chunk of recovered) this.#register(chunk);
  }

  get lastSeq(): number {
    return this.#baseSeq + this.#chunks.length;
  }

  get rawBytes(): number {
    return this.#rawBytes;
  }

  /** Digest chain over chunks 1 to `lastSeq`, base64. */
  get digest(): string {
    return this.#chain.base64;
  }

  /** Size of the file. */
  get storedBytes(): number {
    return this.#file.bytes;
  }

  /** Bytes that the server has not confirmed, sent or not. */
  get unackedBytes(): number {
    return this.#unackedBytes;
  }

  /** Where the last chunk ends in the command's output, if that is tracked. */
  get position(): OutputPosition | undefined {
    return this.#chunks.at(-1)?.position ?? this.#before?.position;
  }

  /** Where the last confirmed chunk ends in the command's output, if that is tracked. */
  get ackedPosition(): OutputPosition | undefined {
    return this.#chunk(this.#ackedSeq)?.position ?? this.#before?.position;
  }

  // ---- storing

  /** Takes the spare file if there is one, so that the first chunk needn't wait for that. */
  expect(): void {
    this.#file.takeSpare();
  }

  async append(chunks: readonly NewChunk[]): Promise<void> {
    for (const { chunk, frame } of await this.#file.append(chunks)) {
      this.#register(chunk);
      if (this.#cachedFrameBytes + frame.length <= maxCachedFrameBytes) {
        this.#cachedFrames.set(chunk.seq, frame);
        this.#cachedFrameBytes += frame.length;
      }
    }
  }

  /** Resolves when all chunks are on disk. */
  async sync(): Promise<void> {
    if (this.#chunks.length > 0) await this.#file.sync();
  }

  /** Leaves the file for the next process. */
  close(): Promise<void> {
    return this.#file.close();
  }

  /** Removes the file. */
  remove(): Promise<void> {
    return this.#file.remove();
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
    if (cached === undefined) return this.#file.readFrame(chunk);
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
    const first = Math.max(seq, this.#baseSeq + 1);
    for (let at = first; at <= this.#ackedSeq; at++) this.#unackedBytes += this.#chunk(at)?.frameBytes ?? 0;
    this.#ackedSeq = Math.min(this.#ackedSeq, first - 1);
    this.#sentSeq = Math.min(first - 1, this.lastSeq);
  }

  // ---- reading back

  /** Returns the end of a stream, at most `maxBytes` long. */
  async endOf(stream: OutputStream, maxBytes: number): Promise<{ bytes: Buffer; isWhole: boolean }> {
    const parts: Buffer[] = [];
    let bytes = 0;
    let isWhole = this.#baseSeq === 0;
    for (let at = this.#chunks.length - 1; at >= 0; at -= 1) {
      const chunk = this.#chunks[at];
      if (chunk === undefined || chunk.stream !== stream) continue;
      if (bytes >= maxBytes) {
        isWhole = false;
        break;
      }
      const frame = await this.#file.readFrame(chunk);
      parts.unshift(await decompress(frame.subarray(frameHeaderBytes)));
      bytes += chunk.rawLength;
    }
    const end = Buffer.concat(parts);
    if (end.length <= maxBytes) return { bytes: end, isWhole };
    return { bytes: end.subarray(end.length - maxBytes), isWhole: false };
  }

  #chunk(seq: number): SpooledChunk | undefined {
    return this.#chunks[seq - 1 - this.#baseSeq];
  }

  #register(chunk: SpooledChunk): void {
    this.#chunks.push(chunk);
    this.#chain.add(chunk);
    this.#rawBytes += chunk.rawLength;
    this.#unackedBytes += chunk.frameBytes;
  }

  #dropCached(seq: number): void {
    this.#cachedFrameBytes -= this.#cachedFrames.get(seq)?.length ?? 0;
    this.#cachedFrames.delete(seq);
  }
}
