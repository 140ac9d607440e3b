// The socket under each connection of the driver. The driver forgets its socket as soon as that reports its close.
// Whatever a transaction still sends then, at least its ROLLBACK, brings down the process or blocks the connection
// forever (porsager/postgres #1208). So a lost connection fails every write for a while before it reports its close. A
// fatal message of PostgreSQL counts as such a loss, not as an answer; if it refuses the login, the connection failed
// with that error. See `FatalWatch`.
import { EventEmitter } from 'node:events';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import postgres from 'postgres';
import { DatabaseLost } from '../database-lost.ts';
import { type DatabaseTls, readTlsFiles } from './database-tls.ts';
import { type FatalMessage, FatalWatch } from './fatal-watch.ts';

export interface DatabaseAddress {
  host: string;
  port: number;
  /** Path of a Unix socket, in place of host and port. */
  path?: string | undefined;
  tls: DatabaseTls;
}

interface Exchange {
  take(bytes: Buffer): Buffer | undefined;
  resolve(): void;
  reject(error: Error): void;
}

/**
 * A lost connection is reported as closed once nothing was written to it for this long; checked twice, a turn apart.
 */
const quietMs = 50;
/** SSLRequest of the PostgreSQL protocol: length 8, code 80877103. */
const tlsRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
/** The second word of a StartupMessage: version 3.0 of the protocol. */
const protocolVersion = 0x30000;
/** A write of this size is sent by the driver at once instead of being kept; see `startupPadding`. */
const writtenAtOnceBytes = 1_024;

/**
 * A startup parameter without effect. When a connection closes, the driver keeps what it had not written yet and waits
 * for a timer that it has stopped, so the next connection would send nothing until it times out. A write of this length
 * goes out at once, preceded by what the driver kept, which `DriverSocket` removes.
 */
export const startupPadding = { options: ' '.repeat(writtenAtOnceBytes) };

/** The parts of a socket that the driver uses. Events: `data`, `drain`, `error`, `close`. */
export class DriverSocket extends EventEmitter {
  readonly #address: DatabaseAddress;
  #socket: Socket;
  /** What was written before TLS was negotiated. */
  #early: { bytes: Buffer; written: (() => void) | undefined }[] | undefined;
  #ending = false;
  #isLost = false;
  #cause: Error | undefined;
  #refusal: FatalMessage | undefined;
  #quiet = false;
  #hasWritten = false;
  #exchange: Exchange | undefined;
  readonly #watch = new FatalWatch();
  /** Resolves when the driver is told that the socket is closed. */
  readonly closed: Promise<void> = new Promise((resolve) => {
    this.once('close', () => resolve());
  });

  constructor(address: DatabaseAddress) {
    super();
    this.#address = address;
    const { host, port, path, tls } = address;
    this.#socket = path === undefined ? connectTcp(port, host) : connectTcp(path);
    if (path === undefined && tls.mode !== 'off') this.#askForTls();
    else this.#use(this.#socket);
  }

  get readyState(): string {
    return this.#isLost ? 'closed' : this.#socket.readyState;
  }

