// The only way to PostgreSQL: camelCase columns, bigint as number (ids and byte counts stay below 2^53).
import postgres from 'postgres';
import { BinaryConnection, type BinaryConnectionParts } from './driver/binary-connection.ts';
import { tlsOf, withoutTlsFiles } from './driver/database-tls.ts';
import { DriverSocket, startupPadding } from './driver/driver-socket.ts';
import { guardTransactions } from './driver/guard-transactions.ts';

export type Sql = postgres.Sql<{ bigint: number }>;
export type Tx = postgres.TransactionSql<{ bigint: number }>;
/** What a query needs: the pool or a transaction. */
export type Queryable = Sql | Tx;

const bigintAsNumber = {
  to: 20,
  from: [20],
  serialize: (value: number) => String(value),
  parse: (text: string) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value)) throw new Error(`bigint ${text} is beyond 2^53`);
    return value;
  },
};

/** What the database's lists of sessions call those of servers. */
export const applicationName = 'opsconductor';

export interface ConnectOptions {
  /** Number of connections in the pool. */
  max?: number;
  onNotice?: (message: string) => void;
  /** Whether each connection plans a statement once, whatever its parameters. */
  plansOnce?: boolean;
}

const plansOnce = {
  plan_cache_mode: 'force_generic_plan',
  // A plan is kept until a table's statistics change. One made while the table was new, or held one large run, would
  // read all of it.
  enable_seqscan: 'off',
  // With that, a table that can only be read whole counts as very expensive, so its plan would be JIT-compiled first.
  jit: 'off',
};

/** Opens a pool. Nothing is dialed before the first query. */
export function connect(url: string, options: ConnectOptions = {}): Sql {
  const driver = driverOptions(url);
  const planning = options.plansOnce ? plansOnce : {};
  const sql = postgres(withoutTlsFiles(url), {
    ...driver,
    connection: { ...driver.connection, ...planning },
    max: options.max ?? 10,
    onnotice: (notice) => options.onNotice?.(String(notice.message)),
  }) as unknown as Sql;
  guardTransactions(sql as unknown as postgres.Sql);
  urls.set(sql.options, url);
  return sql;
}

// Keyed by the options object, which a pool and all views of it share.
const urls = new WeakMap<Sql['options'], string>();

function urlOf(sql: Sql): string {
  const url = urls.get(sql.options);
  if (url === undefined) throw new Error('not a pool of ours');
  return url;
}

/**
 * Opens another pool on the same database, for the queue. Its statements find rows by ids and by indexes made for them,
 * whatever the parameters. The database would replan most of them for each step, because a list of one id looks cheaper
 * than a list of unknown length, and planning took more than half of its time. Lists that people filter belong on the
 * other pool.
 */
export function connectQueue(sql: Sql, options: Pick<ConnectOptions, 'max'> = {}): Sql {
  return connect(urlOf(sql), { ...options, plansOnce: true });
}

/** Opens one more connection to the same database, for LISTEN. `onClose` is called whenever it is lost. */
export function connectListener(
  sql: Sql,
  handlers: { onNotify(channel: string, payload: string): void; onClose(): void },
): Sql {
  const url = urlOf(sql);
  const options = {
    ...driverOptions(url),
    max: 1,
    onnotify: handlers.onNotify,
    onclose: handlers.onClose,
    onnotice: () => {},
  };
  return postgres(withoutTlsFiles(url), options) as unknown as Sql;
}

/**
 * Opens one more connection to the same database, for statements with bytes. They are planned like those of the queue.
 */
export function connectBinary(
  sql: Sql,
  options: Pick<BinaryConnectionParts, 'onNotDialled' | 'dialMs'> = {},
): BinaryConnection {
  const url = urlOf(sql);
  const driver = driverOptions(url);
  let newest: DriverSocket | undefined;
  const pool = postgres(withoutTlsFiles(url), {
    ...driver,
    connection: { ...driver.connection, ...plansOnce },
    max: 1,
    // Otherwise the driver would query the types of arrays by itself, at any time.
    fetch_types: false,
    onnotice: () => {},
    socket: (address: Parameters<typeof driver.socket>[0]) => {
      newest = driver.socket(address);
      return newest;
    },
  } as never);
  return new BinaryConnection({ ...options, driver: pool, newestSocket: () => newest });
}

/**
 * What texts of values look like, and what a transaction is. Whoever runs the database can set these for a role or a
 * whole database, and values would be read as others: the day as the month, bytes as altered ones.
 */
const asWeRead = {
  TimeZone: 'UTC',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  default_transaction_isolation: 'read committed',
} as const;

function driverOptions(url: string) {
  const tls = tlsOf(url);
  return {
    types: { bigint: bigintAsNumber },
    transform: { column: { to: postgres.fromCamel, from: postgres.toCamel }, undefined: null },
    idle_timeout: 0,
    max_lifetime: null,
    connect_timeout: 10,
    ssl: false,
    socket: (address: { host: string[]; port: number[]; path?: string | false }) =>
      new DriverSocket({
        host: address.host[0] ?? '',
        port: address.port[0] ?? 0,
        path: address.path || undefined,
        tls,
      }),
    connection: {
      ...startupPadding,
      application_name: applicationName,
      ...asWeRead,
      // The connection that listens is silent for as long as nobody does anything. (The driver leaves out a number 0.)
      idle_session_timeout: '0' as unknown as number,
      // A transaction that a dead server left open must not hold back claims: measured, they were 20 times slower.
      idle_in_transaction_session_timeout: 30_000,
    },
  };
}

/** Returns the SQLSTATE of a database error; `undefined` for anything else. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.code : undefined;
}

/** Returns the name of the violated constraint, if there is one. */
export function violatedConstraint(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.constraint_name : undefined;
}

/**
 * Keeps a query from becoming a prepared statement, for queries whose text varies without limit. A connection never
 * forgets a prepared statement.
 */
export function unprepared<T extends PromiseLike<unknown>>(query: T): T {
  (query as unknown as { options: { prepare?: boolean } }).options.prepare = false;
  return query;
}

/**
 * Whether an unhandled rejection is caused by the driver itself: it queries the types of arrays on a new connection,
 * and if the connection is lost at that moment, nothing handles the rejection. Queries that waited for the connection
 * are rejected separately.
 */
export function isLostTypeQuery(error: unknown): boolean {
  const { query } = (error ?? {}) as { query?: unknown };
  return typeof query === 'string' && query.trimStart().startsWith('select b.oid, b.typarray');
}
