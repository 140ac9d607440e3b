import { constants } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../embedded-postgres-error.ts';
import { giveToFolderOwner, notOurs } from '../folder-owner.ts';

const maxBytes = 16 * 1024 * 1024;
const tailBytes = 4096;

/** What PostgreSQL writes to its standard error; in a file, so that it outlives this process. */
export class PostgresLog {
  readonly path: string;

  constructor(folder: string) {
    this.path = join(folder, 'postgres.log');
  }

  async open(): Promise<FileHandle> {
    const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
    const flags = O_APPEND | O_CREAT | O_NOFOLLOW | O_WRONLY;
    try {
      const made = await open(this.path, flags | O_EXCL, 0o600);
      await giveToFolderOwner(made, this.path);
      return made;
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    return open(this.path, flags, 0o600).catch(async (error) => {
      throw isErrno(error, 'EACCES') ? await notOurs(this.path, error) : error;
    });
  }

  async size(): Promise<number> {
    return stat(this.path).then(
      ({ size }) => size,
      () => 0,
    );
  }

  /** Returns the end of what was written since the file had the given size. */
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

  /**
   * Bounds the size of the file and of one older file. The writer appends, so the file may be truncated under it. No
   * link is followed, because root may run this.
   */
  async trim(): Promise<void> {
    if ((await this.size()) < maxBytes) return;
    const file = await open(this.path, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      await copyAnew(file, `${this.path}.1`);
      await file.truncate();
    } finally {
      await file.close();
    }
  }
}

async function copyAnew(file: FileHandle, path: string): Promise<void> {
  await rm(path, { force: true });
  const made = await open(path, 'wx', 0o600);
  try {
    await giveToFolderOwner(made, path);
    for await (const chunk of file.createReadStream({ start: 0, autoClose: false }))
      await made.writeFile(chunk);
  } finally {
    await made.close();
  }
}
