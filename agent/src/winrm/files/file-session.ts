// A file server that runs on a host, and requests to it: many at a time, in as few messages as possible.

import { powershellInput } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { learnEnvelopeSize } from '../commands/envelope-size.ts';
import { inputBytesPerMessage, WinrmShell } from '../commands/shell.ts';
import type { WinrmConnection } from '../connection/connection.ts';
import type { ConnectionSource } from '../connection/pool.ts';
import { Lines } from '../messages/lines.ts';
import { ClixmlDecoder } from '../powershell/clixml.ts';
import { powershellLine } from '../powershell/powershell.ts';
import { protocolError, WinrmError } from '../winrm-error.ts';
import { fileServer } from './file-server.ts';

export interface FileSessionOptions {
  connections: ConnectionSource;
  signal?: AbortSignal | undefined;
  /** Time between two tries to send the host what it is too busy for. */
  busyMs?: number | undefined;
}

/** What the host has refused, in its own words. */
export class FileRefused extends Error {
  override readonly name = 'FileRefused';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Asked {
  rows: string[][];
  /** Length of the rows. */
  chars: number;
  resolve(rows: string[][]): void;
  reject(error: unknown): void;
}

interface Outgoing {
  line: string;
  sent: (() => void) | undefined;
}

/** Only this agent knows the shell: the host removes it after hearing nothing for this long. */
const idleTimeoutS = 300;
const deleteMs = 10_000;
/** How long it may take to end by itself. */
const endMs = 2_000;
/** How many bytes the host may have received without replying, so that its memory does not fill. */
const unansweredBytes = 4 * 1024 * 1024;
const maxLineBytes = 1024 * 1024;
const maxRows = 500_000;
/** Of all rows of one answer: a host that sends nonsense must not fill the agent's memory. */
const maxRowChars = 64 * 1024 * 1024;
const maxComplaint = 2_000;

export class FileSession {
  readonly #connections: ConnectionSource;
  readonly #main: WinrmConnection;
  readonly #side: WinrmConnection;
  readonly #shell: WinrmShell;
  readonly #command: string;
  readonly #busyMs: number | undefined;
  readonly #over = new AbortController();
  readonly #asked = new Map<number, Asked>();
  /** Files of which a part could not be written. */
  readonly #spoilt = new Map<string, FileRefused>();
  readonly #writes = new Map<number, string>();
  readonly #outbox: Outgoing[] = [];
  readonly #complaint = new ClixmlDecoder();
  readonly #lines = new Lines(maxLineBytes);
  #said = '';
  #last = 0;
  #sending: Promise<void> | undefined;
  #receiving: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #syncing: Promise<unknown> | undefined;
  #written = 0;
  #lost: unknown;

  private constructor(parts: {
    connections: ConnectionSource;
    main: WinrmConnection;
    side: WinrmConnection;
    shell: WinrmShell;
    command: string;
    busyMs: number | undefined;
  }) {
    this.#connections = parts.connections;
    this.#main = parts.main;
    this.#side = parts.side;
    this.#shell = parts.shell;
    this.#command = parts.command;
    this.#busyMs = parts.busyMs;
  }

