// Sends many small files to the target in one tar stream. They are unpacked into temporary directories next to their
// destinations and renamed from there. A directory that the transfer has just made is replaced with all its files at
// once.
import type { CopiedFile, FileCopy } from '../copy/copy-file.ts';
import type { SftpLink } from '../remote/sftp-link.ts';
import { joinPath } from '../tree/join-path.ts';
import { bytesOf } from '../tree/name-bytes.ts';
import { temporaryName } from '../tree/temporary-name.ts';
import type { Directory, WholeFile } from '../tree/tree.ts';
import { grouped } from './grouped.ts';
import type { Mover, MoverOptions, SmallFile } from './small-files.ts';
import { blockBytes, endBlocks, paddingOf, writeHeader } from './tar-header.ts';
import { TargetShell } from './target-shell.ts';

// Each line is either a directory to be removed at the end, after the word that no file's content can know, or a number
// of bytes to be unpacked. The temporary directories empty as their files are renamed; the shell removes what is left
// of them when it ends, even if its connection is lost. Content must never be read as lines, however tar fails.
const scriptOf = (flags: string) => [
  `set --; trap 'rm -rf "$@"' EXIT; trap "exit 1" HUP INT TERM`,
  'echo "$word ready"',
  [
    'while IFS= read -r line; do case "$line" in',
    `"$word "*) set -- "$@" "\${line#* }";;`,
    `*) head -c "$line" | { tar -x -p ${flags} -f - >/dev/null 2>&1; s=$?; cat >/dev/null; exit $s; } || exit 1;`,
    'echo "$word unpacked";;',
    'esac; done',
  ].join(' '),
];
/** How many names of directories a shell holds before it is replaced by another. */
const maxStages = 2_000;
const zeros = Buffer.alloc(blockBytes);

/** The files for one directory. Paths are relative to the top. */
interface Group {
  to: Directory;
  /** Temporary directory, removed once it is empty. */
  stage: string;
  unpackedIn: string;
  /** Whether it replaces the whole directory. */
  replaces: boolean;
  files: { at: number; copy: FileCopy; file: WholeFile }[];
}

export class TarUpload implements Mover {
  readonly #link: SftpLink;
  readonly #options: MoverOptions;
  readonly #script: readonly string[];
  #shell: Promise<TargetShell | undefined> | undefined;
  #stages = 0;
  /** Settles when the current unpacking is done: one at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #placing: Promise<unknown> = Promise.resolve();
  /** Memory of finished batches, for reuse; as many pieces as there are batches at a time. */
  readonly #free: SharedArrayBuffer[] = [];

  constructor(link: SftpLink, options: MoverOptions) {
    this.#link = link;
    this.#options = options;
    this.#script = scriptOf(`--no-same-owner${options.keepsTimes ? '' : ' -m'}`);
  }

  takes({ copy, mtimeS }: SmallFile): boolean {
    // The shell is sent the path of each directory as one line.
    return copy.from.readWhole !== undefined && mtimeS >= 0 && !copy.to.path.includes('\n');
  }

  async move(files: readonly SmallFile[]): Promise<(CopiedFile | undefined)[]> {
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    const free = this.#free.pop();
    const memory = free !== undefined && free.byteLength >= bytes ? free : new SharedArrayBuffer(bytes);
    const copied = await this.#moveBy(memory, files);
    this.#free.push(memory);
    return copied;
  }

