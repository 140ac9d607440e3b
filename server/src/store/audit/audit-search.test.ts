// How much of a long audit log is read by searches in it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setupAudit, type TestAudit } from '../../audit/testing.ts';
import type { Queryable, Sql } from '../database/connection.ts';
import { rowsRead } from '../database/testing/rows-read.ts';
import { unrestricted } from '../people/visibility.ts';
import { type AuditFilter, searchAudit } from './audit-search.ts';

const manyRows = 20_000;
const few = 500;

let t: TestAudit;
beforeAll(async () => {
  t = await setupAudit();
  await t.empty();
  await t.sql`
    insert into audit_log (actor_kind, actor_name, action)
    select 'user', 'a', case when n = 1 then 'rare.first' when n = 2 then 'rare.second' else 'test.row' end
    from generate_series(1, ${manyRows}) n order by n`;
  await t.sql`analyze audit_log`;
});
afterAll(() => t.close());

async function search(filter: Omit<AuditFilter, 'reaches'>) {
  const page = { below: undefined, limit: 51 };
  const { rows, found } = await rowsRead(t.sql, 'audit_log', (db) =>
    searchAudit(alreadyIn(db), { ...filter, reaches: unrestricted }, page, 30_000),
  );
  return { rows, actions: found.map(({ action }) => action) };
}

/** The transaction in which rows are counted, for what begins one itself. */
function alreadyIn(db: Queryable): Sql {
  return { begin: (work: (tx: Queryable) => unknown) => work(db) } as unknown as Sql;
}

test('rare actions are found without going through the log, however often frequent ones were', async () => {
  // A connection that keeps its statements might keep their plans after five times.
  for (let times = 0; times < 8; times += 1) {
    const frequent = await search({ action: 'test.' });
    expect(frequent.actions).toHaveLength(51);
    expect(frequent.rows).toBeLessThan(few);
  }
  const rare = await search({ action: 'rare.' });
  expect(rare.actions).toEqual(['rare.second', 'rare.first']);
  expect(rare.rows).toBeLessThan(few);
  const one = await search({ action: 'rare.first', actorKind: 'user' });
  expect(one.actions).toEqual(['rare.first']);
  expect(one.rows).toBeLessThan(few);
  const none = await search({ action: 'nothing', actorKind: 'system' });
  expect(none).toMatchObject({ actions: [] });
  expect(none.rows).toBeLessThan(few);
});
