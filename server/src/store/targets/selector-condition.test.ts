import { matchesSelector, parseSelector, printSelector, type SelectableTarget } from '@opsconductor/protocol';
import { anySelector } from '@opsconductor/protocol/selector-testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Queryable, unprepared } from '../database/connection.ts';
import { setupDatabase, type TestDatabase } from '../database/testing.ts';
import { selectorCondition } from './selector-condition.ts';

let t: TestDatabase;
let targets: (SelectableTarget & { id: number })[];

const values = ['', 'prod', 'stage', 'Prod', 'a b', 'in', 'x*', '"', '\\', "it's", 'ü', '%', '_', '1,2', '('];
const names = ['web-1', 'web-2', 'WEB-1', 'a_b', 'axb', 'a%', 'a%%', 'db', 'xwyb', 'eu west'];
const labelNames = ['env', 'tier', 'canary', 'a/b.c', '1'];

/** Always generates the same targets. */
function* numbers(): Generator<number> {
  for (let state = 1; ; ) {
    state = (state * 48_271) % 2_147_483_647;
    yield state;
  }
}

beforeAll(async () => {
  t = await setupDatabase();
  const next = numbers();
  const pick = <T>(from: readonly T[]): T => from[(next.next().value ?? 0) % from.length] as T;
  const segments = ['dmz-1', 'dmz-2', 'eu-west'];
  for (const name of segments) {
    await t.sql`insert into segments (name, root_key, root_key_sealed) values (${name}, '\\x00', '\\x00')`;
  }
  for (const name of ['web-1', 'eu west', 'a_b', 'axb']) {
    await t.sql`insert into target_groups (name) values (${name})`;
  }
  targets = [];
  for (let n = 0; n < 150; n += 1) {
    const segment = pick(segments);
    const labels = Object.fromEntries(
      labelNames.filter(() => pick([true, false])).map((name) => [name, pick(values)]),
    );
    const target = {
      name: `${pick(names)}${n < names.length ? '' : ` ${n}`}`,
      host: pick(['Web-1.Example', '10.0.0.1', 'A_B', 'axb', 'dmz-1']),
      operatingSystem: pick(['linux', 'windows', 'other']),
    };
    const [row] = await t.sql<{ id: number }[]>`
      insert into targets (segment_id, name, host, operating_system, labels)
      select id, ${target.name}, ${target.host}, ${target.operatingSystem}, ${t.sql.json(labels)}
      from segments where name = ${segment} on conflict do nothing returning id`;
    if (row === undefined) continue;
    const groups = ['web-1', 'eu west', 'a_b', 'axb'].filter(() => pick([true, false, false]));
    await t.sql`insert into target_group_members (target_group_id, target_id)
                select id, ${row.id} from target_groups where name = any(${groups}::text[])`;
    targets.push({ ...target, id: row.id, segment, labels, groups });
  }
});
afterAll(() => t.close());

const select = async (sql: Queryable, condition: ReturnType<typeof selectorCondition>) => {
  const rows = await unprepared(
    sql<{ id: number }[]>`select id from targets t where ${condition} order by id`,
  );
  return rows.map((row) => row.id);
};

describe('a selector in SQL', () => {
  it('selects the same targets as the evaluator, for any targets and any selector', async () => {
    await fc.assert(
      fc.asyncProperty(anySelector(), async (selector) => {
        const expected = targets.filter((target) => matchesSelector(selector, target)).map(({ id }) => id);
        expect(await select(t.sql, selectorCondition(t.sql, selector)), printSelector(selector)).toEqual(
          expected,
        );
      }),
      { numRuns: 400 },
    );
  }, 120_000);

  it('leaves no prepared statements behind for selectors that people enter', async () => {
    const count = async (sql: Queryable) => (await sql`select from pg_prepared_statements`).length;
    await t.sql.begin(async (transaction) => {
      const tx = transaction as unknown as Queryable;
      await count(tx);
      const before = await count(tx);
      for (let terms = 1; terms <= 20; terms += 1) {
        await select(tx, selectorCondition(tx, parseSelector(Array(terms).fill('a=b').join(' or '))));
      }
      expect(await count(tx)).toBe(before);
    });
  });

  it('uses the index on labels for equality', async () => {
    await t.sql.begin(async (transaction) => {
      const tx = transaction as unknown as Queryable;
      await tx`set local enable_seqscan = off`;
      const condition = selectorCondition(tx, parseSelector('env in (prod, stage) os=linux'));
      const plan = await unprepared(tx`explain select id from targets t where ${condition}`);
      expect(JSON.stringify(plan)).toContain('targets_labels');
    });
  });
});
