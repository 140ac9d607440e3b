// Gathers a command's output into blocks of one stream each. A block goes on when it is full, when the other stream has
// something, or after a moment: at once if the command was quiet before.
import type { OutputStream } from '../steps/step-type.ts';
import { GatherBlock } from './gather-block.ts';

/** How long bytes of a busy command may wait for more to come. */
const gatherMs = 40;

export interface GatheringOptions {
  /** Asked when a block of that stream begins. */
  maxBlockBytes(stream: OutputStream): number;
  /** Takes a block over, and releases it when its bytes are used. */
  onBlock(stream: OutputStream, block: GatherBlock): void;
  monotonicMs(): number;
}

export class Gathering {
  readonly #options: GatheringOptions;
  #stream: OutputStream = 'stdout';
  #block: GatherBlock | undefined;
  #beganMs = 0;
  #sealedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #sealSoon: NodeJS.Immediate | undefined;

  constructor(options: GatheringOptions) {
    this.#options = options;
  }

  /** How many bytes wait for more. */
  get bytes(): number {
    return this.#block?.length ?? 0;
  }

  /** When the last block began. */
  get beganMs(): number {
    return this.#beganMs;
  }

  /** Copies the bytes. What doesn't fill a block waits for `scheduleSeal` or `seal`. */
  add(stream: OutputStream, bytes: Buffer): void {
    if (stream !== this.#stream) {
      this.seal();
      this.#stream = stream;
    }
    for (let at = 0; at < bytes.length; ) {
      this.#block ??= this.#beginBlock();
      at += this.#block.append(at === 0 ? bytes : bytes.subarray(at));
      if (this.#block.isFull) this.seal();
    }
  }

  scheduleSeal(): void {
    if (this.#block === undefined || this.#timer !== undefined || this.#sealSoon !== undefined) return;
    const quietMs = this.#options.monotonicMs() - this.#sealedAtMs;
    // A quiet command's bytes are sent with whatever else came in this turn; a busy one's wait for more.
    if (quietMs >= gatherMs) this.#sealSoon = setImmediate(() => this.seal());
    else this.#timer = setTimeout(() => this.seal(), gatherMs - quietMs);
  }

  /** Hands on what was gathered. */
  seal(): void {
    this.#stopTimers();
    const block = this.#block;
    if (block === undefined) return;
    this.#block = undefined;
    this.#sealedAtMs = this.#options.monotonicMs();
    this.#options.onBlock(this.#stream, block);
  }

  /** Forgets what was gathered. */
  drop(): void {
    this.#stopTimers();
    this.#block?.release();
    this.#block = undefined;
  }

  #beginBlock(): GatherBlock {
    this.#beganMs = this.#options.monotonicMs();
    return new GatherBlock(this.#options.maxBlockBytes(this.#stream));
  }

  #stopTimers(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#sealSoon);
    this.#timer = undefined;
    this.#sealSoon = undefined;
  }
}
