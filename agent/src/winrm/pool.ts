// Connections that stay logged in between commands. Each is lent to one command at a time: sealed messages are numbered, and
// a look at output keeps a connection busy for a minute.
import { createHash } from 'node:crypto';
import { type ConnectionOptions, WinrmConnection } from './connection.ts';

/** Where connections to one host, as one user, come from and go back to. */
export interface ConnectionSource {
  connect(): WinrmConnection;
  /** Takes one back that nothing is under way on, in whatever state. */
  release(connection: WinrmConnection): void;
}

export interface WinrmPoolOptions {
  /** How long an unused connection is kept, in ms; 50 s unless told. */
  idleMs?: number;
  /** Unused connections to one host as one user; 8 unless told. */
  maxIdlePerHost?: number;
  /** Unused connections in all; 256 unless told. */
  maxIdle?: number;
}

interface Idle {
  key: string;
  connection: WinrmConnection;
  timer: NodeJS.Timeout;
}

export class WinrmPool {
  readonly #options: Required<WinrmPoolOptions>;
  /** The longest unused first. */
  readonly #idle = new Set<Idle>();
  #closed = false;

  constructor(options: WinrmPoolOptions = {}) {
    // Below what a connection itself takes for fresh.
    this.#options = { idleMs: 50_000, maxIdlePerHost: 8, maxIdle: 256, ...options };
  }

  /** Connections that nobody uses at the moment. */
  get idle(): number {
    return this.#idle.size;
  }

  /**
   * @param owner tells apart what must not share a connection although all else is the same: a credential and its version,
   * whose bounds were checked when the connection was made.
   */
  of(options: ConnectionOptions, owner: string): ConnectionSource {
    const key = keyOf(options, owner);
    return {
      connect: () => this.#take(key) ?? new WinrmConnection(options),
      release: (connection) => this.#give(key, connection),
    };
  }

  close(): void {
    this.#closed = true;
    for (const each of this.#idle) this.#discard(each);
  }

  #take(key: string): WinrmConnection | undefined {
    // The last one that was used is the most likely to be open still.
    for (const each of [...this.#idle].reverse()) {
      if (each.key !== key) continue;
      if (each.connection.isWarm) {
        this.#forget(each);
        return each.connection;
      }
      this.#discard(each);
    }
    return undefined;
  }

  #give(key: string, connection: WinrmConnection): void {
    if (this.#closed || !connection.isWarm) {
      connection.close();
      return;
    }
    const entry: Idle = {
      key,
      connection,
      timer: setTimeout(() => this.#discard(entry), this.#options.idleMs),
    };
    this.#idle.add(entry);
    const own = [...this.#idle].filter((each) => each.key === key);
    const [oldest] = this.#idle;
    if (own.length > this.#options.maxIdlePerHost) this.#discard(own[0] as Idle);
    else if (this.#idle.size > this.#options.maxIdle && oldest !== undefined) this.#discard(oldest);
  }

  #discard(entry: Idle): void {
    this.#forget(entry);
    entry.connection.close();
  }

  #forget(entry: Idle): void {
    clearTimeout(entry.timer);
    this.#idle.delete(entry);
  }
}

function keyOf({ host, port, login, tls, connectTimeoutMs }: ConnectionOptions, owner: string): string {
  const same = JSON.stringify([host, port, login, tls ?? null, connectTimeoutMs ?? null, owner]);
  return createHash('sha256').update(same).digest('base64');
}

/** A new one each time, which is closed afterwards. */
export function withoutPool(options: ConnectionOptions): ConnectionSource {
  return { connect: () => new WinrmConnection(options), release: (connection) => connection.close() };
}
