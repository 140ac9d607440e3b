// A directory of a Windows host, addressed by its path. Requests go to the file server that runs there.
import { isSafeName } from '../sftp/tree/safe-name.ts';
import { temporaryName } from '../sftp/tree/temporary-name.ts';
import { fileError, TransferError } from '../sftp/tree/transfer-error.ts';
import type { Attributes, Directory, Entry, Sink, SinkOptions, Source } from '../sftp/tree/tree.ts';
import { FileRefused, type FileSession, textOf, wordOf } from '../winrm/files/file-session.ts';
import { numberOf, WindowsSink, WindowsSource } from './windows-file.ts';
import type { WindowsLink } from './windows-link.ts';
import { askedPath, joined, requireWindowsName, windowsPath } from './windows-path.ts';

/** Permission bits that files from Windows get on the agent, since Windows has none. */
const modes = { file: 0o644, directory: 0o755 } as const;

interface WindowsEntry extends Entry {
  /** The kind of a link's target; for anything else, its own kind. */
  leadsTo: 'file' | 'directory';
}

export class WindowsDirectory implements Directory {
  readonly path: string;
  readonly #link: WindowsLink;
  /** Whether links in it may be entered, because the step follows links. */
  readonly #follows: boolean;

  constructor(link: WindowsLink, path: string, follows = false) {
    this.#link = link;
    this.path = path;
    this.#follows = follows;
  }

  /** Converts letter by letter, as NTFS compares names: ß is not SS there. */
  sameName(name: string): string {
    return [...name].map(upperCase).join('');
  }

  async list(): Promise<Entry[]> {
    return this.#told(this.path, 'listed', async (session) => {
      const rows = await session.request('list', wordOf(askedPath(this.path)));
      return rows.slice(0, -1).map(([name = '', ...words]) => {
        const entry = entryOf(textOf(name), words);
        return isSafeName(entry.name) ? entry : { ...entry, kind: 'other' };
      });
    });
  }

  look(name: string): Promise<WindowsEntry | undefined> {
    return this.#look(this.#at(name), name);
  }

  /** Returns the directory's own entry; undefined if it doesn't exist. */
  self(): Promise<WindowsEntry | undefined> {
    return this.#look(this.path, '');
  }

  async makeSelf(): Promise<void> {
    await this.#asked(this.path, 'created', 'mkdir');
  }

  async enter(name: string): Promise<WindowsDirectory> {
    const entry = await this.look(name);
    const isOne = this.#follows ? entry?.leadsTo === 'directory' : entry?.kind === 'directory';
    if (isOne) return new WindowsDirectory(this.#link, this.#at(name));
    const code = entry === undefined ? 'ENOENT' : entry.kind === 'link' ? 'ELOOP' : 'ENOTDIR';
    throw fileError({ code }, this.#link.where, windowsPath(this.#at(name)), 'entered');
  }

  async make(name: string): Promise<void> {
    await this.#asked(this.#at(name), 'created', 'mkdir');
  }

  openSource(name: string): Promise<Source> {
    return WindowsSource.open(this.#link, this.#at(name));
  }

  openSink(name: string, { resumeKey }: SinkOptions): Promise<Sink> {
    const paths = { temporary: this.#at(temporaryName(resumeKey)), final: this.#at(name) };
    return WindowsSink.open(this.#link, paths, resumeKey !== undefined);
  }

  async readLink(name: string): Promise<string> {
    throw linkKept(name);
  }

  async follow(name: string): Promise<{ directory: Directory; entry: Entry } | undefined> {
    const entry = await this.look(name);
    if (entry?.kind !== 'link') return undefined;
    return {
      directory: new WindowsDirectory(this.#link, this.path, true),
      entry: { ...entry, kind: entry.leadsTo },
    };
  }

  async makeLink(name: string): Promise<void> {
    throw linkKept(name);
  }

  async removeFile(name: string): Promise<void> {
    await this.#asked(this.#at(name), 'deleted', 'delete');
  }

  async removeDirectory(name: string): Promise<void> {
    await this.#asked(this.#at(name), 'deleted', 'rmdir');
  }

  async setAttributes(name: string, { mtimeS }: Attributes): Promise<void> {
    if (mtimeS === undefined) return;
    await this.#asked(this.#at(name), 'given its time', 'time', String(mtimeS));
  }

  /** Does nothing: Windows has no permission bits. */
  async leave(): Promise<void> {}

  async freeBytes(): Promise<number | undefined> {
    if (!/^[A-Za-z]:/.test(this.path)) return undefined;
    const session = await this.#link.session();
    const [bytes] = await session.ask('free', wordOf(`${this.path.slice(0, 2)}\\`)).catch(() => []);
    return bytes === undefined || !/^\d+$/.test(bytes) ? undefined : Number(bytes);
  }

  async close(): Promise<void> {}

  async #look(path: string, name: string): Promise<WindowsEntry | undefined> {
    const session = await this.#link.session();
    try {
      return entryOf(name, await session.ask('stat', wordOf(askedPath(path))));
    } catch (error) {
      if (error instanceof FileRefused && error.code === 'missing') return undefined;
      throw this.#link.problem(error, windowsPath(path), 'looked at');
    }
  }

  async #asked(path: string, doing: string, verb: string, ...words: string[]): Promise<void> {
    await this.#told(path, doing, (session) => session.ask(verb, wordOf(askedPath(path)), ...words));
  }

  async #told<T>(path: string, doing: string, act: (session: FileSession) => Promise<T>): Promise<T> {
    const session = await this.#link.session();
    try {
      return await act(session);
    } catch (error) {
      throw this.#link.problem(error, windowsPath(path), doing);
    }
  }

  #at(name: string): string {
    requireWindowsName(name);
    return joined(this.path, name);
  }
}

function upperCase(letter: string): string {
  const upper = letter.toUpperCase();
  return upper.length === letter.length ? upper : letter;
}

function entryOf(name: string, [kind = '', size = '', mtimeS = '']: string[]): WindowsEntry {
  const leadsTo = kind.endsWith('d') ? 'directory' : 'file';
  return {
    name,
    kind: kind.startsWith('l') ? 'link' : leadsTo,
    leadsTo,
    size: numberOf(size),
    mode: modes[leadsTo],
    mtimeS: numberOf(mtimeS),
  };
}

function linkKept(name: string): TransferError {
  return new TransferError({
    reason: 'path_refused',
    message: `${name} is a link, and links are not copied to or from a Windows host.`,
    advice: 'Set symlinks to follow to get what it leads to, or to skip.',
  });
}
