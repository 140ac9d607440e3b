// Sends SFTP requests on a channel and matches the replies to them. A server may send only what it was asked for, and
// every request settles, at the latest when the channel ends.
import type { EventEmitter } from 'node:events';
import { freePacket } from '../../../ssh/packets/packet-memory.ts';
import { sftpStatus } from '../../tree/transfer-error.ts';
import { PacketReader, replies, requests, string, uint32, uint64 } from './packets.ts';

/** The largest packet that OpenSSH accepts and sends. */
const maxPacketBytes = 256 * 1024;
/** What every server must accept and send in one request (section 3 of the draft). */
const leastBytes = 32 * 1024;
/** What an OpenSSH that doesn't announce its limits accepts in one request. */
const opensshBytes = 255 * 1024;
const headBytes = 9;
/** Time for a server to send its version, in ms. */
const helloMs = 30_000;
const statusOk = 0;
const limitsExtension = 'limits@openssh.com';

/** The parts of a channel that are used here. */
export interface WireChannel extends Pick<EventEmitter, 'on'> {
  write(bytes: Buffer): unknown;
  close(): void;
}

export interface Reply {
  type: number;
  body: PacketReader;
}

/** The server refused a request with a status of the protocol. */
export class SftpStatus extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** The channel was closed, or something other than SFTP arrived on it, or nothing did. */
export class WireOver extends Error {
  readonly why: 'closed' | 'noise' | 'silence';

  constructor(why: WireOver['why'], message: string) {
    super(message);
    this.why = why;
  }
}

interface Pending {
  /** For a read: the bytes of the reply are received directly into this buffer. */
  into?: Buffer;
  resolve(reply: Reply | number): void;
  reject(error: Error): void;
}

export class SftpWire {
  readonly #channel: WireChannel;
  readonly #pending = new Map<number, Pending>();
  /** The buffer that incoming bytes fill, and below it what happens once it is full. */
  #target: Buffer;
  #filled = 0;
  #next: () => void;
  #id = 0;
  #over: WireOver | undefined;
  #extensions = new Map<string, string>();
  /** How many bytes one request may move. */
  #most = { read: leastBytes, write: leastBytes };

  private constructor(channel: WireChannel, opened: (error?: Error) => void) {
    this.#channel = channel;
    this.#target = Buffer.allocUnsafe(headBytes);
    this.#next = () => this.#version(opened);
    const over = () => {
      this.#end(new WireOver('closed', 'the channel was closed'));
      opened(this.#over);
    };
    for (const event of ['end', 'close', 'error']) channel.on(event, over);
    channel.on('data', (bytes: Buffer) => {
      this.#take(bytes);
      freePacket(bytes);
      if (this.#over !== undefined) opened(this.#over);
    });
    channel.write(Buffer.concat([uint32(5), Buffer.of(requests.init), uint32(3)]));
  }

  /**
   * Exchanges versions with the server. Rejects with a `WireOver`.
   *
   * @param isOpenSsh whether the server identifies itself as OpenSSH; without announced limits, OpenSSH's are assumed
   */
  static async open(
    channel: WireChannel,
    { isOpenSsh = false, timeoutMs = helloMs }: { isOpenSsh?: boolean; timeoutMs?: number } = {},
  ): Promise<SftpWire> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const wire = await new Promise<SftpWire>((resolve, reject) => {
        const made: SftpWire = new SftpWire(channel, (error) =>
          error === undefined ? resolve(made) : reject(error),
        );
        timer = setTimeout(
          () => reject(made.#fail(`it said nothing for ${timeoutMs / 1_000} s`, 'silence')),
          timeoutMs,
        );
      });
      await wire.#agreeOnSizes(isOpenSsh);
      return wire;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Why the channel is over; undefined while it is open. */
  get over(): WireOver | undefined {
    return this.#over;
  }

  /** The server's extensions: versions by name. */
  get extensions(): ReadonlyMap<string, string> {
    return this.#extensions;
  }

  close(): void {
    this.#end(new WireOver('closed', 'the session was closed'));
    this.#channel.close();
  }

  /** Sends a request. Rejects with an `SftpStatus` if the server refuses it, or with a `WireOver`. */
  ask(type: number, ...fields: readonly Buffer[]): Promise<Reply> {
    return this.#asked(type, fields) as Promise<Reply>;
  }

  /** Returns the number of bytes read: possibly fewer than asked for, and 0 at the end of the file. */
  async read(handle: Buffer, into: Buffer, length: number, position: number): Promise<number> {
    const most = Math.min(length, this.#most.read);
    const fields = [string(handle), uint64(position), uint32(most)];
    const read = await this.#asked(requests.read, fields, into.subarray(0, most));
    if (typeof read === 'number') return read;
    throw this.#fail('it sent something else than the bytes of a file');
  }

  /** Writes all bytes, in several requests if the server doesn't accept them in one. */
  async write(handle: Buffer, bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const piece = bytes.subarray(done, done + this.#most.write);
      // Not copied: the caller leaves them unchanged until the server has answered.
      const fields = [string(handle), uint64(position + done), uint32(piece.length), piece];
      await this.#asked(requests.write, fields);
      done += piece.length;
    }
  }

  #asked(type: number, fields: readonly Buffer[], into?: Buffer): Promise<Reply | number> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => {
      const id = this.#id;
      this.#id = (id + 1) >>> 0;
      this.#pending.set(id, { resolve, reject, ...(into === undefined ? {} : { into }) });
      const last = type === requests.write ? fields.at(-1) : undefined;
      const first = last === undefined ? fields : fields.slice(0, -1);
      const length = fields.reduce((sum, field) => sum + field.length, 5);
      this.#channel.write(Buffer.concat([uint32(length), Buffer.of(type), uint32(id), ...first]));
      if (last !== undefined) this.#channel.write(last);
    });
  }

  async #agreeOnSizes(isOpenSsh: boolean): Promise<void> {
    if (isOpenSsh) this.#most = { read: opensshBytes, write: opensshBytes };
    if (this.#extensions.get(limitsExtension) !== '1') return;
    const told = await this.ask(requests.extended, string(limitsExtension)).catch((error: unknown) => {
      if (error instanceof SftpStatus) return undefined;
      throw error;
    });
    // The server announced the extension, but refused to say its limits.
    if (told === undefined) return;
    const [read, write] = this.#limitsIn(told);
    const within = (told: number | undefined) => (told ? Math.min(told, opensshBytes) : leastBytes);
    this.#most = { read: within(read), write: within(write) };
  }

  #limitsIn({ type, body }: Reply): [number, number] {
    try {
      if (type !== replies.extended) throw new Error(`a reply of type ${type}`);
      // Skip the limit on packets; the other two are within it.
      body.uint64();
      return [body.uint64(), body.uint64()];
    } catch {
      throw this.#fail('it sent its limits in an invalid packet');
    }
  }

