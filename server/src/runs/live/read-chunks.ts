// Chunks that were read from the database of late: many readers of one run are mostly at the same place in it, as when its
// page is opened in many browsers, or all of them come again after a restart. To read and to open a chunk takes milliseconds, and leaves a
// megabyte of garbage.
import { bodyBytes } from './event-bytes.ts';
import type { ReadableChunk } from './live-hub.ts';

/** As many as a page of the database has: so much is made of them in one turn. */
const maxChunksAtATime = 512;
/** What an entry takes beside its bytes. */
const entryBytes = 512;

interface Place {
  stepId: number;
  epoch: number;
}

export interface ReadChunksSettings {
  maxBytes: number;
  /** So long after the last reading nothing is kept any more. */
  keepMs: number;
}

export class ReadChunks {
  readonly #settings: ReadChunksSettings;
  /** The one that was read first comes first. */
  readonly #chunks = new Map<string, ReadableChunk>();
  #bytes = 0;
  #emptying: NodeJS.Timeout | undefined;

  constructor(settings: Partial<ReadChunksSettings> = {}) {
    this.#settings = { maxBytes: 8 * 1024 * 1024, keepMs: 5_000, ...settings };
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The chunks right after this one, at least one where it is here, and until about `maxRawBytes` are together. */
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
