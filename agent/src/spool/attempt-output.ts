// An attempt's output on its way from the step type to the server: gathered, masked, numbered, compressed and stored.
// Memory is bounded here, so that a slow server slows the target.
import { limits, type OutputPosition, startOfOutput, withPosition } from '@opsconductor/protocol';
import { errorCode } from '../identity/durable-file.ts';
import type { Masking } from '../masking/masking.ts';
import type { Redactor } from '../masking/redactor.ts';
import type { KeptOutput, OutputSink, OutputStream } from '../steps/step-type.ts';
import { compress } from './compress.ts';
import type { GatherBlock } from './gather-block.ts';
import { Gathering } from './gathering.ts';
import { PositionCounter } from './position-counter.ts';
import type { Spool } from './spool.ts';
import type { NewChunk, SpoolBase, SpooledChunk } from './spool-file.ts';
import { SpooledChunks } from './spooled-chunks.ts';

export interface OutputLimits {
  maxChunkRawBytes: number;
  maxGatheredBytes: number;
  maxSpoolBytesPerAttempt: number;
  maxOutputBytesPerAttempt: number;
}

export interface OutputOptions {
  step: number;
  epoch: number;
  spool: Spool;
  /** Called when there is something new to send. */
  onStored(): void;
  /** Called when so much has been stored that the disk may have become full. */
  onMuchStored?: (() => void) | undefined;
  /**
   * Called when the disk is full. Resolves with whether it is worth trying again; if it is not, this output is not kept.
   */
  makeRoom?: (() => Promise<boolean>) | undefined;
  /** Called once when the disk refuses: output from here on is lost, but the command goes on. */
  onStorageFailure(error: unknown): void;
  monotonicMs(): number;
  limits?: Partial<OutputLimits>;
  /** What the server has already, from another agent or from this one. The chunks here continue it. */
  base?: SpoolBase | undefined;
  /** Whether `endOf` will be asked for. */
  keepsEnds?: boolean | undefined;
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
  readonly #gathering: Gathering;

  #nextSeq: number;
  #acceptedBytes = 0;
  #truncated = false;
  #failure: Error | undefined;
  /** Number of the first chunk that neither the server nor this machine has any more. */
  #missingFrom: number | undefined;
  #discarding = false;
  /** Whether all of it is being removed. */
  #isUnwanted = false;
  readonly #sealed: SealedChunk[] = [];
  #sealedRawBytes = 0;
  #storing: Promise<void> | undefined;

  readonly #chunks: SpooledChunks;

  #drainWaiters: (() => void)[] = [];