  /**
   * Starts a file server on the host.
   *
   * @throws {WinrmError}
   */
  static async open({ connections, signal, busyMs }: FileSessionOptions): Promise<FileSession> {
    const main = connections.connect();
    const side = connections.connect();
    let shell: WinrmShell | undefined;
    try {
      await learnEnvelopeSize(main, signal);
      side.maxEnvelopeBytes = main.maxEnvelopeBytes;
      const settings = { environment: {}, workingDirectory: undefined, idleTimeoutS };
      shell = await WinrmShell.create(main, settings, signal);
      const command = await shell.start(main, powershellLine('powershell'));
      const session = new FileSession({ connections, main, side, shell, command, busyMs });
      session.#start();
      return session;
    } catch (error) {
      await shell?.delete(main, AbortSignal.timeout(deleteMs)).catch(() => undefined);
      connections.release(main);
      connections.release(side);
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#lost === undefined;
  }

  /** The largest piece of a file that goes in one message. */
  get pieceBytes(): number {
    const words = 100;
    return Math.floor((inputBytesPerMessage(this.#side) - words) / 4) * 3;
  }

  /**
   * Returns the words of each line of the reply, the last line's last.
   *
   * @throws {FileRefused}
   * @throws {WinrmError} if the host is gone.
   */
  request(verb: string, ...words: string[]): Promise<string[][]> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) return reject(this.#lost);
      this.#asked.set(this.#number(), { rows: [], chars: 0, resolve, reject });
      this.#post([String(this.#last), verb, ...words].join(' '));
    });
  }

  /** Returns the words of a reply of one line. */
  async ask(verb: string, ...words: string[]): Promise<string[]> {
    return (await this.request(verb, ...words)).at(-1) ?? [];
  }

  /** Resolves when the bytes were sent. If the host could not write them, `refusalOf` says so. */
  async write(handle: string, position: number, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; at += this.pieceBytes) {
      if (this.#lost !== undefined) throw this.#lost;
      const piece = bytes.subarray(at, at + this.pieceBytes);
      await this.#room(piece.length);
      const number = this.#number();
      this.#writes.set(number, handle);
      const line = `${number} write ${handle} ${position + at} ${piece.toString('base64')}`;
      await new Promise<void>((resolve) => this.#post(line, resolve));
    }
    const refusal = this.#lost ?? this.#spoilt.get(handle);
    if (refusal !== undefined) throw refusal;
  }

  /** Returns why a part of the file could not be written, if that is known. */
  refusalOf(handle: string): FileRefused | undefined {
    return this.#spoilt.get(handle);
  }

  /** Ends the file server, with everything it has open. Never rejects. */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // If it ends by itself, its connection stays logged in.
    const timer = setTimeout(() => this.#lose(closed()), endMs);
    if (this.#lost === undefined) await this.#end();
    clearTimeout(timer);
    this.#lose(closed());
    await Promise.all([this.#sending, this.#receiving]);
    await this.#shell.delete(this.#main, AbortSignal.timeout(deleteMs)).catch(() => undefined);
    this.#connections.release(this.#main);
    this.#connections.release(this.#side);
  }

  async #end(): Promise<void> {
    await this.#sending;
    const last = { bytes: Buffer.alloc(0), isLast: true };
    await this.#shell
      .send(() => this.#side, this.#command, last, { signal: this.#over.signal })
      .then(() => this.#receiving)
      .catch(() => undefined);
  }

  #start(): void {
    this.#post(powershellInput(fileServer, []).replace(/\n$/, ''));
    this.#receiving = this.#receive();
  }

  #number(): number {
    this.#last += 1;
    return this.#last;
  }

  /** Waits until the host has acknowledged enough of what it was sent. */
  async #room(bytes: number): Promise<void> {
    this.#written += bytes;
    if (this.#written < unansweredBytes) return;
    this.#written = 0;
    const before = this.#syncing;
    const sync = this.request('sync');
    const upTo = this.#last;
    this.#syncing = sync.then(() => this.#forgetWrites(upTo));
    this.#syncing.catch(() => undefined);
    await before;
  }

  /** The host replies in order: writes that it has not complained of by then went well. */
  #forgetWrites(upTo: number): void {
    for (const number of this.#writes.keys()) if (number < upTo) this.#writes.delete(number);
  }

  #post(line: string, sent?: () => void): void {
    // The host may have been lost since the caller looked, and then nothing sends any more.
    if (this.#lost !== undefined) {
      sent?.();
      return;
    }
    this.#outbox.push({ line: `${line}\n`, sent });
    this.#sending ??= this.#send();
  }

  /** What gathers while a message is being sent goes into the next one. */
  async #send(): Promise<void> {
    while (this.#outbox.length > 0 && this.#lost === undefined) {
      const batch = this.#nextBatch();
      const bytes = Buffer.from(batch.map(({ line }) => line).join(''), 'latin1');
      try {
        // If it may not have arrived completely, the numbers of requests, the replies and the files' SHA-256 reveal it.
        await this.#shell.send(
          () => this.#side,
          this.#command,
          { bytes, isLast: false },
          { signal: this.#over.signal, busyMs: this.#busyMs },
        );
      } catch (error) {
        this.#lose(error);
      }
      for (const { sent } of batch) sent?.();
    }
    this.#sending = undefined;
  }

  #nextBatch(): Outgoing[] {
    const most = inputBytesPerMessage(this.#side);
    let bytes = 0;
    const beyond = this.#outbox.findIndex(({ line }) => {
      bytes += line.length;
      return bytes > most;
    });
    return this.#outbox.splice(0, beyond === -1 ? this.#outbox.length : Math.max(1, beyond));
  }

  async #receive(): Promise<void> {
    try {
      while (this.#lost === undefined) {
        const { output, isDone } = await this.#shell.receive(this.#main, this.#command, this.#over.signal);
        for (const { stream, bytes } of output) {
          if (stream === 'stdout') this.#read(bytes.toString('latin1'));
          else if (this.#said.length < maxComplaint) this.#said += this.#complaint.write(bytes);
        }
        if (isDone && this.#closing !== undefined) return;
        if (isDone) throw this.#ended();
      }
    } catch (error) {
      this.#lose(error);
    }
  }

  #ended(): WinrmError {
    const all = `${this.#said}${this.#complaint.end()}`.replaceAll(/\s+/g, ' ').trim();
    const said = cutText(all, maxComplaint);
    return new WinrmError({
      kind: 'ambiguous',
      message: `The program that copies files on the host has ended${said === '' ? '.' : `: ${said}`}`,
      advice: 'Check the memory and PowerShell of the host, and whether something ends its programs.',
    });
  }

  #read(text: string): void {
    const lines = this.#lines.take(text);
    if (this.#lines.isTooLong) throw protocolError('a line of its answer is too long');
    for (const line of lines) this.#answer(line.replace(/\r$/, ''));
  }

  #answer(line: string): void {
    const [word = '', kind, ...words] = line.split(' ');
    const number = Number(word);
    const handle = this.#writes.get(number);
    if (handle !== undefined && kind === 'no') {
      this.#writes.delete(number);
      this.#spoilt.set(handle, refusal(words));
      return;
    }
    const asked = this.#asked.get(number);
    if (asked === undefined || (kind !== 'ok' && kind !== 'more' && kind !== 'no')) {
      throw protocolError('it answered something that was not asked');
    }
    if (kind !== 'no') asked.rows.push(words);
    asked.chars += line.length;
    if (asked.rows.length > maxRows || asked.chars > maxRowChars) {
      throw protocolError('it lists too many files');
    }
    if (kind === 'more') return;
    this.#asked.delete(number);
    if (kind === 'no') asked.reject(refusal(words));
    else asked.resolve(asked.rows);
  }

  #lose(error: unknown): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#over.abort(error);
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
    for (const { sent } of this.#outbox.splice(0)) sent?.();
  }
}

function closed(): Error {
  return new Error('The files of the host are closed');
}

function refusal([code = 'failed', text = '']: string[]): FileRefused {
  return new FileRefused(code, cutText(textOf(text), maxComplaint));
}

/** Encodes a text as a word of a request. */
export function wordOf(text: string): string {
  return Buffer.from(text).toString('base64');
}

export function textOf(word: string): string {
  return Buffer.from(word, 'base64').toString('utf8');
}
