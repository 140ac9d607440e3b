// Shares event loop and memory among the readers of live streams: hundreds that all have output to take neither hold up
// requests and agents, nor hold hundreds of times what one may (docs/adr/0050).
import { limits } from '@opsconductor/protocol';
import { StoredReads } from './stored-reads.ts';

/** Pulls that are served before everything else has its turn. */
const maxPullsPerTurn = 8;
const maxPullRawBytes = 1024 * 1024;
/** Events of a pull: as many as are read at once, and the last of them. */
const maxPullEventBytes = 256 * 1024;

export interface StreamTurnsSettings {
  /** Events of all readers together, while they are made and until connections have taken them. */
  maxHeldBytes: number;
  /** Who waits for room waits this long where nobody takes anything; then all who have not are cut off. */
  stalledMs: number;
  /** Who takes nothing for this long is cut off where others wait for room. */
  patienceMs: number;
  /** What takes the database longer to read is given up, and its reader comes again. */
  readMs: number;
  /** The same of a pull, which may have many to read, and where the connection to the database says nothing any more. */
  pullMs: number;
}

const defaults: StreamTurnsSettings = {
  maxHeldBytes: 16 * 1024 * 1024,
  stalledMs: 500,
  patienceMs: 10_000,
  readMs: 10_000,
  pullMs: 30_000,
};

export interface StreamReader {
  /** Ends its connection. It comes again and goes on from where it was, so that nothing is lost. */
  cutOff(): void;
}

export class StreamTurns {
  /**
   * For output that is read from the database. What each is given takes milliseconds of the event loop, and readers that are far behind
   * would have all connections of the database to themselves; but one whose read is stuck must not keep all others from it. It is to be
   * had before room is: who waits for it would keep room from those who are served from memory.
   */
  readonly reads = new StoredReads();
  readonly #settings: StreamTurnsSettings;
  #readers = 0;
  #left = maxPullsPerTurn;
  #isRefilling = false;
  readonly #waiting = new Map<StreamReader, () => void>();
  /** By reader that pulls: what that may come to. */
  readonly #pulling = new Map<StreamReader, number>();
  /** By reader what its connection has not taken; who has waited longest comes first. */
  readonly #untaken = new Map<StreamReader, { bytes: number; sinceMs: number }>();
  #heldBytes = 0;
  #takenAtMs = 0;
  /** Somebody had to wait for room since it was last looked for those who take nothing. */
  #isShort = false;
  #looking: NodeJS.Timeout | undefined;

  constructor(settings: Partial<StreamTurnsSettings> = {}) {
    this.#settings = { ...defaults, ...settings };
  }

  get readMs(): number {
    return this.#settings.readMs;
  }

  get pullMs(): number {
    return this.#settings.pullMs;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Counts a reader; returns what ends that. */
  join(reader: StreamReader): () => void {
    this.#readers += 1;
    return () => {
      this.#readers -= 1;
      this.#release(reader);
      this.#waiting.get(reader)?.();
      this.#waiting.delete(reader);
      this.#serve();
    };
  }

  /** How much a reader may pull at once: its share, but of output at least a chunk, however many there are. */
  get pullRawBytes(): number {
    return Math.min(maxPullRawBytes, Math.floor(this.#settings.maxHeldBytes / Math.max(1, this.#readers)));
  }

  /** Resolves when the reader may pull: at once, unless many do, or hold what they have pulled. Then `handed` follows. */
  async take(reader: StreamReader): Promise<void> {
    const turn = new Promise<void>((resolve) => this.#waiting.set(reader, resolve));
    this.#serve();
    await turn;
  }

  /** The pull has come to so many bytes, which the reader's connection holds until the reader has `taken` them. */
  handed(reader: StreamReader, bytes: number): void {
    // One that has left meanwhile holds nothing.
    if (!this.#pulling.has(reader)) return;
    this.#release(reader);
    if (bytes > 0) this.#untaken.set(reader, { bytes, sinceMs: performance.now() });
    this.#heldBytes += bytes;
    this.#serve();
  }

  taken(reader: StreamReader): void {
    if (!this.#untaken.has(reader)) return;
    this.#takenAtMs = performance.now();
    this.#release(reader);
    this.#serve();
  }

  #release(reader: StreamReader): void {
    this.#heldBytes -= (this.#pulling.get(reader) ?? 0) + (this.#untaken.get(reader)?.bytes ?? 0);
    this.#pulling.delete(reader);
    this.#untaken.delete(reader);
  }

  #serve(): void {
    for (const [reader, go] of this.#waiting) {
      if (this.#left === 0) break;
      const bytes = this.#pullBytes;
      if (this.#heldBytes > 0 && this.#heldBytes + bytes > this.#settings.maxHeldBytes) {
        this.#lookForSilent();
        break;
      }
      this.#left -= 1;
      this.#pulling.set(reader, bytes);
      this.#heldBytes += bytes;
      this.#waiting.delete(reader);
      go();
    }
    this.#refillSoon();
  }

  /** The most that a pull comes to: output is looked for twice, ends with the chunk that fills it, and goes as base64; then events. */
  get #pullBytes(): number {
    return Math.ceil((2 * (this.pullRawBytes + limits.maxChunkRawBytes) * 4) / 3) + maxPullEventBytes;
  }

  #refillSoon(): void {
    if (this.#isRefilling || this.#left === maxPullsPerTurn) return;
    this.#isRefilling = true;
    setImmediate(() => {
      this.#isRefilling = false;
      this.#left = maxPullsPerTurn;
      this.#serve();
    });
  }

  /** As long as some have to wait for room, and be it for a moment. */
  #lookForSilent(): void {
    this.#isShort = true;
    this.#looking ??= setInterval(() => {
      if (this.#isShort) this.#cutOffSilent();
      else {
        clearInterval(this.#looking);
        this.#looking = undefined;
      }
    }, this.#settings.stalledMs / 2).unref();
  }

  #cutOffSilent(): void {
    this.#isShort = false;
    const { stalledMs, patienceMs } = this.#settings;
    const now = performance.now();
    const bearableMs = now - this.#takenAtMs < stalledMs ? patienceMs : stalledMs;
    for (const [reader, { sinceMs }] of this.#untaken) {
      if (now - sinceMs < bearableMs) break;
      this.#release(reader);
      reader.cutOff();
    }
    this.#serve();
  }
}