  async #moveBy(memory: SharedArrayBuffer, files: readonly SmallFile[]): Promise<(CopiedFile | undefined)[]> {
    const groups = await this.#read(files, memory);
    const unpacking = this.#turn.then(() => this.#unpack(groups));
    this.#turn = unpacking.catch(() => undefined);
    const copied: (CopiedFile | undefined)[] = files.map(() => undefined);
    if (!(await unpacking)) return copied;
    const placing = Promise.all(groups.map((group) => this.#place(group)));
    this.#placing = placing;
    for (const { at, file } of (await placing).flat()) {
      copied[at] = { size: file.bytes.length, movedBytes: file.bytes.length };
      this.#options.moved(file.bytes.length);
    }
    return copied;
  }

  async end(): Promise<void> {
    const shell = await this.#shell;
    this.#shell = undefined;
    await shell?.end();
  }

  async stop(): Promise<void> {
    (await this.#shell)?.close();
  }

  async #read(files: readonly SmallFile[], memory: SharedArrayBuffer): Promise<Group[]> {
    const sources = grouped(
      files.map(({ copy, size }, at) => ({ copy, size, at })),
      ({ copy }) => copy.from,
    );
    let next = 0;
    const read = await Promise.all(
      [...sources].map(async ([from, wanted]) => {
        const bytes = wanted.reduce((sum, { size }) => sum + size, 0);
        const into = new Uint8Array(memory, next, bytes);
        next += bytes;
        const names = wanted.map(({ copy }) => copy.fromName);
        const whole = (await from.readWhole?.(names, into)) ?? [];
        return wanted.flatMap(({ at, copy }, n) => {
          const file = whole[n];
          return file === undefined ? [] : [{ at, copy, file }];
        });
      }),
    );
    const name = temporaryName(undefined);
    return [...grouped(read.flat(), ({ copy }) => copy.to)].map(([to, group], number) => {
      const under = group[0]?.copy.madeUnder;
      if (under === undefined) {
        const stage = this.#below(joinPath(to.path, name));
        return { to, stage, unpackedIn: stage, replaces: false, files: group };
      }
      const stage = this.#below(joinPath(under, name));
      return { to, stage, unpackedIn: `${stage}/${number}`, replaces: true, files: group };
    });
  }

  /** Unpacks the groups on the target. Returns whether everything was unpacked. */
  async #unpack(groups: readonly Group[]): Promise<boolean> {
    if (this.#stages >= maxStages) {
      await this.#placing;
      await this.end();
      this.#stages = 0;
    }
    this.#shell ??= TargetShell.open(this.#link, this.#script, this.#options.top());
    const shell = await this.#shell;
    if (shell === undefined) return false;
    const stages = new Set(groups.map(({ stage }) => stage));
    this.#stages += stages.size;
    const ended = shell.line().catch((error: unknown) => {
      shell.close();
      this.#shell = undefined;
      throw error;
    });
    for (const stage of stages) shell.write(bytesOf(`${shell.word} ${stage}\n`));
    shell.send([...groups.flatMap(archived), endBlocks]);
    if ((await ended) === `${shell.word} unpacked`) return true;
    // Close the shell: it may not have read everything yet, and the memory is reused for the next batch.
    shell.close();
    this.#shell = undefined;
    return false;
  }

  /** Renames the files to their places. Returns those that succeeded. */
  async #place(group: Group): Promise<Group['files']> {
    const { to, stage, unpackedIn, replaces, files } = group;
    // The server refuses this if the directory has become non-empty.
    const isReplaced = replaces && (await this.#rename(unpackedIn, to.path));
    const renamed = await Promise.all(
      files.map(
        ({ copy }) =>
          isReplaced || this.#rename(`${unpackedIn}/${copy.toName}`, joinPath(to.path, copy.toName)),
      ),
    );
    const session = await this.#link.session();
    // Other groups may still have files in the stage; the last group finds it empty.
    if (!isReplaced && replaces) await session.removeDirectory(this.#path(unpackedIn)).catch(() => undefined);
    await session.removeDirectory(this.#path(stage)).catch(() => undefined);
    return files.filter((_, n) => renamed[n] === true);
  }

  async #rename(path: string, to: string): Promise<boolean> {
    try {
      const session = await this.#link.session();
      await session.replace(this.#path(path), to);
      return true;
    } catch {
      return false;
    }
  }

  #below(path: string): string {
    return `./${path.slice(joinPath(this.#options.top(), '').length)}`;
  }

  #path(below: string): string {
    return joinPath(this.#options.top(), below.slice(2));
  }
}

function archived({ unpackedIn, files }: Group): Buffer[] {
  return files.flatMap(({ copy, file }) => {
    const { mode = 0o600, mtimeS = file.mtimeS } = copy.attributes(file);
    const size = file.bytes.length;
    const name = bytesOf(`${unpackedIn}/${copy.toName}`);
    return [writeHeader({ name, size, mode, mtimeS }), file.bytes, zeros.subarray(0, paddingOf(size))];
  });
}
