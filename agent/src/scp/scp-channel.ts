// Talks to an `scp` on the target: lines and bytes, each with an answer (0: success; 1: a warning, 2: a fatal error,
// both with a line of text). The protocol is that of rcp; there is no standard for it.
import type { ClientChannel } from 'ssh2';
import { bytesOf, nameOf } from '../sftp/tree/name-bytes.ts';
import { shownPath } from '../sftp/tree/shown-path.ts';
import { fileError, TransferError } from '../sftp/tree/transfer-error.ts';

const maxLineBytes = 8_192;
/** Smaller pieces that wait are put together up to this size: each takes some hundred bytes besides its own. */
const smallBytes = 512;

export class ScpChannel {
  readonly #channel: ClientChannel;
  readonly #host: string;
  readonly #pieces: Buffer[] = [];
  #length = 0;
  #isOver = false;
  #isFull = false;
  #wake: () => void = () => undefined;

  constructor(channel: ClientChannel, host: string) {
    this.#channel = channel;
    this.#host = host;
    channel.on('data', (bytes: Buffer) => {
      this.#keep(bytes);
      this.#length += bytes.length;
      if (this.#length > 1024 * 1024) channel.pause();
      this.#wake();
    });
    channel.stderr.resume();
    channel.on('drain', () => {
      this.#isFull = false;
      this.#wake();
    });
    for (const event of ['end', 'close', 'error']) channel.on(event, () => this.stop());
  }

  /** Stops waiting for anything: a silent target would not answer a close either. */
  stop(): void {
    this.#isOver = true;
    this.#wake();
  }

  /** Waits for the answer to what was sent last. Rejects with the target's objection. */
  async answer(path: string, doing: string): Promise<void> {
    const [code] = await this.exactly(1);
    if (code === 0) return;
    if (code !== 1 && code !== 2) throw this.#noScp();
    throw this.refusal(await this.line(), path, doing);
  }

  /** Returns the error for a message that the other side sent instead of continuing. */
  refusal(text: string, path: string, doing: string): TransferError {
    const said = text.replace(/^scp: /, '').trim();
    const known: [RegExp, string][] = [
      [/no such file|not found/i, 'ENOENT'],
      [/permission denied/i, 'EACCES'],
      [/read-only/i, 'EROFS'],
      [/no space|quota/i, 'ENOSPC'],
      [/not a directory/i, 'ENOTDIR'],
      [/is a directory/i, 'EISDIR'],
    ];
    const code = known.find(([pattern]) => pattern.test(said))?.[1];
    const cause =
      code === undefined ? new Error(said === '' ? 'scp gave no reason' : shownPath(said)) : { code };
    return fileError(cause, `on ${this.#host}`, path, doing);
  }

  async send(bytes: Buffer | string): Promise<void> {
    if (this.#isOver) throw this.#cut();
    this.#isFull = !this.#channel.write(typeof bytes === 'string' ? bytesOf(bytes) : bytes);
    while (this.#isFull && !this.#isOver) await this.#news();
  }

  /** Reads a line; returns it without the line break. */
  async line(): Promise<string> {
    const bytes: number[] = [];
    for (;;) {
      const [byte = 10] = await this.exactly(1);
      if (byte === 10) return nameOf(Buffer.from(bytes));
      bytes.push(byte);
      if (bytes.length > maxLineBytes) throw this.#noScp();
    }
  }

  /** Reads the next byte; undefined at the end. */
  async byte(): Promise<number | undefined> {
    while (this.#length === 0 && !this.#isOver) await this.#news();
    return this.#length === 0 ? undefined : (await this.exactly(1))[0];
  }

  async exactly(count: number): Promise<Buffer> {
    const part = await this.upTo(count);
    if (part.length === count) return part;
    return Buffer.concat([part, await this.exactly(count - part.length)]);
  }

  /** Reads at least one and at most `count` of the next bytes. */
  async upTo(count: number): Promise<Buffer> {
    while (this.#length === 0) {
      if (this.#isOver) throw this.#cut();
      await this.#news();
    }
    const first = this.#pieces[0] ?? Buffer.alloc(0);
    const part = first.subarray(0, count);
    if (part.length === first.length) this.#pieces.shift();
    else this.#pieces[0] = first.subarray(part.length);
    this.#length -= part.length;
    if (this.#length <= 1024 * 1024) this.#channel.resume();
    return part;
  }

  #keep(bytes: Buffer): void {
    const last = this.#pieces.at(-1);
    if (last !== undefined && last.length + bytes.length <= smallBytes)
      this.#pieces[this.#pieces.length - 1] = Buffer.concat([last, bytes]);
    else this.#pieces.push(bytes);
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #cut(): TransferError {
    return new TransferError({
      reason: 'transfer_cut',
      message: `scp on ${this.#host} ended before everything was copied.`,
      advice: 'Check that scp is installed there, and look at the network between agent and target.',
      retryable: true,
    });
  }

  #noScp(): TransferError {
    return new TransferError({
      reason: 'transfer_failed',
      message: `What answers on ${this.#host} is not scp.`,
      advice:
        "Look at the startup files of the user's shell: they must print nothing if there is no terminal.",
    });
  }
}
