// Keeps chunks that were recently read from the database. Many readers of one run are often at the same position, for
// example if its page is open in many browsers or they all reconnect after a restart. Reading and opening a chunk takes
// milliseconds and leaves a megabyte of garbage.
import { bodyBytes } from './event-bytes.ts';
import type { ReadableChunk } from './live-hub.ts';

/** As many as a page from the database has: that is how much is made into events in one turn. */
const maxChunksAtATime = 512;
/** Size of an entry apart from its bytes, estimated. */
const entryBytes = 512;

interface Place {
  stepId: number;
  epoch: number;
}

export interface ReadChunksSettings {
  maxBytes: number;
  /** Time after the last read at which everything is dropped. */
  keepMs: number;
}

export class ReadChunks {
  readonly #settings: ReadChunksSettings;
  /** In the order in which they were read. */
  readonly #chunks = new Map<string, ReadableChunk>();
  #bytes = 0;
  #emptying: NodeJS.Timeout | undefined;

  constructor(settings: Partial<ReadChunksSettings> = {}) {
    this.#settings = { maxBytes: 8 * 1024 * 1024, keepMs: 5_000, ...settings };
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Returns the chunks right after `seq`, up to the first that isn't here or until they have about `maxRawBytes`. The
   * next chunk is always included if it is here.
   */
  after({ stepId, epoch }: Place, seq: number, maxRawBytes: number): ReadableChunk[] {
    const found: ReadableChunk[] = [];
    let rawBytes = 0;
    for (let at = seq + 1; rawBytes < maxRawBytes && found.length < maxChunksAtATime; at += 1) {
      const chunk = this.#chunks.get(keyOf({ stepId, epoch, seq: at }));
      if (chunk === undefined) break;
      found.push(chunk);
      rawBytes += chunk.rawLength;
    }
    return found;
  }

  keep(chunks: readonly ReadableChunk[]): void {
    for (const chunk of chunks) {
      const key = keyOf(chunk);
      if (this.#chunks.has(key)) continue;
      this.#chunks.set(key, chunk);
      this.#bytes += bodyBytes(chunk.body) + entryBytes;
    }
    for (const [key, chunk] of this.#chunks) {
      if (this.#bytes <= this.#settings.maxBytes) break;
      this.#chunks.delete(key);
      this.#bytes -= bodyBytes(chunk.body) + entryBytes;
    }
    this.#emptying ??= setTimeout(() => this.#empty(), this.#settings.keepMs).unref();
    this.#emptying.refresh();
  }

  #empty(): void {
    this.#chunks.clear();
    this.#bytes = 0;
    this.#emptying = undefined;
  }
}

function keyOf({ stepId, epoch, seq }: Place & { seq: number }): string {
  return `${stepId}.${epoch}.${seq}`;
}
