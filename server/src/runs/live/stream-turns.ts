// Shares event loop and memory among the readers of live streams. Even if hundreds have output to take, they don't
// delay requests and agents, nor use hundreds of times the memory of one (docs/adr/0050).
import { limits } from '@opsconductor/protocol';
import { UserTurns } from '../../turns/user-turns.ts';

/** Pulls that are served before everything else gets its turn. */
const maxPullsPerTurn = 8;
const maxPullRawBytes = 1024 * 1024;
/** Largest size of a pull's events: one read of them, with the event that exceeds its size. */
const maxPullEventBytes = 256 * 1024;

export interface StreamTurnsSettings {
  /** Limit for the events of all readers together, from the start of their pulls until connections have taken them. */
  maxHeldBytes: number;
  /**
   * If nobody takes anything for this long while readers wait for room, all readers that took nothing for as long are
   * cut off.
   */
  stalledMs: number;
  /** A reader who takes nothing for this long is cut off if others wait for room. */
  patienceMs: number;
  /** Limit for one read from the database. If it takes longer, it is given up and its reader reconnects. */
  readMs: number;
  /** The same for a whole pull, which may read often, and whose database connection may have gone silent. */
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
  /** Ends the reader's connection. The reader reconnects and continues from its position, so nothing is lost. */
  cutOff(): void;
}

export class StreamTurns {
  /**
   * Turns for output that is read from the database. Each read takes milliseconds of the event loop, and readers that
   * are far behind would use all database connections; but one stuck read must not keep all others from reading. Take
   * this turn before the room for a pull: a reader who held room while waiting for this turn would keep it from readers
   * who are served from memory.
   */
  readonly reads = new UserTurns();
  readonly #settings: StreamTurnsSettings;
  #readers = 0;
  #left = maxPullsPerTurn;
  #isRefilling = false;
  readonly #waiting = new Map<StreamReader, () => void>();
  /** Largest possible size of the pull in progress, by reader. */
  readonly #pulling = new Map<StreamReader, number>();
  /** What a reader's connection hasn't taken yet. Those that have been waiting longest come first. */
  readonly #untaken = new Map<StreamReader, { bytes: number; sinceMs: number }>();
  #heldBytes = 0;
  #takenAtMs = 0;
  /** Whether anyone had to wait for room since the last check for readers who take nothing. */
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

  /** Counts a reader. Returns the function that removes it. */
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

  /** How much output a reader may pull at once: its share. However small that is, a pull has at least one chunk. */
  get pullRawBytes(): number {
    return Math.min(maxPullRawBytes, Math.floor(this.#settings.maxHeldBytes / Math.max(1, this.#readers)));
  }

  /**
   * Resolves when the reader may pull: at once, unless many are pulling or hold what they have pulled. Call `handed`
   * afterwards.
   */
  async take(reader: StreamReader): Promise<void> {
    const turn = new Promise<void>((resolve) => this.#waiting.set(reader, resolve));
    this.#serve();
    await turn;
  }

  /** Reports the size of the pull. The reader's connection holds these bytes until `taken` is called. */
  handed(reader: StreamReader, bytes: number): void {
    // A reader that has left meanwhile holds nothing.
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

  /**
   * Largest size of a pull: output is read twice, each time up to the chunk that exceeds the share, and sent as base64;
   * then events.
   */
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

  /** Checks for readers who take nothing, as long as anyone has to wait for room, if only for a moment. */
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