  #take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && this.#over === undefined; ) {
      const taken = bytes.copy(this.#target, this.#filled, at);
      at += taken;
      this.#filled += taken;
      try {
        while (this.#filled === this.#target.length && this.#over === undefined) this.#next();
      } catch {
        this.#fail('it sent an invalid packet');
      }
    }
  }

  #await(target: Buffer, next: () => void): void {
    this.#target = target;
    this.#filled = 0;
    this.#next = next;
  }

  /** Returns length, type and request id of the next packet. */
  #head(): { rest: number; type: number; id: number } | undefined {
    const rest = this.#target.readUInt32BE(0) - 5;
    if (rest < 0 || rest > maxPacketBytes) {
      this.#fail('it sent an invalid packet');
      return undefined;
    }
    return { rest, type: this.#target[4] ?? 0, id: this.#target.readUInt32BE(5) };
  }

  #version(opened: () => void): void {
    const head = this.#head();
    if (head === undefined) return;
    if (head.type !== replies.version) {
      this.#fail('it did not say which version it speaks');
      return;
    }
    const body = Buffer.allocUnsafe(head.rest);
    this.#await(body, () => {
      const reader = new PacketReader(body);
      while (!reader.isAtEnd) this.#extensions.set(reader.name(), reader.name());
      this.#awaitHead();
      opened();
    });
  }

  #awaitHead(): void {
    this.#await(Buffer.allocUnsafe(headBytes), () => this.#packet());
  }

  #packet(): void {
    const head = this.#head();
    if (head === undefined) return;
    const { rest, type, id } = head;
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      this.#fail('it answered a request that was not made');
      return;
    }
    if (type === replies.data && pending.into !== undefined) this.#data(id, pending, rest);
    else this.#reply(id, pending, { type, rest });
  }

  #data(id: number, { into, resolve }: Pending, rest: number): void {
    const size = Buffer.allocUnsafe(4);
    this.#await(size, () => {
      const length = size.readUInt32BE();
      if (into === undefined || length !== rest - 4 || length > into.length) {
        this.#fail('it sent more than it was asked for');
        return;
      }
      this.#await(into.subarray(0, length), () => {
        this.#pending.delete(id);
        this.#awaitHead();
        resolve(length);
      });
    });
  }

  #reply(
    id: number,
    { into, resolve, reject }: Pending,
    { type, rest }: { type: number; rest: number },
  ): void {
    const bytes = Buffer.allocUnsafe(rest);
    this.#await(bytes, () => {
      const body = new PacketReader(bytes);
      const code = type === replies.status ? body.uint32() : statusOk;
      // Servers of early versions send only the code.
      const message = code === statusOk || body.isAtEnd ? `status ${code}` : body.name();
      this.#pending.delete(id);
      this.#awaitHead();
      if (code === statusOk) resolve({ type, body });
      else if (code === sftpStatus.eof && into !== undefined) resolve(0);
      else reject(new SftpStatus(code, message));
    });
  }

  #fail(what: string, why: WireOver['why'] = 'noise'): WireOver {
    const error = new WireOver(why, what);
    this.#end(error);
    this.#channel.close();
    return error;
  }

  #end(error: WireOver): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
