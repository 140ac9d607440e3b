// A transaction whose connection was lost is over, although its code may not know yet because it is waiting for
// something else. The driver would send its later statements, and its ROLLBACK in any case, to whoever has the
// connection by then.
import type postgres from 'postgres';
import { DatabaseLost } from '../database-lost.ts';

type Work = (tx: postgres.TransactionSql) => unknown;

/** Makes a pool's transactions send nothing more once they were told that their connection is closed. */
export function guardTransactions(sql: postgres.Sql): void {
  const begin = sql.begin.bind(sql) as (...args: unknown[]) => Promise<unknown>;
  const guarded = (...args: [Work] | [string, Work]): Promise<unknown> => {
    const work = args.at(-1) as Work;
    const state = { isOver: false };
    const begun = begin(
      ...args.slice(0, -1),
      (tx: postgres.TransactionSql) =>
        new Promise((resolve, reject) => {
          const result = work(silencedBy(state, tx));
          const all = Array.isArray(result) ? Promise.all(result) : Promise.resolve(result);
          // Once the transaction is over, nobody waits for this result any more, and the driver must not continue with
          // it.
          all.then(
            (value) => state.isOver || resolve(value),
            (error) => state.isOver || reject(error),
          );
        }),
    );
    begun.catch(() => {
      state.isOver = true;
    });
    return begun;
  };
  Object.assign(sql, { begin: guarded });
}

function silencedBy(state: { isOver: boolean }, tx: postgres.TransactionSql): postgres.TransactionSql {
  return new Proxy(tx, {
    apply(target, self, args) {
      return state.isOver && isQuery(args) ? lost() : target.apply(self, args as never);
    },
    get(target, name) {
      const value = target[name as 'unsafe'];
      if (name !== 'unsafe') return value;
      return (...args: Parameters<typeof target.unsafe>) =>
        state.isOver ? lost() : value.apply(target, args);
    },
  });
}

/**
 * Rejects for a caller who awaits it. Nobody awaits a fragment of a statement, whose unhandled rejection would end the
 * server.
 */
function lost(): Promise<never> {
  const rejected = Promise.reject(new DatabaseLost());
  rejected.catch(() => undefined);
  return rejected;
}

/** Whether this is a tagged template rather than a helper for a fragment of one. */
function isQuery([first]: unknown[]): boolean {
  return Array.isArray(first) && 'raw' in first;
}
