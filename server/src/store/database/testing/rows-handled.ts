// Counts how many rows the plans of some work handle: all that each node returns or throws away, each time it is run. A
// join that goes through all of one side for each row of the other shows here, even if it reads no table.
import type { Queryable, Sql } from '../connection.ts';

interface Node {
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Join Filter'?: number;
  Plans?: Node[];
}

/** Runs the work's statements for their plans; each is answered with no rows. */
export async function rowsHandled(sql: Sql, work: (db: Queryable) => Promise<unknown>): Promise<number> {
  let rows = 0;
  const spy = new Proxy(sql, {
    apply(target, self, args) {
      const query = Reflect.apply(target as never, self, args) as PromiseLike<unknown>;
      const explained = async () => {
        const [row] = await sql`explain (analyze, format json, timing off) ${query as never}`;
        const [{ Plan: root }] = Object.values(row ?? {})[0] as [{ Plan: Node }];
        rows += handledBy(root);
      };
      // A fragment of another statement is never awaited.
      // biome-ignore lint/suspicious/noThenProperty: the driver sends a statement when it is awaited.
      query.then = ((ok, failed) => explained().then(() => ok?.([] as never), failed)) as typeof query.then;
      return query;
    },
  });
  await work(spy);
  return rows;
}

function handledBy(node: Node): number {
  const each =
    node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Join Filter'] ?? 0);
  const below = (node.Plans ?? []).reduce((sum, child) => sum + handledBy(child), 0);
  return each * node['Actual Loops'] + below;
}
