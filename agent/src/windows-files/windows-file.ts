// Reads and writes files of a Windows host through the file server, which holds them open.
import type { Attributes, Sink, Source } from '../sftp/tree/tree.ts';
import { type FileSession, wordOf } from '../winrm/files/file-session.ts';
import { protocolError } from '../winrm/winrm-error.ts';
import type { WindowsLink } from './windows-link.ts';
import { askedPath, windowsPath } from './windows-path.ts';

interface OpenFile {
  link: WindowsLink;
  session: FileSession;
  handle: string;
  path: string;
}

export class WindowsSource implements Source {
  readonly size: number;
  readonly mode = 0o644;
  readonly mtimeS: number;
  readonly #file: OpenFile;

  private constructor(file: OpenFile, size: number, mtimeS: number) {
    this.#file = file;
    this.size = size;
    this.mtimeS = mtimeS;
  }

  static async open(link: WindowsLink, path: string): Promise<WindowsSource> {
    const session = await link.session();
    try {
      const [handle = '', size = '', mtimeS = ''] = await session.ask('open', wordOf(askedPath(path)));
      return new WindowsSource({ link, session, handle, path }, numberOf(size), numberOf(mtimeS));
    } catch (error) {
      throw link.problem(error, windowsPath(path), 'read');
    }
  }

  async read(buffer: Buffer, length: number, position: number): Promise<number> {
    const [data = ''] = await asked(this.#file, 'read', 'read', String(position), String(length));
    return Buffer.from(data, 'base64').copy(buffer, 0, 0, length);
  }

  async hash(length: number): Promise<string> {
    return (await asked(this.#file, 'read', 'hash', String(length)))[0] ?? '';
  }

  async hasChanged(): Promise<boolean> {
    const { link, session, path } = this.#file;
    try {
      const [, size = '', mtimeS = ''] = await session.ask('stat', wordOf(askedPath(path)));
      return numberOf(size) !== this.size || numberOf(mtimeS) !== this.mtimeS;
    } catch (error) {
      throw link.problem(error, windowsPath(path), 'read');
    }
  }

  async close(): Promise<void> {
    // A lost session has closed it anyway.
    await this.#file.session.ask('close', this.#file.handle).catch(() => undefined);
  }
}

export class WindowsSink implements Sink {
  readonly keptBytes: number;
  readonly #file: OpenFile;

  private constructor(file: OpenFile, keptBytes: number) {
    this.#file = file;
    this.keptBytes = keptBytes;
  }

  /** @param mayGoOn whether to resume what an earlier try left under the temporary name */
  static async open(
    link: WindowsLink,
    { temporary, final }: { temporary: string; final: string },
    mayGoOn: boolean,
  ): Promise<WindowsSink> {
    const session = await link.session();
    try {
      const words = [wordOf(askedPath(temporary)), mayGoOn ? 'keep' : 'new'];
      const [handle = '', keptBytes = ''] = await session.ask('create', ...words);
      return new WindowsSink({ link, session, handle, path: final }, numberOf(keptBytes));
    } catch (error) {
      throw link.problem(error, windowsPath(final), 'written');
    }
  }

  async write(buffer: Buffer, length: number, position: number): Promise<void> {
    const { link, session, handle, path } = this.#file;
    try {
      await session.write(handle, position, buffer.subarray(0, length));
    } catch (error) {
      throw link.problem(error, windowsPath(path), 'written');
    }
  }

  async hash(length: number): Promise<string> {
    return (await asked(this.#file, 'written', 'hash', String(length)))[0] ?? '';
  }

  async commit({ mtimeS }: Attributes, size: number): Promise<void> {
    const time = mtimeS === undefined ? '-' : String(mtimeS);
    await asked(this.#file, 'written', 'commit', wordOf(askedPath(this.#file.path)), String(size), time);
  }

  async discard(keep: boolean): Promise<void> {
    const { session, handle } = this.#file;
    await session.ask('discard', handle, keep ? 'keep' : 'drop').catch(() => undefined);
  }
}

/** Sends a request about an open file. An earlier failed write of the file takes precedence over any other error. */
async function asked(
  { link, session, handle, path }: OpenFile,
  doing: string,
  verb: string,
  ...words: string[]
): Promise<string[]> {
  try {
    const answer = await session.ask(verb, handle, ...words);
    const refusal = session.refusalOf(handle);
    if (refusal !== undefined) throw refusal;
    return answer;
  } catch (error) {
    throw link.problem(session.refusalOf(handle) ?? error, windowsPath(path), doing);
  }
}

/** Parses a size or a time from the host's answer. */
export function numberOf(word: string): number {
  const number = Number(word);
  if (!/^-?\d{1,15}$/.test(word)) throw protocolError('a number in its answer is invalid');
  return number;
}
