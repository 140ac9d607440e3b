// The target's side of a transfer, over SFTP. Everything is addressed by paths; the target decides what is allowed.

import { joinPath } from '../tree/join-path.ts';
import { PlannedDirectory } from '../tree/planned-directory.ts';
import { partsOf } from '../tree/safe-name.ts';
import { fileError, sftpStatus } from '../tree/transfer-error.ts';
import type { LocateOptions, Place, Tree } from '../tree/tree.ts';
import { RemoteDirectory } from './remote-directory.ts';
import type { SftpLink } from './sftp-link.ts';

export class RemoteTree implements Tree {
  readonly where: string;
  readonly #link: SftpLink;

  constructor(link: SftpLink) {
    this.#link = link;
    this.where = `on ${link.host}`;
  }

  async locate(path: string, { create }: LocateOptions): Promise<Place> {
    const isInHome = path.startsWith('~/');
    const parts = partsOf(isInHome ? path.slice(1) : path);
    const home = isInHome ? await this.#home() : '/';
    const name = parts.pop();
    const parent = parts.reduce(joinPath, home);
    const isThere = await this.#requireDirectory(parent, create);
    return {
      parent: isThere ? new RemoteDirectory(this.#link, parent) : new PlannedDirectory(parent),
      name,
    };
  }

  async #home(): Promise<string> {
    const session = await this.#link.session();
    try {
      return await session.realPath('.');
    } catch (error) {
      throw fileError(error, this.where, '~', 'found');
    }
  }

  /** Returns whether it is there: false if it is only planned. */
  async #requireDirectory(path: string, create: LocateOptions['create']): Promise<boolean> {
    const session = await this.#link.session();
    try {
      const { mode } = await session.stat(path);
      if (((mode ?? 0) & 0o170000) === 0o040000) return true;
    } catch (error) {
      const isMissing = (error as { code?: unknown }).code === sftpStatus.noSuchFile;
      if (!isMissing || create === false || path === '/') throw fileError(error, this.where, path, 'found');
      await this.#requireDirectory(path.slice(0, path.lastIndexOf('/')) || '/', create);
      if (create === 'planned') {
        // A link that leads nowhere is in the way of a directory.
        if (await session.lstat(path).catch(() => undefined))
          throw fileError({ code: 'EEXIST' }, this.where, path, 'created');
        return false;
      }
      await session.makeDirectory(path, 0o755).catch((cause: unknown) => {
        throw fileError(cause, this.where, path, 'created');
      });
      return true;
    }
    throw fileError({ code: 'ENOTDIR' }, this.where, path, 'entered');
  }
}
