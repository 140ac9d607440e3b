// An attempt's output on its way from the step type to the server: gathered, masked, numbered, compressed, stored, and
// kept until the attempt's end is confirmed. Memory is bounded here, so that a slow server slows the target.
import {
  frameHeaderBytes,
  limits,
  type OutputPosition,
  type StoredOutput,
  startOfOutput,
  withPosition,
} from '@opsconductor/protocol';
import type { KeptOutput, OutputSink, OutputStream } from '../steps/step-type.ts';
import { compress, decompress } from './compress.ts';
import { DigestChain } from './digest-chain.ts';
import { GatherBlock } from './gather-block.ts';
import type { Masking } from './masking.ts';
import { PositionCounter } from './position-counter.ts';
import type { Redactor } from './redactor.ts';
import type { SpooledChunk, SpoolFile } from './spool-file.ts';

/** How long bytes of a busy command may wait for more to come. */
const gatherMs = 40;
/** Size of the stored frames that stay in memory for sending; others are read back from the file. */
const maxCachedFrameBytes = 1024 * 1024;

export interface OutputLimits {
  maxChunkRawBytes: number;
  maxGatheredBytes: number;
  maxSpoolBytesPerAttempt: number;
  maxOutputBytesPerAttempt: number;
}

export interface OutputOptions {
  step: number;
  epoch: number;
  file: SpoolFile;
  /** Called when there is something new to send. */
  onStored(): void;
  /** Called once when the disk refuses: output from here on is lost, but the command goes on. */
  onStorageFailure(error: unknown): void;
  monotonicMs(): number;
  limits?: Partial<OutputLimits>;
  /** What the server has from another agent; this agent's chunks continue it. */
  before?: StoredOutput | undefined;
}

/** What is reported about an attempt's output when it ends. */
export interface OutputSummary {
  lastSeq: number;
  rawBytes: number;
  truncated: boolean;
}

/** The end of a stream. */
export interface StreamEnd {
  bytes: Buffer;
  /** Whether there is nothing before it. */
  isWhole: boolean;
  /** Whether more came after it that was not kept. */
  isCut: boolean;
}

interface SealedChunk {
  stream: OutputStream;
  seq: number;
  rawLength: number;
  elapsedMs: number;
  bytes: Buffer | undefined;
  compressed: Promise<void>;
}

export class AttemptOutput implements OutputSink {
  readonly step: number;
  readonly epoch: number;
  readonly #options: OutputOptions;
  #limits: OutputLimits;
  readonly #file: SpoolFile;
  #redactors: Record<OutputStream, Redactor> | undefined;

  /** Set if the output is also kept at its source, where a later process can read on. */
  #counter: PositionCounter | undefined;
  readonly #recovered: OutputPosition | undefined;
  #onCut: (() => void) | undefined;
  readonly kept: KeptOutput = {
    follow: () => {
      this.#counter ??= new PositionCounter(this.#recovered ?? startOfOutput);
    },
    written: () => this.#counter?.written ?? { stdout: 0, stderr: 0 },
    confirmed: () => this.#confirmed(),
  };

  #beganAtMs: number | undefined;
  #block: GatherBlock | undefined;
  #gatherStream: OutputStream = 'stdout';
  #gatherBeganMs = 0;
  #sealedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #sealSoon: NodeJS.Immediate | undefined;

  #nextSeq = 1;
  #acceptedBytes = 0;
  #truncated = false;
  #failure: Error | undefined;
  #discarding = false;
  readonly #sealed: SealedChunk[] = [];
  #sealedRawBytes = 0;
  #storing: Promise<void> | undefined;

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
  #drainWaiters: (() => void)[] = [];

