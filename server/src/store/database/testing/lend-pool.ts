// A pool of connections as one test has it, while they outlive the test.
import type { Sql } from '../connection.ts';

const maxWaitMs = 5_000;

// After these a connection of the pool may not be as it was, stays with who asked for it, or is told to end and has not
// heard of it yet.
const spoiling = new Set<string | symbol>(['end', 'listen', 'subscribe', 'reserve']);
const ending = /pg_terminate_backend/;

export interface LentPool {
  sql: Sql;
  isOut: boolean;
  /** Nobody else may have it. */
  isSpoiled: boolean;
  /** Resolves when all that was said is answered. */
  takeBack(): Promise<void>;
}

/** The pool, until it is taken back: from then on it answers as `ended` does, one that has ended. */
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

/** A tagged template, and not a helper for a part of one. */
function isTemplate(first: unknown): first is TemplateStringsArray {
  return Array.isArray(first) && 'raw' in first;
}

interface DriverQuery {
  executed?: boolean;
  cursorRows?: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A transaction always is; of a query read row by row the driver does not say when it is over. */
function isSent({ executed, cursorRows }: DriverQuery): boolean {
  return executed !== false && cursorRows === undefined;
}

/** What was said to the database and is not answered. Whether anybody meets its errors stays as it is. */
class Said {
  readonly #open = new Map<object, Promise<void>>();

  /** As the driver has it, which sends nothing before somebody waits for it. */
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

  /** Resolves when all is answered, or says after a while that it is not. */
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
