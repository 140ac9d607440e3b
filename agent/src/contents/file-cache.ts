// Caches files of the server on the agent's disk, by the SHA-256 of their content. A file is fetched once for all steps
// that want it, and removed when others need the room.
import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '@opsconductor/protocol';
import { isMissing, makePrivateFolder } from '../identity/durable-file.ts';
import { hashBytes } from '../sftp/tree/hash-bytes.ts';
import { fileError, TransferError } from '../sftp/tree/transfer-error.ts';
import { abortable } from '../timing/abortable.ts';
import type { AskServer } from './content-link.ts';
import { requireAnswer } from './require-answer.ts';

/** Pieces requested ahead for one file. All files together are limited by what the server accepts at a time. */
const piecesAhead = 4;

export interface HeldFile {
  /** A directory that contains only the file, under its name. */
  directory: string;
  /** Never rejects: what the disk does not let go of is removed later. */
  release(): Promise<void>;
}

export interface FileWish {
  name: string;
  ask: AskServer;
  signal: AbortSignal;
  /** Called with the size if the file has to be fetched; then `moved` is called with the bytes as they arrive. */
  found(size: number): void;
  moved(bytes: number): void;
}

interface Blob {
  size: number;
  /** Number of steps that hold it. */
  held: number;
  /** Whether this process has verified its hash. */
  isVerified: boolean;
}

type ServerFile = { id: string; sha256: string; size: number };

