// A connection for statements with bytes among their parameters. The driver sends every parameter as text, so bytes
// would have to be converted to base64, which the driver copies three times and the database has to decode. Here they
// are written straight to the socket as they are (PostgreSQL protocol 3.0, extended query, parameters in binary
// format). The driver still dials, negotiates TLS and authenticates. It sends no statements after its first one, so
// from then on the socket is ours.
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { DatabaseLost } from '../database-lost.ts';
import type { DriverSocket } from './driver-socket.ts';
import { bindAndExecute, close, type Parameter, parse, ReplyReader } from './extended-query.ts';

/** The fields of a row, as text. */
export type TextRow = (string | null)[];

/** What statements with bytes need: a `BinaryConnection`, or a substitute for one. */
export interface BinaryQueryable {
  query(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]>;
}

/** There is no such connection now. Nothing of the statement was sent, so another way can be tried. */
export class NotDialled extends Error {
  override readonly name = 'NotDialled';
}

export interface BinaryConnectionParts {
  /** A pool of one connection that nobody else has. */
  driver: postgres.Sql;
  /** The socket that the driver opened last. */
  newestSocket(): DriverSocket | undefined;
  /** Called once when there is no connection, and not again until there has been one. */
  onNotDialled?: ((cause: unknown) => void) | undefined;
  /**
   * A dial that takes longer continues in the background; the statement that waited for it fails with `NotDialled`.
   * Default: 1,000.
   */
  dialMs?: number;
}

interface Dialled {
  socket: DriverSocket;
  /** Texts of the statements that were prepared on it. */
  prepared: Set<string>;
}

const defaultDialMs = 1_000;
const dialAgainMs = 2_000;
const endMs = 2_000;
const notThere = 'There is no connection to the database for output.';
/** Errors after which a statement is prepared again: it is unknown, or a change of a table has invalidated its plan. */
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
   * Runs one statement, after those given before, in a transaction of its own.
   *
   * @param statement a fixed text for each kind of statement: it is prepared once on each connection, and kept.
   * @throws {postgres.PostgresError} if the database refuses it.
   * @throws {DatabaseLost} if the connection was lost; whether the statement ran is unknown.
   * @throws {NotDialled} if there was no connection; the statement did not run.
   */
  query(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]> {
    const answer = this.#last.then(() => this.#run(statement, parameters));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  /** Ends the connection. A statement that takes longer than two seconds is cut off. */
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
      // Until the old socket is closed, the driver would write the start of the next connection into it.
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

  /** Has the driver dial by sending a query. Once that is answered, the driver sends nothing more. */
  async #askDriver(): Promise<void> {
    const dialling = this.#parts.driver`select 1`.finally(() => {
      this.#dialling = undefined;
    });
    dialling.catch(() => undefined);
    this.#dialling = dialling;
    const { dialMs = defaultDialMs } = this.#parts;
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
