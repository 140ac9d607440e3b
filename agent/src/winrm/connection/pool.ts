// Connections that stay logged in between commands. Each is lent to one command at a time: sealed messages are
// numbered, and a poll of the output keeps a connection busy for a minute.
import { createHash } from 'node:crypto';
import { WinrmShell } from '../commands/shell.ts';
import { KerberosTickets } from '../login/kerberos/kerberos-tickets.ts';
import type { ShellSettings } from '../messages/soap.ts';
import { type ConnectionOptions, WinrmConnection } from './connection.ts';

/** Source of connections to one host as one user. */
export interface ConnectionSource {
  connect(): WinrmConnection;
  /** Returns a connection that needs no login, if there is one. */
  connectWarm?(): WinrmConnection | undefined;
  /** Takes back an idle connection, in whatever state. */
  release(connection: WinrmConnection): void;
  /**
   * Lends the connections that exist now no more: their login has shown to be no good, and may have been mended since.
   */
  retire?(): void;
  /** Takes back a connection on which a command's shell is being removed. */
  finish?(connection: WinrmConnection, removal: Promise<void>, settings: ShellSettings): void;
  /** Returns a shell with these settings that was made ahead. Nothing was run in it, and only one command will be. */
  takeShell?(settings: ShellSettings): WinrmShell | undefined;
  /** Removes shells that nothing runs in, to make room on the host. */
  settle?(): Promise<void>;
}

export interface WinrmPoolOptions {
  /** How long an unused connection is kept, in ms; 50 s by default. */
  idleMs?: number;
  /** Unused connections to one host as one user; 8 by default. */
  maxIdlePerHost?: number;
  /** Unused connections in all; 256 by default. */
  maxIdle?: number;
  /**
   * How long a shell that was made ahead is kept, in ms; 5 s by default. This is short because the first message in it
   * begins a command, which can't be sent again if the host has forgotten the login meanwhile, and because a host has
   * little room for shells.
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

/** How long the host may take to say that a shell is removed. */
const deleteMs = 10_000;

export class WinrmPool {
  readonly #options: Required<WinrmPoolOptions>;
  /** The one unused for the longest time comes first. */
  readonly #idle = new Set<Idle>();
  /** By key of the connection, like the shells that are being made. */
  readonly #spares = new Map<string, Spare>();
  readonly #making = new Set<string>();
  /** Work that nobody waits for, with the key of its host. */
  readonly #work = new Map<Promise<void>, string>();
  readonly #tickets = new KerberosTickets('');
  /** Connections that have carried a command before. */
  readonly #used = new WeakSet<WinrmConnection>();
  /** By key: connections that were made since the rules last changed, or the logins with that key were retired. */
  readonly #usable = new Map<string, Set<WinrmConnection>>();
  #closed = false;

  constructor(options: WinrmPoolOptions = {}) {
    // Less than the time after which a connection considers itself stale.
    this.#options = { idleMs: 50_000, maxIdlePerHost: 8, maxIdle: 256, spareMs: 5_000, ...options };
  }

  /** Number of unused connections. */
  get idle(): number {
    return this.#idle.size;
  }

  /**
   * Returns the source of connections to one host.
   *
   * @param owner distinguishes what must not share a connection although everything else is the same: every credential
   * that the host gets, with its version. Their bounds were checked when the connection was made.
   */
  of(options: ConnectionOptions, owner: string): ConnectionSource {
    const key = keyOf(options, owner);
    const tickets = this.#tickets.of(owner);
    const source: ConnectionSource = {
      connect: () => this.#take(key) ?? this.#made(key, new WinrmConnection({ ...options, tickets })),
      connectWarm: () => this.#take(key),
      release: (connection) => this.#give(key, connection),
      retire: () => this.#retire(key),
      takeShell: (settings) => this.#takeShell(key, settings),
      settle: async () => {
        this.#dropShell(key);
        // Only this host's, and only current work: there is always some for other hosts.
        await Promise.all([...this.#work].filter(([, each]) => each === key).map(([work]) => work));
      },
      finish: (connection, removal, settings) => {
        const follows = this.#used.has(connection);
        this.#used.add(connection);
        // Only if one command has followed another, so that no shell is made in vain.
        const ahead = () => (follows ? this.#makeShell(key, source, settings) : undefined);
        this.#do(
          key,
          removal.then(ahead).finally(() => source.release(connection)),
        );
      },
    };
    return source;
  }

  /** Resolves when no work is left: used shells are removed. */
  async settled(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work.keys());
  }

  /**
   * Stops lending the present connections, because the rules by which their destinations were checked no longer hold.
   * Those that a command uses are closed when it has ended.
   */
  retire(): void {
    for (const key of new Set([...this.#spares.keys(), ...this.#usable.keys()])) this.#retire(key);
  }

  #retire(key: string): void {
    // On a connection that still exists.
    this.#dropShell(key);
    for (const each of [...this.#idle]) if (each.key === key) this.#discard(each);
    this.#usable.delete(key);
  }

  /** Closes unused connections, and removes shells that were made ahead. */
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

  /** Makes a shell on another connection, so that the next command has two that are logged in. */
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
    // The last one used is the most likely to be still open.
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

  #made(key: string, connection: WinrmConnection): WinrmConnection {
    const own = this.#usable.get(key) ?? new Set();
    this.#usable.set(key, own.add(connection));
    return connection;
  }

  #close(key: string, connection: WinrmConnection): void {
    const own = this.#usable.get(key);
    own?.delete(connection);
    if (own?.size === 0) this.#usable.delete(key);
    connection.close();
  }

  #give(key: string, connection: WinrmConnection): void {
    if (this.#closed || this.#usable.get(key)?.has(connection) !== true || !connection.isWarm) {
      this.#close(key, connection);
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
    this.#close(entry.key, entry.connection);
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

/** A new connection each time, which is closed afterwards. */
export function withoutPool(options: ConnectionOptions): ConnectionSource {
  return { connect: () => new WinrmConnection(options), release: (connection) => connection.close() };
}
