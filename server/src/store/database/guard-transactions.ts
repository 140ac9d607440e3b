// A transaction whose connection was lost is over, though its work may not know it yet: it may wait for something else.
// The driver would send what such work says later, and its ROLLBACK in any case, to whoever has the connection by then.
import type postgres from 'postgres';
import { DatabaseLost } from './database-lost.ts';

type Work = (tx: postgres.TransactionSql) => unknown;

/** Makes a pool whose transactions say nothing more once they were told that their connection is closed. */
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
          // Once it is over nobody waits for this any more, and the driver must not go on with it.
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

/** Rejects for who waits for it. A part of a statement nobody waits for: unhandled it would end the server. */
function lost(): Promise<never> {
  const rejected = Promise.reject(new DatabaseLost());
  rejected.catch(() => undefined);
  return rejected;
}

/** A tagged template, and not a helper for a part of one. */
function isQuery([first]: unknown[]): boolean {
  return Array.isArray(first) && 'raw' in first;
}
