// What is kept of one attempt's output on this machine's disk: a row of files, so that the first ones can go while the
// last one is being written.
import type { SpareFiles } from './spare-files.ts';
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
  /** What was released and is still on disk, in the same order. */
  readonly #released: SpoolFile[] = [];
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
    {
      spares,
      base,
      partBytes,
    }: { spares?: SpareFiles; base?: SpoolBase | undefined; partBytes?: number } = {},
  ): Spool {
    const first = { file: SpoolFile.create(path, { spares }), firstSeq: (base?.seq ?? 0) + 1 };
    return new Spool(path, [first], partBytes);
  }

  /** Takes a spare file, if there is one, so that the first chunk needn't wait for a new one. */
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

  /** Whether it is worth the while to release everything: so much is in the last file, or nothing yet. */
  get isEndWorthReleasing(): boolean {
    return this.#last.lacksBase || this.#last.bytes >= leastReleasedBytes;
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
    if (this.#last.lacksBase) {
      this.#last.writeBase();
      return;
    }
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
   * Takes the files whose chunks are all numbered up to `seq` out of the spool, but never the last one on disk. Returns
   * what comes before the chunks that are left; undefined if all are needed.
   */
  releaseUpTo(seq: number): SpoolBase | undefined {
    const at = this.#parts.findLastIndex(({ firstSeq, file }) => firstSeq <= seq + 1 && !file.lacksBase);
    if (at < 1) return undefined;
    this.#released.push(...this.#parts.splice(0, at).map(({ file }) => file));
    return this.#parts[0]?.base;
  }

  /**
   * Removes what was released. Returns how many bytes are free then.
   *
   * @throws the error of the disk if nothing could be removed; it is tried again the next time.
   */
  async removeReleased(): Promise<number> {
    if (this.#released.length === 0) return 0;
    await this.#parts[0]?.file.sync();
    let bytes = 0;
    // The first one first: a crash, or a file that can't be removed, must leave the end of the row.
    for (let file = this.#released[0]; file !== undefined; file = this.#released[0]) {
      try {
        await file.remove();
      } catch (error) {
        if (bytes === 0) throw error;
        break;
      }
      bytes += file.bytes;
      this.#released.shift();
    }
    return bytes;
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
    await Promise.all(this.#files.map((file) => file.close()));
  }

  /**
   * Closes the files and removes them.
   *
   * @throws the first error of the disk; what can be removed is removed.
   */
  async remove(): Promise<void> {
    const errors: unknown[] = [];
    for (const file of this.#files) {
      await file.remove().catch((error: unknown) => errors.push(error));
      await file.close();
    }
    if (errors.length > 0) throw errors[0];
  }

  get #files(): SpoolFile[] {
    return [...this.#released, ...this.#parts.map(({ file }) => file)];
  }
}