  constructor(options: OutputOptions, recovered: readonly SpooledChunk[] = []) {
    this.step = options.step;
    this.epoch = options.epoch;
    this.#options = options;
    this.#limits = { ...limits, ...options.limits };
    const { spool, base, keepsEnds = false } = options;
    this.#chunks = new SpooledChunks(spool, { recovered, base, keepsEnds });
    this.#gathering = new Gathering({
      maxBlockBytes: (stream) => this.#maxBlockBytes(stream),
      onBlock: (stream, block) => this.#mask(stream, block),
      monotonicMs: options.monotonicMs,
    });
    this.#nextSeq = this.lastSeq + 1;
    this.#recovered = this.#chunks.position;
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
    const accepted = bytes.length <= room ? bytes : bytes.subarray(0, room);
    this.#acceptedBytes += accepted.length;
    this.#gathering.add(stream, accepted);
    if (bytes.length > room) this.#cut();
    else this.#gathering.scheduleSeal();
    return !this.#full();
  }

  expect(): void {
    if (!this.#discarding) this.#chunks.expect();
  }

  drained(): Promise<void> {
    if (!this.#full()) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /** Ends the output. Resolves when all of it is on disk. */
  async close(): Promise<OutputSummary> {
    if (!this.#discarding) {
      this.#gathering.seal();
      for (const stream of ['stdout', 'stderr'] as const) {
        if (this.#redactors === undefined) continue;
        const shown = this.#redactors[stream].end();
        this.#number(stream, shown, undefined, 0);
      }
    }
    this.#discarding = true;
    while (this.#storing !== undefined) await this.#storing;
    try {
      await this.#chunks.sync();
    } catch (error) {
      this.#fail(error);
    }
    return { lastSeq: this.lastSeq, rawBytes: this.rawBytes, truncated: this.#truncated };
  }

  /** Keeps nothing more, because nobody wants this output. */
  discard(): void {
    this.#discarding = true;
    this.#gathering.drop();
    this.#wakeProducer();
  }

  // ---- to the server; `SpooledChunks` says what each of these means

  /** The error with which the disk refused the output; undefined if it did not. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get lastSeq(): number {
    return this.#chunks.lastSeq;
  }

  get rawBytes(): number {
    return this.#chunks.rawBytes;
  }

  get digest(): string {
    return this.#chunks.digest;
  }

  get storedBytes(): number {
    return this.#chunks.storedBytes;
  }

  get unackedBytes(): number {
    return this.#chunks.unackedBytes;
  }

  /** Whether the server may still confirm something that it has not yet. */
  get awaitsConfirmation(): boolean {
    return this.#missingFrom === undefined && this.#chunks.unackedBytes > 0;
  }

  get hasUnsent(): boolean {
    return this.#missingFrom === undefined && this.#chunks.hasUnsent;
  }

  get nextFrameBytes(): number {
    return this.#chunks.nextFrameBytes;
  }

  takeFrame(): Buffer | Promise<Buffer> {
    return this.#chunks.takeFrame();
  }

  acknowledge(seq: number): number {
    const confirmed = this.#chunks.acknowledge(seq);
    this.#wakeProducer();
    return confirmed;
  }

  get inFlightBytes(): number {
    return this.#chunks.inFlightBytes;
  }

  sendFrom(seq: number): void {
    this.#chunks.sendFrom(seq);
  }

  release(): Promise<number> {
    return this.#chunks.release();
  }

  /**
   * Compares with what the server has stored. If it lacks what is not here any more, nothing after that can be sent
   * either: it keeps output without gaps only.
   */
  serverHas(seq: number): void {
    if (seq >= this.#chunks.baseSeq) return;
    this.#missingFrom = seq + 1;
    this.#truncated = true;
    this.discard();
  }

  /** The chunks that will never be sent. */
  get gaps(): [number, number][] {
    return this.#missingFrom === undefined ? [] : [[this.#missingFrom, this.lastSeq]];
  }

  /** Returns the end of a closed stream as it was kept, masked, at most `maxBytes` long. */
  async endOf(stream: OutputStream, maxBytes: number): Promise<StreamEnd> {
    return { ...(await this.#chunks.endOf(stream, maxBytes)), isCut: this.#truncated };
  }

  /** Drops everything, in memory and on disk. */
  async remove(): Promise<void> {
    this.#isUnwanted = true;
    this.discard();
    while (this.#storing !== undefined) await this.#storing;
    await this.#chunks.remove();
  }

  /** Leaves the file for the next process. */
  async suspend(): Promise<void> {
    this.discard();
    while (this.#storing !== undefined) await this.#storing;
    await this.#chunks.close();
  }

  // ---- masking and numbering

  /** Sized so that what is gathered makes one chunk together with what was held back before. */
  #maxBlockBytes(stream: OutputStream): number {
    const { maxChunkRawBytes } = this.#limits;
    const heldBytes = this.#redactors?.[stream].heldBytes ?? 0;
    return maxChunkRawBytes - Math.min(heldBytes, Math.floor(maxChunkRawBytes / 2));
  }

  #mask(stream: OutputStream, block: GatherBlock): void {
    const gathered = block.length;
    const shown = this.#redactors?.[stream].push(block.gathered, block.roomBeforeBytes) ?? block.gathered;
    this.#number(stream, shown, block, gathered);
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
      const { beganMs } = this.#gathering;
      const elapsedMs = Math.max(0, Math.round(beganMs - (this.#beganAtMs ?? beganMs)));
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
    this.#gathering.seal();
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
    await this.#append(
      ready.map(({ stream, seq, rawLength, elapsedMs, bytes }) => ({
        header: { stream, step, epoch, seq, rawLength, elapsedMs },
        bytes: bytes ?? Buffer.alloc(0),
      })),
    );
    for (const { rawLength } of ready) this.#sealedRawBytes -= rawLength;
    this.#wakeProducer();
    this.#options.onStored();
  }

  async #append(chunks: readonly NewChunk[]): Promise<void> {
    for (;;) {
      try {
        const { beganPart } = await this.#chunks.append(chunks);
        if (beganPart) this.#options.onMuchStored?.();
        return;
      } catch (error) {
        if (this.#isUnwanted) return;
        if (!isFull(error) || (await this.#options.makeRoom?.()) !== true) throw error;
      }
    }
  }

  /** Offsets up to the last acknowledged chunk; the whole output once nothing more is kept here. */
  #confirmed(): { stdout: number; stderr: number } {
    if (this.#discarding && this.#truncated) return this.kept.written();
    const position = this.#chunks.ackedPosition;
    return { stdout: position?.stdout.offset ?? 0, stderr: position?.stderr.offset ?? 0 };
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
      this.#gathering.bytes + this.#sealedRawBytes >= this.#limits.maxGatheredBytes ||
      this.#chunks.unackedBytes >= this.#limits.maxSpoolBytesPerAttempt
    );
  }

  #wakeProducer(): void {
    if (this.#drainWaiters.length === 0 || this.#full()) return;
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const wake of waiters) wake();
  }
}

/** Whether a disk, or what its user may have of it, is full. */
function isFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}
