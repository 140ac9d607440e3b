// The agent's side of a transfer: paths inside the file roots that its owner allows.
import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { agentCommand } from '../../command-line/typed-command.ts';
import type { AgentPolicy } from '../../policy/agent-policy.ts';
import { type FileRoot, isInside } from '../../policy/file-roots.ts';
import { PlannedDirectory } from '../tree/planned-directory.ts';
import { partsOf } from '../tree/safe-name.ts';
import { shownPath } from '../tree/shown-path.ts';
import { fileError, TransferError } from '../tree/transfer-error.ts';
import type { Directory, LocateOptions, Place, Tree } from '../tree/tree.ts';
import { FileThread } from './file-thread.ts';
import { LocalDirectory } from './local-directory.ts';

export class LocalTree implements Tree {
  readonly where = 'on the agent';
  readonly #policy: AgentPolicy;
  #files: FileThread | undefined;

  constructor(policy: AgentPolicy) {
    // A copy of the roots at this moment: a later change of the policy doesn't end a running transfer.
    this.#policy = { fileRoots: policy.fileRoots };
  }

  /** Rejects if the path may not be used in this way. */
  async check(path: string, write: boolean): Promise<void> {
    this.#rootOf(`/${partsOf(path).join('/')}`, write);
  }

  async locate(path: string, { write, create }: LocateOptions): Promise<Place> {
    const parts = partsOf(path);
    const plain = `/${parts.join('/')}`;
    const root = this.#rootOf(plain, write);
    const inside = parts.slice(partsOf(root.path).length);
    let parent: Directory = await this.#openRoot(root, write);
    const name = inside.pop();
    try {
      for (const part of inside) {
        if (create !== false && (await parent.look(part)) === undefined) {
          if (create === 'planned') {
            await parent.close();
            return { parent: new PlannedDirectory(plain.slice(0, plain.lastIndexOf('/'))), name };
          }
          await parent.make(part, 0o755);
        }
        const next = await parent.enter(part);
        await parent.close();
        parent = next;
      }
      return { parent, name };
    } catch (error) {
      await parent.close();
      throw error;
    }
  }

  /** Returns the directory that holds what a link leads to, and its name there; undefined if that is not allowed. */
  async locateReal(path: string, { write }: { write: boolean }): Promise<Place | undefined> {
    const roots = await Promise.all(
      this.#policy.fileRoots.map(async (root) => {
        // A root may be missing, for example because its disk is not mounted.
        const real = await realpath(root.path).catch(() => undefined);
        return real === undefined ? [] : [{ root, real }];
      }),
    );
    // The innermost of nested roots decides.
    const [nearest] = roots
      .flat()
      .filter(({ real }) => path !== real && isInside(path, real))
      .sort((a, b) => b.real.length - a.real.length);
    if (nearest === undefined) return undefined;
    const inside = partsOf(path).slice(partsOf(nearest.real).length);
    return this.locate(`${nearest.root.path}/${inside.join('/')}`, { write, create: false });
  }

  /** Releases the thread, if its directories used one. */
  async close(): Promise<void> {
    await this.#files?.release();
    this.#files = undefined;
  }

  #rootOf(path: string, write: boolean): FileRoot {
    const around = this.#policy.fileRoots
      .filter((root) => isInside(path, root.path))
      .sort((a, b) => b.path.length - a.path.length);
    const [nearest] = around;
    if (nearest === undefined) {
      const none = this.#policy.fileRoots.length === 0;
      throw new TransferError({
        reason: 'path_refused',
        message: none
          ? `${shownPath(path)} may not be used: the agent has no directories that steps may read or write.`
          : `${shownPath(path)} is in none of the directories that the agent's owner allows.`,
        advice: `Name a directory for it under file_roots in the agent's policy file (${agentCommand()} run --policy FILE), and have the agent read it again (SIGHUP).`,
      });
    }
    if (!write || nearest.mayWrite) return nearest;
    throw new TransferError({
      reason: 'path_refused',
      message: `${shownPath(path)} may only be read: the agent's policy file says so.`,
      advice: 'Write to another directory, or allow it with access: write in the policy file of the agent.',
    });
  }

  async #openRoot({ path }: FileRoot, write: boolean): Promise<LocalDirectory> {
    let handle: FileHandle;
    try {
      // Links on the path of a root are followed: the owner of the machine made them.
      handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      throw fileError(error, this.where, path, 'opened');
    }
    return new LocalDirectory(handle, path, {
      require: (below) => void this.#rootOf(below, write),
      locateReal: (real, use) => this.locateReal(real, use),
      files: () => {
        this.#files ??= FileThread.take();
        return this.#files;
      },
    });
  }
}
