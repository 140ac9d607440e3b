// The one way to PostgreSQL: camelCase columns, bigint as number (ids and byte counts stay below 2^53).
import postgres from 'postgres';

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

export interface ConnectOptions {
  /** Connections in the pool. */
  max?: number;
  onNotice?: (message: string) => void;
}

/** Opens a pool; nothing is dialled before the first query. */
export function connect(url: string, options: ConnectOptions = {}): Sql {
  return postgres(url, {
    max: options.max ?? 10,
    types: { bigint: bigintAsNumber },
    transform: { column: { to: postgres.fromCamel, from: postgres.toCamel }, undefined: null },
    onnotice: (notice) => options.onNotice?.(String(notice.message)),
    idle_timeout: 0,
    connect_timeout: 10,
    connection: {
      application_name: 'opsconductor',
      TimeZone: 'UTC',
      // A transaction that a dead server left open must not hold back claims (research: 20 times slower).
      idle_in_transaction_session_timeout: 30_000,
    },
  }) as unknown as Sql;
}

/** SQLSTATE of a database error; undefined for anything else. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.code : undefined;
}

/** Name of the violated constraint, where there is one. */
export function violatedConstraint(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.constraint_name : undefined;
}
