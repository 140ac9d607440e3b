// A shell on the target that handles tar streams during a transfer. It needs GNU tar and a `head` that doesn't read too
// many bytes; without them there is no such shell, and files are copied over SFTP.
import { randomBytes } from 'node:crypto';
import type { ClientChannel } from 'ssh2';
import type { PooledShell, SftpLink } from '../remote/sftp-link.ts';
import { bytesOf } from '../tree/name-bytes.ts';

/** Time for the shell to start, in ms. A slower one wouldn't be faster than SFTP. */
const beginMs = 10_000;
/** Time for it to remove what it made and to end, in ms. */
const endMs = 10_000;
const maxLineBytes = 1_000;
/** Limit on what startup files of the shell may print before it is ready. */
const maxNoiseBytes = 64 * 1024;

// Works in any login shell. It reads one line: a script for /bin/sh.
const command = `exec /bin/sh -c 'IFS= read -r s; eval "$s"'`;

/**
 * Runs before the stream's own script: reads the word that identifies the shell's answers and the directory to work in,
 * and checks the tools. SIGPIPE is ignored so that a shell whose connection is lost only sees the end of its input, and
 * still removes what has to be removed.
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
  /** A random word that the shell knows too. */
  readonly word: string;
  readonly #pooled: PooledShell;
  readonly #channel: ClientChannel;
  #onData: ((bytes: Buffer) => void) | undefined;
  #onEnd: ((error: Error) => void) | undefined;
  #isOver = false;
  /** Buffer for sending, kept for reuse: that lowered an agent's peak memory (ADR 0064). */
  #memory = Buffer.alloc(0);

  private constructor(pooled: PooledShell, word: string) {
    this.word = word;
    this.#pooled = pooled;
    this.#channel = pooled.channel;
    this.#channel.stderr.resume();
    this.#channel.on('data', (bytes: Buffer) => this.#onData?.(bytes));
    for (const event of ['error', 'close']) this.#channel.on(event, () => this.#over());
  }

  /**
   * Starts a shell.
   *
   * @param script statements for /bin/sh; they run in the directory `top` and print `$word ready`
   * @returns undefined if the target has no such shell, or not in time. Never rejects.
   */
  static async open(
    link: SftpLink,
    script: readonly string[],
    top: string,
  ): Promise<TargetShell | undefined> {
    const word = randomBytes(16).toString('hex');
    const lines = [[...preamble, ...script].join('; '), word, top];
    if (lines.some((line) => line.includes('\n'))) return undefined;
    // Limited, because places on connections are few: this transfer may hold the last one while it waits for another.
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), beginMs);
    let shell: TargetShell | undefined;
    try {
      const pooled = await link.shell(command, patience.signal);
      if (pooled === undefined) return undefined;
      shell = new TargetShell(pooled, word);
      patience.signal.addEventListener('abort', () => shell?.close());
      const begun = shell.#heard(`${word} ready\n`);
      shell.#channel.write(bytesOf(`${lines.join('\n')}\n`));
      await begun;
      return shell;
    } catch {
      // Also if the transfer is being stopped: copying over SFTP then reports that.
      shell?.close();
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends the number of bytes and then the bytes. The script must have answered before more is sent. */
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

  /** Returns the next line that the shell prints. */
  line(): Promise<string> {
    let said = '';
    return this.read((bytes) => {
      said += bytes.toString('latin1');
      if (said.length > maxLineBytes) throw new Error('the shell says something else');
      return said.endsWith('\n') ? said.trimEnd() : undefined;
    });
  }

  /** Passes what the target sends to `take` until that returns something. Rejects if the shell ends before. */
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

  /** Ends its input, and waits until it has removed what it made. */
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
    this.#pooled.release();
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