  write(given: Buffer, written?: () => void): boolean {
    // The driver pauses for rows of a COPY, and forgets that if they end meanwhile; the answer's end would stay unread.
    this.#socket.resume();
    const bytes = this.#hasWritten ? given : withoutOldBytes(given);
    this.#hasWritten = true;
    if (this.#isLost) {
      this.#quiet = false;
      process.nextTick(() => this.#tellLost());
      return true;
    }
    if (this.#early === undefined) return this.#socket.write(bytes, written);
    this.#early.push({ bytes, written });
    return true;
  }

  end(bytes: Buffer): void {
    this.#ending = true;
    this.write(bytes);
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /**
   * Sends whole messages of the protocol past the driver, which must be idle. What the database answers is passed to
   * `take` until it returns the bytes after the answer, which go to the driver.
   *
   * @throws {DatabaseLost} if the connection is lost before that.
   */
  exchange(messages: readonly Uint8Array[], take: (bytes: Buffer) => Buffer | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      // The driver already has the beginning of a message; the rest would be taken for our answer.
      if (!this.#watch.isBetweenMessages)
        this.#lose(new Error('The database was in the middle of a message.'));
      if (this.#isLost) {
        reject(new DatabaseLost(this.#cause));
        return;
      }
      if (this.#exchange !== undefined) throw new Error('one exchange at a time');
      this.#exchange = { take, resolve, reject };
      this.#socket.cork();
      for (const message of messages) this.#socket.write(message);
      this.#socket.uncork();
    });
  }

  /** Called while somebody reads the rows of a COPY more slowly than they come. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  setKeepAlive(enable: boolean, initialDelayMs: number): void {
    this.#socket.setKeepAlive(enable, initialDelayMs);
  }

  #use(socket: Socket): void {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      const { passed, fatal } = this.#watch.read(bytes);
      if (passed.length > 0) this.#hand(passed);
      if (fatal === undefined) return;
      if (fatal.isRefusal) this.#refusal = fatal;
      this.#lose(toError(fatal));
    });
    socket.on('drain', () => this.emit('drain'));
    socket.on('error', (error) => this.#lose(error));
    socket.on('close', () => this.#lose());
  }

  #hand(bytes: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === undefined) {
      this.emit('data', bytes);
      return;
    }
    try {
      const rest = exchange.take(bytes);
      if (rest === undefined) return;
      this.#exchange = undefined;
      if (rest.length > 0) this.emit('data', rest);
      exchange.resolve();
    } catch (error) {
      this.#lose(error as Error);
    }
  }

  #askForTls(): void {
    const plain = this.#socket;
    this.#early = [];
    plain.on('error', (error) => this.#lose(error));
    plain.on('close', () => this.#lose());
    plain.write(tlsRequest);
    plain.once('data', (answer) => {
      plain.removeAllListeners();
      const { tls } = this.#address;
      if (answer[0] === 'S'.charCodeAt(0)) this.#encrypt(plain);
      else if (tls.mode === 'prefer') {
        this.#use(plain);
        this.#flush();
      } else {
        plain.destroy();
        this.#lose(new Error('The database speaks no TLS, which sslmode demands.'));
      }
    });
  }

  #encrypt(plain: Socket): void {
    const { tls, host } = this.#address;
    // `servername` must not be an IP address; if it is omitted, the certificate is checked against `host`.
    const names = isIP(host) === 0 ? { host, servername: host } : { host };
    try {
      const options = { ...names, ...readTlsFiles(tls), rejectUnauthorized: tls.mode === 'verify' };
      const secure = connectTls({ socket: plain, ...options });
      this.#use(secure);
      secure.once('secureConnect', () => this.#flush());
    } catch (error) {
      plain.destroy();
      this.#lose(error as Error);
    }
  }

  #flush(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const { bytes, written } of early) this.#socket.write(bytes, written);
  }

  #lose(cause?: Error): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#cause = cause;
    this.#socket.destroy();
    this.#exchange?.reject(new DatabaseLost(cause));
    this.#exchange = undefined;
    this.#tellLost();
    if (this.#ending) this.emit('close', false);
    else this.#closeWhenQuiet();
  }

  #tellLost(): void {
    // Nothing listens any more once the driver was told of the end. Each call emits a new error, because the driver
    // writes into it which query it ended.
    if (this.listenerCount('error') === 0) return;
    const refusal = this.#refusal;
    this.emit('error', refusal === undefined ? new DatabaseLost(this.#cause) : toError(refusal));
  }

  #closeWhenQuiet(): void {
    const wasQuiet = this.#quiet;
    this.#quiet = true;
    setTimeout(() => {
      if (this.#quiet && wasQuiet) setImmediate(() => this.emit('close', false));
      else this.#closeWhenQuiet();
    }, quietMs);
  }
}

/** Converts the message into the error that the driver would raise. */
function toError({ said }: FatalMessage): Error {
  return new postgres.PostgresError(said as never);
}

/** Returns the start of a connection without leftover bytes that were meant for the previous connection. */
function withoutOldBytes(bytes: Buffer): Buffer {
  for (let at = 0; at + 8 <= bytes.length; at += 1) {
    const isStartup =
      bytes.readUInt32BE(at) === bytes.length - at && bytes.readUInt32BE(at + 4) === protocolVersion;
    if (isStartup) return bytes.subarray(at);
  }
  return bytes;
}
