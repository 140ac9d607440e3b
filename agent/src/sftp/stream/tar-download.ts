// Fetches many small files of the target in one tar stream. The list of wanted files is sent to the target. What comes
// back must be in that list and match the listing, and is written only once tar has succeeded.
import type { CopiedFile } from '../copy/copy-file.ts';
import type { SftpLink } from '../remote/sftp-link.ts';
import { joinPath } from '../tree/join-path.ts';
import { bytesOf, nameOf } from '../tree/name-bytes.ts';
import { TransferError } from '../tree/transfer-error.ts';
import type { NewWholeFile } from '../tree/tree.ts';
import { grouped } from './grouped.ts';
import { type Mover, type MoverOptions, maxSmallBytes, type SmallFile } from './small-files.ts';
import { blockBytes, regularFile } from './tar-header.ts';
import { BadTarStream, type TarMember, TarReader } from './tar-reader.ts';
import { TargetShell } from './target-shell.ts';

/**
 * Blocks that tar writes at a time. For 5,000 files of 4 KiB the target needs 0.04 s of CPU time, 0.14 s by single
 * blocks.
 */
const recordBlocks = 64;

// Names begin with a dot, so that none is taken for an option. A block of ours after the archive confirms that tar
// succeeded; if it didn't, the shell exits.
const script = [
  'echo "$word ready"',
  [
    'while IFS= read -r bytes; do head -c "$bytes" | {',
    `tar -c -f - -b ${recordBlocks} --format=gnu --null --no-unquote --no-recursion --hard-dereference -T - 2>/dev/null;`,
    `s=$?; cat >/dev/null; exit $s; } || exit 1; printf "%-${blockBytes - 1}s\\n" "$word"; done`,
  ].join(' '),
];
/** Limit for the header, the padding, and a record with a long name. */
const maxOverheadBytes = 8 * blockBytes + 4_096;

interface Wanted extends SmallFile {
  at: number;
}

export class TarDownload implements Mover {
  readonly #link: SftpLink;
  readonly #options: MoverOptions;
  #shell: Promise<TargetShell | undefined> | undefined;
  /** Settles when the current stream has been read: one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(link: SftpLink, options: MoverOptions) {
    this.#link = link;
    this.#options = options;
  }

  takes({ copy }: SmallFile): boolean {
    return copy.to.writeWhole !== undefined && this.#nameOf(copy) !== undefined;
  }

  async move(files: readonly SmallFile[]): Promise<(CopiedFile | undefined)[]> {
    const fetching = this.#turn.then(() => this.#fetch(files));
    this.#turn = fetching.catch(() => undefined);
    return this.#write(files, await fetching);
  }

  end(): Promise<void> {
    return this.stop();
  }

  async stop(): Promise<void> {
    (await this.#shell)?.close();
  }

  /**
   * Returns the members by the index of their file; empty if the target has no such shell. Rejects if the stream is
   * bad.
   */
  async #fetch(files: readonly SmallFile[]): Promise<Map<number, TarMember>> {
    this.#shell ??= TargetShell.open(this.#link, script, this.#options.top());
    const shell = await this.#shell;
    if (shell === undefined) return new Map();
    const wanted = new Map(
      files.map((file, at): [string, Wanted] => [this.#nameOf(file.copy) ?? '', { ...file, at }]),
    );
    const list = bytesOf([...wanted.keys()].map((name) => `${name}\0`).join(''));
    const found = new Map<number, TarMember>();
    const reader = new TarReader({
      maxMemberBytes: maxSmallBytes,
      recordBytes: recordBlocks * blockBytes,
      maxBytes: files.reduce((sum, { size }) => sum + size + maxOverheadBytes, 0),
      onMember: (member) => {
        const file = wanted.get(nameOf(member.name));
        if (file !== undefined && isAsListed(member, file)) found.set(file.at, member);
      },
    });
    const wentWell = `${shell.word.padEnd(blockBytes - 1)}\n`;
    let end: string | undefined;
    const reading = shell.read((bytes) => {
      const rest = end === undefined ? reader.push(bytes) : bytes;
      if (rest !== undefined) end = (end ?? '') + rest.toString('latin1');
      return end !== undefined && end.length >= blockBytes ? end : undefined;
    });
    shell.send([list]);
    try {
      if ((await reading) === wentWell) return found;
      throw new BadTarStream('something else follows the archive');
    } catch (error) {
      // Whatever is wrong, the next stream starts with a new shell.
      shell.close();
      this.#shell = undefined;
      throw error;
    }
  }

  async #write(
    files: readonly SmallFile[],
    found: ReadonlyMap<number, TarMember>,
  ): Promise<(CopiedFile | undefined)[]> {
    const copied: (CopiedFile | undefined)[] = files.map(() => undefined);
    const admitted = [...found].flatMap(([at, member]) => newFileOf(files[at] as SmallFile, member, at));
    const groups = grouped(admitted, ({ to }) => to);
    await Promise.all(
      [...groups].map(async ([to, group]) => {
        const written = (await to.writeWhole?.(group.map(({ file }) => file))) ?? [];
        for (const [n, { at, file }] of group.entries()) {
          if (written[n] !== true) continue;
          copied[at] = { size: file.bytes.length, movedBytes: file.bytes.length };
          this.#options.moved(file.bytes.length);
        }
      }),
    );
    return copied;
  }

  /** Returns the name below the top; undefined if the file is elsewhere, behind a followed link. */
  #nameOf({ from, fromName }: SmallFile['copy']): string | undefined {
    const [path, top] = [joinPath(from.path, fromName), joinPath(this.#options.top(), '')];
    return path.startsWith(top) ? `./${path.slice(top.length)}` : undefined;
  }
}

/** Checked because files change, and because a shell and SFTP may see different directories under the same names. */
function isAsListed({ type, size, mtimeS }: TarMember, listed: SmallFile): boolean {
  return type === regularFile && size === listed.size && mtimeS === listed.mtimeS;
}

function newFileOf({ copy }: SmallFile, { bytes, size, mode, mtimeS }: TarMember, at: number) {
  try {
    copy.admit?.({ size });
  } catch (error) {
    // When the file is then copied by itself, it is refused again and reported.
    if (error instanceof TransferError) return [];
    throw error;
  }
  const attributes = { mode, ...copy.attributes({ mode, mtimeS }) };
  const file: NewWholeFile = { name: copy.toName, bytes, attributes };
  return [{ at, to: copy.to, file }];
}
