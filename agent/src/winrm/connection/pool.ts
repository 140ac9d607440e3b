// Connections that stay logged in between commands. Each is lent to one command at a time: sealed messages are numbered, and
// a look at output keeps a connection busy for a minute.
import { createHash } from 'node:crypto';
import { WinrmShell } from '../commands/shell.ts';
import { KerberosTickets } from '../login/kerberos/kerberos-tickets.ts';
import type { ShellSettings } from '../messages/soap.ts';
import { type ConnectionOptions, WinrmConnection } from './connection.ts';

/** Where connections to one host, as one user, come from and go back to. */
export interface ConnectionSource {
  connect(): WinrmConnection;
  /** One that needs no login, where there is one. */
  connectWarm?(): WinrmConnection | undefined;
  /** Takes one back that nothing is under way on, in whatever state. */
  release(connection: WinrmConnection): void;
  /** Takes one back on which a command's shell is being removed. */
  finish?(connection: WinrmConnection, removal: Promise<void>, settings: ShellSettings): void;
  /** A shell with such settings that was made ahead. Nothing was run in it, and only one command is. */
  takeShell?(settings: ShellSettings): WinrmShell | undefined;
  /** Gives the host back the places for shells that nothing runs in. */
  settle?(): Promise<void>;
}

export interface WinrmPoolOptions {
  /** How long an unused connection is kept, in ms; 50 s unless told. */
  idleMs?: number;
  /** Unused connections to one host as one user; 8 unless told. */
  maxIdlePerHost?: number;
  /** Unused connections in all; 256 unless told. */
  maxIdle?: number;
  /**
   * How long a shell is kept that was made ahead, in ms; 5 s unless told. Short: the first message in it begins a command,
   * which can't be sent again where the host has forgotten the login meanwhile. And a host has few places for shells.
   */
  spareMs?: number;
}

interface Idle {
  key: string;
  connection: WinrmConnection;
  timer: NodeJS.Timeout;
}

interface Spare {
  shell: WinrmShell;
  settings: string;
  source: ConnectionSource;
  timer: NodeJS.Timeout;
}

/** For the host to say that a shell is removed. */
const deleteMs = 10_000;

export class WinrmPool {
  readonly #options: Required<WinrmPoolOptions>;
  /** The longest unused first. */
  readonly #idle = new Set<Idle>();
  /** By what connections are told apart by, as are those that are being made. */
  readonly #spares = new Map<string, Spare>();
  readonly #making = new Set<string>();
  /** What goes on although nobody waits for it, with the key of its host. */
  readonly #work = new Map<Promise<void>, string>();
  readonly #tickets = new KerberosTickets('');
  /** Connections that have carried a command before. */
  readonly #used = new WeakSet<WinrmConnection>();
  /** Those that were made since the rules last changed. */
  #usable = new WeakSet<WinrmConnection>();
  #closed = false;

  constructor(options: WinrmPoolOptions = {}) {
    // Below what a connection itself takes for fresh.
    this.#options = { idleMs: 50_000, maxIdlePerHost: 8, maxIdle: 256, spareMs: 5_000, ...options };
  }

  /** Connections that nobody uses at the moment. */
  get idle(): number {
    return this.#idle.size;
  }

  /**
   * @param owner tells apart what must not share a connection although all else is the same: every credential that the host
   * is told of, with its version, whose bounds were checked when the connection was made.
   */
  of(options: ConnectionOptions, owner: string): ConnectionSource {
    const key = keyOf(options, owner);
    const tickets = this.#tickets.of(owner);
    const source: ConnectionSource = {
      connect: () => this.#take(key) ?? this.#made(new WinrmConnection({ ...options, tickets })),
      connectWarm: () => this.#take(key),
      release: (connection) => this.#give(key, connection),
      takeShell: (settings) => this.#takeShell(key, settings),
      settle: async () => {
        this.#dropShell(key);
        // Of this host, and what goes on now: there is always something of others.
        await Promise.all([...this.#work].filter(([, each]) => each === key).map(([work]) => work));
      },
      finish: (connection, removal, settings) => {
        const follows = this.#used.has(connection);
        this.#used.add(connection);
        // Only where one command has followed another: no shell for nothing.
        const ahead = () => (follows ? this.#makeShell(key, source, settings) : undefined);
        this.#do(
          key,
          removal.then(ahead).finally(() => source.release(connection)),
        );
      },
    };
    return source;
  }

  /** Resolves when nothing goes on any more: shells that were used are removed. */
  async settled(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work.keys());
  }

  /**
   * Lends none of the connections any more that there are: where they lead was checked by rules that are no more. Those that
   * a command uses are closed when it has ended.
   */
  retire(): void {
    // On connections that are there still.
    for (const key of this.#spares.keys()) this.#dropShell(key);
    for (const each of this.#idle) this.#discard(each);
    this.#usable = new WeakSet();
  }

  /** Closes connections that nobody uses, and removes shells that were made ahead. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const key of this.#spares.keys()) this.#dropShell(key);
    await this.settled();
    for (const each of this.#idle) this.#discard(each);
    this.#tickets.close();
  }

  #do(key: string, work: Promise<unknown>): void {
    const done = work.then(
      () => {},
      () => {},
    );
    this.#work.set(done, key);
    void done.then(() => this.#work.delete(done));
  }

  #takeShell(key: string, settings: ShellSettings): WinrmShell | undefined {
    const spare = this.#spares.get(key);
    if (spare?.settings !== JSON.stringify(settings)) return undefined;
    clearTimeout(spare.timer);
    this.#spares.delete(key);
    return spare.shell;
  }

  /** On another connection: the next command has two that are logged in then. */
  async #makeShell(key: string, source: ConnectionSource, settings: ShellSettings): Promise<void> {
    if (this.#closed || this.#spares.has(key) || this.#making.has(key)) return;
    this.#making.add(key);
    const connection = source.connect();
    const making = WinrmShell.create(connection, settings).finally(() => {
      this.#making.delete(key);
      source.release(connection);
    });
    const shell = await making;
    const timer = setTimeout(() => this.#dropShell(key), this.#options.spareMs);
    this.#spares.set(key, { shell, settings: JSON.stringify(settings), source, timer });
    if (this.#closed) this.#dropShell(key);
  }

  #dropShell(key: string): void {
    const spare = this.#spares.get(key);
    if (spare === undefined) return;
    clearTimeout(spare.timer);
    this.#spares.delete(key);
    const connection = spare.source.connect();
    const removal = spare.shell.delete(connection, AbortSignal.timeout(deleteMs));
    this.#do(
      key,
      removal.finally(() => spare.source.release(connection)),
    );
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

  #made(connection: WinrmConnection): WinrmConnection {
    this.#usable.add(connection);
    return connection;
  }

  #give(key: string, connection: WinrmConnection): void {
    if (this.#closed || !this.#usable.has(connection) || !connection.isWarm) {
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