export class FileCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  /** In order of use, the most recently used last. */
  readonly #blobs = new Map<string, Blob>();
  readonly #fetching = new Map<string, Promise<void>>();

  private constructor(folder: string, maxBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  /** Opens the cache. Keeps complete files of an earlier process, and removes everything else. */
  static async open(folder: string, maxBytes: number): Promise<FileCache> {
    const cache = new FileCache(folder, maxBytes);
    for (const name of ['held', 'partial']) await rm(join(folder, name), { recursive: true, force: true });
    await cache.#makeFolders();
    const files = await readdir(join(folder, 'blobs'), { withFileTypes: true });
    const found = await Promise.all(
      files
        .filter((file) => file.isFile())
        .map(async ({ name }) => ({ sha256: name, stats: await stat(cache.#blobPath(name)) })),
    );
    for (const { sha256, stats } of found.sort((a, b) => a.stats.mtimeMs - b.stats.mtimeMs))
      cache.#blobs.set(sha256, { size: stats.size, held: 0, isVerified: false });
    await cache.#makeRoom(0);
    return cache;
  }

  /**
   * Provides the file of this name in a directory of its own until it is released.
   *
   * @throws TransferError if the server has no such file, or it can't be kept here
   */
  async hold(wish: FileWish): Promise<HeldFile> {
    const file = requireAnswer(await wish.ask({ do: 'find_file', name: wish.name }), 'file');
    try {
      return await this.#holdFound(file, wish);
    } catch (error) {
      if (!isMissing(error)) throw fileError(error, 'on the agent', this.#folder, 'written');
    }
    // Somebody removes files that look old, as programs that clean up do. What is not there is fetched again.
    this.#blobs.delete(file.sha256);
    try {
      return await this.#holdFound(file, wish);
    } catch (error) {
      throw fileError(error, 'on the agent', this.#folder, 'written');
    }
  }

  /** Fails with ENOENT if a file of the cache is no longer where it was put. */
  async #holdFound(file: ServerFile, wish: FileWish): Promise<HeldFile> {
    await this.#makeFolders();
    const directory = join(this.#folder, 'held', randomUUID());
    const blob = await this.#take(file, wish);
    try {
      await mkdir(directory, { mode: 0o700 });
      await link(this.#blobPath(file.sha256), join(directory, wish.name));
    } catch (error) {
      this.#give(blob);
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
    return {
      directory,
      release: async () => {
        await rm(directory, { recursive: true, force: true }).catch(() => undefined);
        this.#give(blob);
        await this.#makeRoom(0);
      },
    };
  }

  async #makeFolders(): Promise<void> {
    for (const name of ['', 'blobs', 'held', 'partial']) await makePrivateFolder(join(this.#folder, name));
  }

  /** Returns the blob with one more hold on it, fetching it if it isn't here. */
  async #take(file: ServerFile, wish: FileWish): Promise<Blob> {
    for (;;) {
      wish.signal.throwIfAborted();
      const known = this.#blobs.get(file.sha256);
      if (known !== undefined) {
        known.held += 1;
        const isUsable = known.isVerified ? await this.#isThere(file) : await this.#isSound(file, known);
        if (isUsable) return this.#used(file.sha256, known);
        // A file of an earlier process may be damaged or incomplete, and somebody may have cleared the folder.
        this.#give(known);
        // Another step may have noticed the same and fetched it again already.
        if (this.#blobs.get(file.sha256) !== known) continue;
        this.#blobs.delete(file.sha256);
        await rm(this.#blobPath(file.sha256), { force: true });
      }
      const others = this.#fetching.get(file.sha256);
      if (others !== undefined) {
        // That fetch may end because its step does; then this step fetches.
        await abortable(
          others.catch(() => undefined),
          wish.signal,
        );
        continue;
      }
      const fetching = this.#fetch(file, wish).finally(() => this.#fetching.delete(file.sha256));
      this.#fetching.set(file.sha256, fetching);
      await fetching;
    }
  }

  async #fetch(file: ServerFile, wish: FileWish): Promise<void> {
    await this.#makeRoom(file.size);
    const partial = join(this.#folder, 'partial', randomUUID());
    wish.found(file.size);
    try {
      const sha256 = await this.#write(partial, file, wish);
      if (sha256 !== file.sha256) throw mismatch(wish.name);
      await rename(partial, this.#blobPath(file.sha256));
    } catch (error) {
      await rm(partial, { force: true });
      wish.signal.throwIfAborted();
      throw fileError(error, 'on the agent', partial, 'written');
    }
    this.#blobs.set(file.sha256, { size: file.size, held: 0, isVerified: true });
  }

  /** Fetches the file a few pieces ahead; returns the SHA-256 of what arrived. */
  async #write(path: string, { id, size }: ServerFile, { ask, moved }: FileWish): Promise<string> {
    const handle = await open(path, 'wx', 0o600);
    const hash = createHash('sha256');
    const parts = Math.ceil(size / limits.contentPartBytes);
    const coming: Promise<Buffer>[] = [];
    let next = 0;
    const askNext = () => {
      const piece = ask({ do: 'read_file', file: id, part: next }).then((answer) =>
        Buffer.from(requireAnswer(answer, 'data'), 'base64'),
      );
      // Errors after the first one are ignored.
      piece.catch(() => undefined);
      coming.push(piece);
      next += 1;
    };
    try {
      while (next < parts && coming.length < piecesAhead) askNext();
      for (let piece = coming.shift(); piece !== undefined; piece = coming.shift()) {
        const bytes = await piece;
        if (next < parts) askNext();
        await handle.writeFile(bytes);
        hash.update(bytes);
        moved(bytes.length);
      }
    } finally {
      await handle.close();
    }
    return hash.digest('hex');
  }

  async #isThere({ sha256, size }: ServerFile): Promise<boolean> {
    return stat(this.#blobPath(sha256)).then(
      (found) => found.size === size,
      () => false,
    );
  }

  async #isSound(file: ServerFile, blob: Blob): Promise<boolean> {
    const handle = await open(this.#blobPath(file.sha256)).catch(() => undefined);
    if (handle === undefined) return false;
    try {
      const sha256 = await hashBytes(
        blob.size,
        async (buffer, length, position) => (await handle.read(buffer, 0, length, position)).bytesRead,
      );
      blob.isVerified = sha256 === file.sha256 && blob.size === file.size;
      return blob.isVerified;
    } catch {
      // What the disk does not give back is fetched again.
      return false;
    } finally {
      await handle.close();
    }
  }

  #used(sha256: string, blob: Blob): Blob {
    this.#blobs.delete(sha256);
    this.#blobs.set(sha256, blob);
    return blob;
  }

  #give(blob: Blob): void {
    blob.held -= 1;
  }

  /** Removes the least recently used files that nobody holds. */
  async #makeRoom(bytes: number): Promise<void> {
    let kept = bytes;
    for (const { size } of this.#blobs.values()) kept += size;
    for (const [sha256, blob] of [...this.#blobs]) {
      if (kept <= this.#maxBytes) return;
      if (blob.held > 0) continue;
      this.#blobs.delete(sha256);
      try {
        await rm(this.#blobPath(sha256), { force: true });
        kept -= blob.size;
      } catch {
        // It still takes up its room, unless somebody has fetched it again meanwhile.
        if (!this.#blobs.has(sha256)) this.#blobs.set(sha256, blob);
      }
    }
  }

  #blobPath(sha256: string): string {
    return join(this.#folder, 'blobs', sha256);
  }
}

function mismatch(name: string): TransferError {
  return new TransferError({
    reason: 'checksum_mismatch',
    message: `${name} arrived from the server with a different SHA-256 from the one it has there.`,
    advice: 'Check the disk and the memory of the agent’s machine, and run the step again.',
    retryable: true,
  });
}
