// A shell of ours on the target that works on tar streams for the length of a transfer. It is had where the target has a
// shell, GNU tar and a `head` that takes no byte too many; elsewhere there is none, and files go by SFTP.
import { randomBytes } from 'node:crypto';
import type { ClientChannel } from 'ssh2';
import type { SftpLink, ShellLease } from '../remote/sftp-link.ts';
import { bytesOf } from '../tree/name-bytes.ts';

/** For the shell to begin: one that takes longer is not faster than SFTP. */
const beginMs = 10_000;
/** For it to remove what it made and to end. */
const endMs = 10_000;
const maxLineBytes = 1_000;
/** What start-up files of a shell may print before that. */
const maxNoiseBytes = 64 * 1024;

// One line that any login shell takes as it is; what it reads is a script for /bin/sh in one line.
const command = `exec /bin/sh -c 'IFS= read -r s; eval "$s"'`;

/**
 * Ahead of what a stream does: the word by which it is known, and what it is to work in. A shell whose connection is
 * gone gets no signal but the end of its input, and goes on to what is to be removed.
 */
const preamble = [
  'LC_ALL=C; export LC_ALL; unset TAR_OPTIONS; umask 077',
  'trap "" PIPE',
  'IFS= read -r word; IFS= read -r top',
  'case "$(tar --version 2>/dev/null)" in *"GNU tar"*) ;; *) exit 8;; esac',
  `[ "$(printf 'ab\\ncd\\n' | { head -c 3 >/dev/null; IFS= read -r x; echo "$x"; })" = cd ] || exit 8`,
  'cd "$top" || exit 9',
];

export class TargetShell {
  /** By chance; it knows it too. */
  readonly word: string;
  readonly #lease: ShellLease;
  readonly #channel: ClientChannel;
  #onData: ((bytes: Buffer) => void) | undefined;
  #onEnd: ((error: Error) => void) | undefined;
  #isOver = false;
  /** What is sent, kept from one time to the next: an agent's peak was lower so (ADR 0064). */
  #memory = Buffer.alloc(0);

  private constructor(lease: ShellLease, word: string) {
    this.word = word;
    this.#lease = lease;
    this.#channel = lease.channel;
    this.#channel.stderr.resume();
    this.#channel.on('data', (bytes: Buffer) => this.#onData?.(bytes));
    for (const event of ['error', 'close']) this.#channel.on(event, () => this.#over());
  }

  /**
   * @param script for /bin/sh, statement by statement; works in the directory `top`, and says `$word ready`.
   * @returns undefined where the target has no such shell, or none in time. Never rejects.
   */
  static async open(
    link: SftpLink,
    script: readonly string[],
    top: string,
  ): Promise<TargetShell | undefined> {
    const word = randomBytes(16).toString('hex');
    const lines = [[...preamble, ...script].join('; '), word, top];
    if (lines.some((line) => line.includes('\n'))) return undefined;
    // Places on connections are few: the last one may be held by the transfer that waits for another one.
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), beginMs);
    let shell: TargetShell | undefined;
    try {
      const lease = await link.shell(command, patience.signal);
      if (lease === undefined) return undefined;
      shell = new TargetShell(lease, word);
      patience.signal.addEventListener('abort', () => shell?.close());
      const begun = shell.#heard(`${word} ready\n`);
      shell.#channel.write(bytesOf(`${lines.join('\n')}\n`));
      await begun;
      return shell;
    } catch {
      // Also where the transfer is stopped: what goes by SFTP then says so.
      shell?.close();
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a number of bytes and these; a script reads both, and has answered before it is sent more. */
  send(pieces: readonly Buffer[]): void {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(length);
    let at = 0;
    for (const piece of pieces) at += piece.copy(this.#memory, at);
    this.write(Buffer.from(`${length}\n`));
    this.write(this.#memory.subarray(0, length));
  }

  write(bytes: Buffer): void {
    this.#channel.write(bytes);
  }

  /** The next line that it says. */
  line(): Promise<string> {
    let said = '';
    return this.read((bytes) => {
      said += bytes.toString('latin1');
      if (said.length > maxLineBytes) throw new Error('the shell says something else');
      return said.endsWith('\n') ? said.trimEnd() : undefined;
    });
  }

  /** Hands over what the target sends until `take` returns something. Rejects when the shell is over before. */
  read<T>(take: (bytes: Buffer) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        this.#onData = undefined;
        this.#onEnd = undefined;
        settle();
      };
      if (this.#isOver) {
        reject(new Error('the shell is over'));
        return;
      }
      this.#onEnd = (error) => finish(() => reject(error));
      this.#onData = (bytes) => {
        try {
          const taken = take(bytes);
          if (taken !== undefined) finish(() => resolve(taken));
        } catch (error) {
          finish(() => reject(error));
        }
      };
    });
  }

  /** Ends its input, and waits for it to have removed what it made. */
  async end(): Promise<void> {
    if (!this.#isOver) {
      const over = new Promise<void>((resolve) => {
        this.#onEnd = () => resolve();
      });
      const timer = setTimeout(() => this.close(), endMs);
      this.#channel.end();
      await over;
      clearTimeout(timer);
    }
    this.close();
  }

  close(): void {
    this.#channel.close();
    this.#lease.release();
    this.#over();
  }

  #heard(text: string): Promise<true> {
    let heard = '';
    return this.read((bytes) => {
      heard += bytes.toString('latin1');
      if (heard.endsWith(text)) return true;
      if (heard.length > maxNoiseBytes) throw new Error('the shell says something else');
      return undefined;
    });
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onEnd?.(new Error('the shell is over'));
  }
}