  constructor(options: OutputOptions, recovered: readonly SpooledChunk[] = []) {
    this.step = options.step;
    this.epoch = options.epoch;
    this.#options = options;
    this.#limits = { ...limits, ...options.limits };
    this.#file = options.file;
    const { before } = options;
    this.#baseSeq = before?.seq ?? 0;
    this.#ackedSeq = this.#baseSeq;
    this.#sentSeq = this.#baseSeq;
    this.#rawBytes = before?.rawBytes ?? 0;
    this.#chain = new DigestChain(before?.digest);
    for (const chunk of recovered) this.#register(chunk);
    this.#nextSeq = this.lastSeq + 1;
    this.#recovered = recovered.at(-1)?.position ?? before?.position;
    if (this.#recovered !== undefined)
      this.#acceptedBytes = this.#recovered.stdout.offset + this.#recovered.stderr.offset;
    if (this.#recovered?.cut === true) {
      this.#truncated = true;
      this.#discarding = true;
    }
  }

  // ---- from the step type

  /** Masks these secrets from here on. Called before the first output, once the credential is open. */
  maskSecrets(masking: Masking): void {
    // If reading continues in the middle of a stream, it isn't known how the line began.
    const column = this.#recovered === undefined ? 0 : undefined;
    this.#redactors = {
      stdout: masking.redactor('stdout', { maskedBytes: this.#recovered?.stdout.masked, column }),
      stderr: masking.redactor('stderr', { maskedBytes: this.#recovered?.stderr.masked, column }),
    };
  }

  /** Limits how much is kept, and calls back when the limit is reached. Called before the first output. */
  limit(maxBytes: number | undefined, onReached?: () => void): void {
    const { maxOutputBytesPerAttempt } = this.#limits;
    const least = Math.min(maxBytes ?? maxOutputBytesPerAttempt, maxOutputBytesPerAttempt);
    this.#limits = { ...this.#limits, maxOutputBytesPerAttempt: least };
    this.#onCut = onReached;
    if (this.#truncated) onReached?.();
  }

  /** Elapsed times count from when the command began, `agoMs` before now. */
  begin(agoMs = 0): void {
    this.#beganAtMs = this.#options.monotonicMs() - agoMs;
  }

  write(stream: OutputStream, bytes: Buffer): boolean {
    this.#counter?.took(stream, bytes.length);
    if (this.#discarding) return true;
    const room = this.#limits.maxOutputBytesPerAttempt - this.#acceptedBytes;
    this.#accept(stream, bytes.length <= room ? bytes : bytes.subarray(0, room));
    if (bytes.length > room) this.#cut();
    else this.#scheduleSeal();
    return !this.#full();
  }

  drained(): Promise<void> {
    if (!this.#full()) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /** Ends the output. Resolves when all of it is on disk. */
  async close(): Promise<OutputSummary> {
    if (!this.#discarding) {
      this.#seal();
      for (const stream of ['stdout', 'stderr'] as const) {
        if (this.#redactors === undefined) continue;
        const shown = this.#redactors[stream].end();
        this.#number(stream, shown, undefined, 0);
      }
    }
    this.#stopTimers();
    this.#discarding = true;
    while (this.#storing !== undefined) await this.#storing;
    try {
      if (this.#chunks.length > 0) await this.#file.sync();
    } catch (error) {
      this.#fail(error);
    }
    return { lastSeq: this.lastSeq, rawBytes: this.#rawBytes, truncated: this.#truncated };
  }

  /** Keeps nothing more, because nobody wants this output. */
  discard(): void {
    this.#discarding = true;
    this.#stopTimers();
    this.#block?.release();
    this.#block = undefined;
    this.#wakeProducer();
  }

  // ---- to the server

  /** The error with which the disk refused the output; undefined if it did not. */
  get failure(): Error | undefined {
    return this.#failure;
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

  get storedBytes(): number {
    return this.#file.bytes;
  }

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
    this.#wakeProducer();
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

  #chunk(seq: number): SpooledChunk | undefined {
    return this.#chunks[seq - 1 - this.#baseSeq];
  }

  // ---- reading back

  /** Returns the end of a closed stream as it was kept, masked, at most `maxBytes` long. */
  async endOf(stream: OutputStream, maxBytes: number): Promise<StreamEnd> {
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
    if (end.length <= maxBytes) return { bytes: end, isWhole, isCut: this.#truncated };
    return { bytes: end.subarray(end.length - maxBytes), isWhole: false, isCut: this.#truncated };
  }

  /** Drops everything, in memory and on disk. */
  async remove(): Promise<void> {
    this.discard();
    while (this.#storing !== undefined) await this.#storing;
    await this.#file.remove();
  }

  /** Leaves the file for the next process. */
  async suspend(): Promise<void> {
    this.discard();
    while (this.#storing !== undefined) await this.#storing;
    await this.#file.close();
  }

  // ---- gathering

  #accept(stream: OutputStream, bytes: Buffer): void {
    this.#acceptedBytes += bytes.length;
    if (stream !== this.#gatherStream) {
      this.#seal();
      this.#gatherStream = stream;
    }
    for (let at = 0; at < bytes.length; ) {
      this.#block ??= this.#beginBlock();
      at += this.#block.append(at === 0 ? bytes : bytes.subarray(at));
      if (this.#block.isFull) this.#seal();
    }
  }

  /** Sized so that what is gathered makes one chunk together with what was held back before. */
  #beginBlock(): GatherBlock {
    this.#gatherBeganMs = this.#options.monotonicMs();
    const { maxChunkRawBytes } = this.#limits;
    const heldBytes = this.#redactors?.[this.#gatherStream].heldBytes ?? 0;
    return new GatherBlock(maxChunkRawBytes - Math.min(heldBytes, Math.floor(maxChunkRawBytes / 2)));
  }

  #scheduleSeal(): void {
    if (this.#block === undefined || this.#timer !== undefined || this.#sealSoon !== undefined) return;
    const quietMs = this.#options.monotonicMs() - this.#sealedAtMs;
    // A quiet command's bytes are sent with whatever else came in this turn; a busy one's wait for more.
    if (quietMs >= gatherMs) this.#sealSoon = setImmediate(() => this.#seal());
    else this.#timer = setTimeout(() => this.#seal(), gatherMs - quietMs);
  }

  #stopTimers(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#sealSoon);
    this.#timer = undefined;
    this.#sealSoon = undefined;
  }

  /** Masks and numbers what was gathered. */
  #seal(): void {
    this.#stopTimers();
    const block = this.#block;
    if (block === undefined) return;
    this.#block = undefined;
    this.#sealedAtMs = this.#options.monotonicMs();
    const redactor = this.#redactors?.[this.#gatherStream];
    const gathered = block.length;
    const shown = redactor?.push(block.gathered, block.roomBeforeBytes) ?? block.gathered;
    this.#number(this.#gatherStream, shown, block, gathered);
  }

  /**
   * @param block the memory that `shown` is in; released once it is compressed.
   * @param gatheredBytes how many bytes of the stream went in; undefined for the agent's own marker.
   */
  #number(stream: OutputStream, shownAll: Buffer, block?: GatherBlock, gatheredBytes?: number): void {
    const compressing: Promise<void>[] = [];
    const counted =
      gatheredBytes === undefined
        ? undefined
        : this.#counter?.sealed(stream, gatheredBytes, shownAll.length, this.#redactors?.[stream]);
    const shown = counted === undefined ? shownAll : shownAll.subarray(counted.shownBeforeBytes);
    // A mask may be longer than what it covers, so this can be more than one chunk.
    for (let at = 0; at < shown.length; at += this.#limits.maxChunkRawBytes) {
      const raw = shown.subarray(at, at + this.#limits.maxChunkRawBytes);
      const elapsedMs = Math.max(
        0,
        Math.round(this.#gatherBeganMs - (this.#beganAtMs ?? this.#gatherBeganMs)),
      );
      const chunk: SealedChunk = {
        stream,
        seq: this.#nextSeq++,
        rawLength: raw.length,
        elapsedMs,
        bytes: undefined,
        compressed: Promise.resolve(),
      };
      const position =
        gatheredBytes === undefined
          ? this.#counter?.cut()
          : counted?.positionAfter(at + raw.length, at + raw.length === shown.length);
      const placed = (bytes: Buffer) =>
        position === undefined ? bytes : Buffer.from(withPosition(bytes, position).buffer);
      const result = compress(raw);
      if (result instanceof Promise) {
        chunk.compressed = result.then((bytes) => {
          chunk.bytes = placed(bytes);
        });
        compressing.push(chunk.compressed);
      } else chunk.bytes = placed(result);
      this.#sealed.push(chunk);
      this.#sealedRawBytes += raw.length;
    }
    if (this.#sealed.length > 0) this.#storing ??= this.#store();
    Promise.all(compressing).then(
      () => block?.release(),
      () => undefined, // #store meets the error too; zlib may still be reading the block, so it is not used again
    );
  }

  #cut(): void {
    this.#seal();
    const kept = this.#limits.maxOutputBytesPerAttempt;
    const marker = `\n[output cut: only the first ${kept} bytes are kept; the command ${this.#onCut === undefined ? 'goes on' : 'is stopped'}]\n`;
    // What the redactors hold back is not shown: it may be the beginning of a secret.
    this.#number('stderr', Buffer.from(marker));
    this.#truncated = true;
    this.#discarding = true;
    this.#onCut?.();
  }

  // ---- storing

  async #store(): Promise<void> {
    try {
      while (this.#sealed.length > 0) {
        await this.#sealed[0]?.compressed;
        let ready = this.#sealed.findIndex(({ bytes }) => bytes === undefined);
        if (ready === -1) ready = this.#sealed.length;
        await this.#storeReady(this.#sealed.splice(0, ready));
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#storing = undefined;
    }
  }

  async #storeReady(ready: SealedChunk[]): Promise<void> {
    const { step, epoch } = this;
    const placed = await this.#file.append(
      ready.map(({ stream, seq, rawLength, elapsedMs, bytes }) => ({
        header: { stream, step, epoch, seq, rawLength, elapsedMs },
        bytes: bytes ?? Buffer.alloc(0),
      })),
    );
    for (const { chunk, frame } of placed) {
      this.#register(chunk);
      this.#sealedRawBytes -= chunk.rawLength;
      if (this.#cachedFrameBytes + frame.length <= maxCachedFrameBytes) {
        this.#cachedFrames.set(chunk.seq, frame);
        this.#cachedFrameBytes += frame.length;
      }
    }
    this.#wakeProducer();
    this.#options.onStored();
  }

  /** Offsets up to the last acknowledged chunk; the whole output once nothing more is kept here. */
  #confirmed(): { stdout: number; stderr: number } {
    if (this.#discarding && this.#truncated) return this.kept.written();
    const position = this.#chunk(this.#ackedSeq)?.position ?? this.#options.before?.position;
    return { stdout: position?.stdout.offset ?? 0, stderr: position?.stderr.offset ?? 0 };
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

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#truncated = true;
    this.#sealed.length = 0;
    this.#sealedRawBytes = 0;
    this.discard();
    this.#options.onStorageFailure(error);
  }

  #full(): boolean {
    if (this.#discarding) return false;
    return (
      (this.#block?.length ?? 0) + this.#sealedRawBytes >= this.#limits.maxGatheredBytes ||
      this.#unackedBytes >= this.#limits.maxSpoolBytesPerAttempt
    );
  }

  #wakeProducer(): void {
    if (this.#drainWaiters.length === 0 || this.#full()) return;
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const wake of waiters) wake();
  }
}
