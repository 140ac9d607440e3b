// A pool of connections lent to one test; the connections outlive the test.
import type { Sql } from '../connection.ts';

const maxWaitMs = 5_000;

// After these, a connection of the pool may be changed, may stay with the caller, or may have been told to end without
// having noticed yet.
const spoiling = new Set<string | symbol>(['end', 'listen', 'subscribe', 'reserve']);
const ending = /pg_terminate_backend/;

export interface LentPool {
  sql: Sql;
  isOut: boolean;
  /** It must not be lent to anyone else. */
  isSpoiled: boolean;
  /** Resolves when everything that was sent is answered. */
  takeBack(): Promise<void>;
}

/** Wraps the pool until it is taken back; from then on it behaves like `ended`, a closed pool. */
export function lendPool(sql: Sql, ended: Sql): LentPool {
  let pool = sql;
  const said = new Said();
  const lent: LentPool = {
    isOut: true,
    isSpoiled: false,
    sql: new Proxy(sql, {
      apply(_, self, args) {
        const result = Reflect.apply(pool, self, args);
        if (!isTemplate(args[0])) return result;
        if (args[0].some((text) => ending.test(text))) lent.isSpoiled = true;
        return said.query(result);
      },
      get(_, name) {
        if (spoiling.has(name)) lent.isSpoiled = true;
        const value = Reflect.get(pool, name);
        if (name === 'unsafe') return (...args: Parameters<Sql['unsafe']>) => said.query(value(...args));
        if (name === 'begin') return (...args: unknown[]) => said.transaction(value(...args));
        return value;
      },
    }),
    async takeBack() {
      lent.isOut = false;
      pool = ended;
      if (!(await said.isOver())) lent.isSpoiled = true;
    },
  };
  return lent;
}

/** Whether this is a tagged template rather than a helper for a fragment of one. */
function isTemplate(first: unknown): first is TemplateStringsArray {
  return Array.isArray(first) && 'raw' in first;
}

interface DriverQuery {
  executed?: boolean;
  cursorRows?: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A transaction always is. For a query that is read row by row, the driver does not say when it is over. */
function isSent({ executed, cursorRows }: DriverQuery): boolean {
  return executed !== false && cursorRows === undefined;
}

/** What was sent to the database and is not answered yet. Does not change whether its errors are handled. */
class Said {
  readonly #open = new Map<object, Promise<void>>();

  /** Like the driver, which sends nothing before somebody awaits the query. */
  query<T>(query: T): T {
    const driven = query as DriverQuery;
    const { resolve, reject } = driven;
    const over = this.#begin(driven);
    driven.resolve = (value) => {
      over();
      resolve(value);
    };
    driven.reject = (error) => {
      over();
      reject(error);
    };
    return query;
  }

  transaction(transaction: Promise<unknown>): Promise<unknown> {
    const over = this.#begin(transaction);
    return transaction.finally(over);
  }

  #begin(what: object): () => void {
    let over = () => {};
    const answered = new Promise<void>((resolve) => {
      over = resolve;
    });
    this.#open.set(what, answered);
    return () => {
      this.#open.delete(what);
      over();
    };
  }

  /** Resolves to true when everything is answered, or to false if that takes too long. */
  async isOver(): Promise<boolean> {
    const sent = [...this.#open].filter(([what]) => isSent(what as DriverQuery));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, maxWaitMs, false);
    });
    return Promise.race([Promise.all(sent.map(([, answered]) => answered)).then(() => true), late]).finally(
      () => clearTimeout(timer),
    );
  }
}
