import { constants } from 'node:fs';
import { copyFile, type FileHandle, open, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';

const maxBytes = 16 * 1024 * 1024;
const tailBytes = 4096;

/** What PostgreSQL writes to its standard error, in a file so that it outlives this process. */
export class PostgresLog {
  readonly path: string;

  constructor(folder: string) {
    this.path = join(folder, 'postgres.log');
  }

  open(): Promise<FileHandle> {
    const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
    return open(this.path, O_APPEND | O_CREAT | O_NOFOLLOW | O_WRONLY, 0o600);
  }

  async size(): Promise<number> {
    return stat(this.path).then(
      ({ size }) => size,
      () => 0,
    );
  }

  /** The end of what was written since a size. */
  async tail(since: number): Promise<string> {
    const size = await this.size();
    const from = Math.max(since > size ? 0 : since, size - tailBytes);
    const file = await open(this.path, 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
      return buffer.toString('utf8', 0, bytesRead).trim();
    } finally {
      await file.close();
    }
  }

  /** Keeps the file and one older one bounded. The writer appends, so the file may be cut under it. */
  async trim(): Promise<void> {
    if ((await this.size()) < maxBytes) return;
    await copyFile(this.path, `${this.path}.1`);
    await truncate(this.path);
  }
}
