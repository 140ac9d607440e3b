// The target's side of a transfer with a Windows host that is reached by WinRM.
import { fileError } from '../sftp/tree/transfer-error.ts';
import type { LocateOptions, Place, Tree } from '../sftp/tree/tree.ts';
import { WindowsDirectory } from './windows-directory.ts';
import type { WindowsLink } from './windows-link.ts';
import { joined, partsOfWindowsPath } from './windows-path.ts';

export class WindowsTree implements Tree {
  readonly #link: WindowsLink;

  constructor(link: WindowsLink) {
    this.#link = link;
  }

  get where(): string {
    return this.#link.where;
  }

  async locate(path: string, { create }: LocateOptions): Promise<Place> {
    const { root, parts } = partsOfWindowsPath(path);
    const name = parts.pop();
    const parent = new WindowsDirectory(this.#link, parts.reduce(joined, root));
    const found = await parent.self();
    if (found === undefined && create === true) await parent.makeSelf();
    else if (found === undefined) throw fileError({ code: 'ENOENT' }, this.where, parent.path, 'found');
    else if (found.kind === 'file') throw fileError({ code: 'ENOTDIR' }, this.where, parent.path, 'entered');
    return { parent, name };
  }
}
