// A connection for statements with bytes among their parameters. The driver sends every parameter as text: bytes have to be
// made base64 for it, which it copies three times and the database decodes. Here they go as they are, straight to the
// socket (PostgreSQL protocol 3.0, extended query, parameters in binary format). The driver still dials, agrees on TLS and
// proves who we are; between its statements, of which it has none but the first, the socket is ours.
import postgres from 'postgres';
import { DatabaseLost } from './database-lost.ts';
import type { DriverSocket } from './driver-socket.ts';
import { bindAndExecute, type Parameter, parse, ReplyReader } from './extended-query.ts';

/** The fields of a row, as text. */
export type TextRow = (string | null)[];

/** What a statement with bytes needs: a `BinaryConnection`, or what stands in for one. */
export interface BinaryQueryable {
  query(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]>;
}

interface Dialled {
  socket: DriverSocket;
  /** Names of the statements that this connection has been told, by their text. */
  prepared: Map<string, string>;
}

export class BinaryConnection implements BinaryQueryable {
  readonly #driver: postgres.Sql;
  /** The newest socket that the driver has opened. */
  readonly #newest: () => DriverSocket | undefined;
  #dialled: Dialled | undefined;
  #named = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** @param driver a pool of one connection that nobody else has; @param newest the socket that it opened last. */
  constructor(driver: postgres.Sql, newest: () => DriverSocket | undefined) {
    this.#driver = driver;
    this.#newest = newest;
  }

  /**
   * Runs one statement, after those that were asked before, in a transaction of its own.
   *
   * @param statement one text for each kind of statement: it is prepared once on each connection, and kept.
   * @throws {postgres.PostgresError} what the database says of it. @throws {DatabaseLost} whether it ran is not known then.
   */
  query(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]> {
    const answer = this.#last.then(() => this.#run(statement, parameters));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async end(): Promise<void> {
    await this.#last;
    await this.#driver.end({ timeout: 2 });
  }

  async #run(statement: string, parameters: readonly Parameter[]): Promise<TextRow[]> {
    const { socket, prepared } = await this.#dial();
    const known = prepared.get(statement);
    if (known === undefined) this.#named += 1;
    const name = known ?? `binary_${this.#named}`;
    const reply = new ReplyReader();
    await socket.exchange(
      [...(known === undefined ? [parse(name, statement)] : []), ...bindAndExecute(name, parameters)],
      (bytes) => reply.read(bytes),
    );
    // One that failed is told anew, as a plan may have become impossible by a change of a table.
    if (reply.error === undefined) prepared.set(statement, name);
    else {
      prepared.delete(statement);
      throw new postgres.PostgresError(reply.error as never);
    }
    return reply.rows;
  }

  async #dial(): Promise<Dialled> {
    const last = this.#dialled?.socket;
    if (this.#dialled !== undefined && last?.readyState === 'open') return this.#dialled;
    // The driver would send the next one's first words into it until it is closed.
    await last?.closed;
    // Once this is answered the driver has nothing more to say.
    await this.#driver`select 1`;
    const socket = this.#newest();
    if (socket === undefined) throw new DatabaseLost();
    this.#dialled = { socket, prepared: new Map() };
    return this.#dialled;
  }
}
