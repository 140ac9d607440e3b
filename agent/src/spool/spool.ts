// What is kept of one attempt's output on this machine's disk: a row of files, so that the first ones can go while the
// last one is being written.
import type { SpareFile } from './spare-file.ts';
import { type NewChunk, type SpoolBase, type SpooledChunk, SpoolFile } from './spool-file.ts';

/** Of stored bytes. Few attempts print as much: nearly every one has a single file. */
const defaultPartBytes = 16 * 1024 * 1024;
/** With less in it, a file takes more work to replace than that is worth. */
const leastReleasedBytes = 64 * 1024;

export interface SpoolPart {
  file: SpoolFile;
  /** Number of its first chunk. */
  firstSeq: number;
  /** What comes before it. Only an attempt's first file may have none. */
  base?: SpoolBase | undefined;
}

export class Spool {
  readonly #path: string;
  readonly #partBytes: number;
  /** In the order of their chunks. The last one is written. */
  readonly #parts: SpoolPart[];
  #last: SpoolFile;

  /**
   * @param path of the attempt's first file; the others are named by it and the number of their first chunk.
   * @param parts what there is of it, at least one.
   */
  constructor(path: string, parts: readonly [SpoolPart, ...SpoolPart[]], partBytes = defaultPartBytes) {
    this.#path = path;
    this.#partBytes = partBytes;
    this.#parts = [...parts];
    this.#last = (parts.at(-1) ?? parts[0]).file;
  }

  /**
   * Returns the spool of an attempt that is new here. It has no file until the first chunk comes.
   *
   * @param base what another agent has sent already.
   */
  static create(
    path: string,
    { spare, base, partBytes }: { spare?: SpareFile; base?: SpoolBase | undefined; partBytes?: number } = {},
  ): Spool {
    const first = { file: SpoolFile.create(path, { spare }), firstSeq: (base?.seq ?? 0) + 1 };
    return new Spool(path, [first], partBytes);
  }

  /** Takes the spare file, if there is one, so that the first chunk needn't wait for a new one. */
  takeSpare(): void {
    this.#last.takeSpare();
  }

  /** Appends chunks in one write, and returns where they are. Nothing of them is kept if it fails. */
  append(chunks: readonly NewChunk[]): Promise<{ chunk: SpooledChunk; frame: Buffer }[]> {
    return this.#last.append(chunks);
  }

  /** Whether the next chunks should have a file of their own. */
  get isPartFull(): boolean {
    return this.#last.bytes >= this.#partBytes;
  }

  /** Whether it is worth the while to release the file that is being written. */
  get isPartWorthReleasing(): boolean {
    return this.#last.bytes >= leastReleasedBytes;
  }

  /** What is appended from here on goes to a file of its own. Must not be called during an append. */
  beginPart(base: SpoolBase): void {
    this.#add(base, this.#newPart(base));
  }

  /**
   * The same, with the file on disk at once, so that all others may be removed.
   *
   * @throws the error of the disk; nothing has changed.
   */
  beginPartOnDisk(base: SpoolBase): void {
    const file = this.#newPart(base);
    file.writeBase();
    this.#add(base, file);
  }

  #newPart(base: SpoolBase): SpoolFile {
    return SpoolFile.create(`${this.#path}.${base.seq + 1}`, { base });
  }

  #add(base: SpoolBase, file: SpoolFile): void {
    this.#last = file;
    this.#parts.push({ file, firstSeq: base.seq + 1, base });
  }

  /** Reads the binary frame of a chunk. */
  readFrame(chunk: SpooledChunk): Promise<Buffer> {
    const part = this.#parts.findLast(({ firstSeq }) => firstSeq <= chunk.seq);
    if (part === undefined) throw new Error(`Chunk ${chunk.seq} was removed from the spool`);
    return part.file.readFrame(chunk);
  }

  /**
   * Takes the files whose chunks are all numbered up to `seq` out of the spool, but never the last file.
   *
   * @returns what comes before the chunks that are left, and what removes the files and returns the bytes that are free
   * then; undefined if all are needed.
   */
  releaseUpTo(seq: number): { base: SpoolBase; remove(): Promise<number> } | undefined {
    const at = this.#parts.findLastIndex(({ firstSeq }) => firstSeq <= seq + 1);
    const first = this.#parts[at];
    if (at < 1 || first?.base === undefined) return undefined;
    const released = this.#parts.splice(0, at).map(({ file }) => file);
    return {
      base: first.base,
      async remove() {
        await first.file.sync();
        let bytes = 0;
        // The first one first: a crash must leave the end of the row.
        for (const file of released) {
          bytes += file.bytes;
          await file.remove();
        }
        return bytes;
      },
    };
  }

  /** Resolves when everything that was appended is on disk. */
  async sync(): Promise<void> {
    await Promise.all(this.#parts.map(({ file }) => file.sync()));
  }

  /** Size of the files. */
  get bytes(): number {
    return this.#parts.reduce((bytes, { file }) => bytes + file.bytes, 0);
  }

  /** Leaves the files for the next process. */
  async close(): Promise<void> {
    await Promise.all(this.#parts.map(({ file }) => file.close()));
  }

  /** Closes the files and removes them. */
  async remove(): Promise<void> {
    for (const { file } of this.#parts) await file.remove();
  }
}
