// A connection for statements with bytes among their parameters. The driver sends every parameter as text: bytes have to be
// made base64 for it, which it copies three times and the database decodes. Here they go as they are, straight to the
// socket (PostgreSQL protocol 3.0, extended query, parameters in binary format). The driver still dials, agrees on TLS and
// proves who we are; between its statements, of which it has none but the first, the socket is ours.
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { DatabaseLost } from './database-lost.ts';
import type { DriverSocket } from './driver-socket.ts';
import { bindAndExecute, close, type Parameter, parse, ReplyReader } from './extended-query.ts';

/** The fields of a row, as text. */
export type TextRow = (string | null)[];

/** What a statement with bytes needs: a `BinaryConnection`, or what stands in for one. */
export interface BinaryQueryable {
  query(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]>;
}

/** There is no such connection now, so nothing of the statement was said: another way may be open. */
export class NotDialled extends Error {
  override readonly name = 'NotDialled';
}

export interface BinaryConnectionParts {
  /** A pool of one connection that nobody else has. */
  driver: postgres.Sql;
  /** The socket that it opened last. */
  newestSocket(): DriverSocket | undefined;
  /** Told once, until there is one again. */
  onNotDialled?: ((cause: unknown) => void) | undefined;
}

interface Dialled {
  socket: DriverSocket;
  /** Texts of the statements that it has been told. */
  prepared: Set<string>;
}

/** A dial that takes longer goes on, and who waits for it takes another way meanwhile. */
const dialMs = 1_000;
const dialAgainMs = 2_000;
const endMs = 2_000;
const notThere = 'There is no connection to the database for output.';
/** A statement is not known, or a change of a table has made its plan impossible. */
const toldAnew: ReadonlySet<unknown> = new Set(['26000', '0A000']);

export class BinaryConnection implements BinaryQueryable {
  readonly #parts: BinaryConnectionParts;
  #dialled: Dialled | undefined;
  #dialling: Promise<unknown> | undefined;
  /** When the last dial failed. */
  #refusedAtMs = Number.NEGATIVE_INFINITY;
  #wasTold = false;
  #hasEnded = false;
  readonly #names = new Map<string, string>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: BinaryConnectionParts) {
    this.#parts = parts;
  }

  /** Dials, so that the first statement finds a connection. Never rejects. */
  async open(): Promise<void> {
    await this.query('select 1', []).catch(() => undefined);
  }

  /**
   * Runs one statement, after those that were asked before, in a transaction of its own.
   *
   * @param statement one text for each kind of statement: it is prepared once on each connection, and kept.
   * @throws {postgres.PostgresError} what the database says of it. @throws {DatabaseLost} whether it ran is not known then.
   * @throws {NotDialled} it did not.
   */
  query(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]> {
    const answer = this.#last.then(() => this.#run(statement, parameters));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  /** A statement that takes longer than two seconds is cut off. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    await Promise.race([this.#last, delay(endMs, undefined, { ref: false })]);
    this.#dialled?.socket.destroy();
    await this.#parts.driver.end({ timeout: endMs / 1_000 });
  }

  async #run(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]> {
    const { socket, prepared } = await this.#dial();
    const isNew = !prepared.has(statement);
    const name = this.#nameOf(statement);
    const reply = new ReplyReader();
    await socket.exchange(
      [...(isNew ? [close(name), parse(name, statement)] : []), ...bindAndExecute(name, parameters)],
      (bytes) => reply.read(bytes),
    );
    if (reply.hasParsed) prepared.add(statement);
    if (reply.error === undefined) return reply.rows;
    if (toldAnew.has(reply.error['code'])) prepared.delete(statement);
    throw new postgres.PostgresError(reply.error as never);
  }

  #nameOf(statement: string): string {
    const name = this.#names.get(statement) ?? `binary_${this.#names.size + 1}`;
    this.#names.set(statement, name);
    return name;
  }

  async #dial(): Promise<Dialled> {
    const last = this.#dialled?.socket;
    if (this.#dialled !== undefined && last?.readyState === 'open') return this.#dialled;
    const isTooSoon = performance.now() - this.#refusedAtMs < dialAgainMs;
    if (isTooSoon || this.#dialling !== undefined) throw new NotDialled(notThere);
    try {
      // The driver would send the next one's first words into it until it is closed.
      await last?.closed;
      await this.#askDriver();
    } catch (cause) {
      this.#refusedAtMs = performance.now();
      if (!this.#wasTold && !this.#hasEnded) this.#parts.onNotDialled?.(cause);
      this.#wasTold = true;
      throw new NotDialled(notThere, { cause });
    }
    this.#wasTold = false;
    const socket = this.#parts.newestSocket();
    if (socket === undefined) throw new DatabaseLost();
    this.#dialled = { socket, prepared: new Set() };
    return this.#dialled;
  }

  /** Once this is answered the driver has nothing more to say. */
  async #askDriver(): Promise<void> {
    const dialling = this.#parts.driver`select 1`.finally(() => {
      this.#dialling = undefined;
    });
    dialling.catch(() => undefined);
    this.#dialling = dialling;
    const enough = new AbortController();
    const tooLate = delay(dialMs, undefined, { signal: enough.signal }).then(() => {
      throw new Error(`The database did not answer within ${dialMs / 1_000} s.`);
    });
    try {
      await Promise.race([dialling, tooLate]);
    } finally {
      enough.abort();
      tooLate.catch(() => undefined);
    }
  }
}
