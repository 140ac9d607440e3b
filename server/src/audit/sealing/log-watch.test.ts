import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { applyRetention, setupAudit, type TestAudit } from '../testing.ts';
import { LogWatch } from './log-watch.ts';
import { AuditSealer } from './sealer.ts';

let t: TestAudit;
beforeAll(async () => {
  t = await setupAudit();
});
afterEach(() => t.empty());
afterAll(() => t.close());

async function seal(...names: string[]): Promise<void> {
  await t.write(...names);
  await t.sealer.seal();
}

const emptied = 'truncate audit_unsealed, audit_log, audit_leaves, audit_nodes, audit_checkpoints';
const told = () => t.sql<{ action: string; detail: object }[]>`
  select action, detail from audit_log where action like 'audit.%' order by id`;

/** Returns a watch, and how often it announced that the log was replaced. */
function setupWatch() {
  const heard: string[] = [];
  const watch = new LogWatch({ ...t.deps, onOtherLog: () => void heard.push('other') });
  return { look: () => watch.look(), heard };
}

/**
 * Keeps the log from taking rows, as if the database were unreachable for a moment, or as an attacker who emptied the
 * log might do.
 */
const refusal = 'alter table audit_log add constraint no_rows check (false) not valid';
const endOfRefusal = 'alter table audit_log drop constraint if exists no_rows';

describe('a look at the log', () => {
  it('finds nothing wrong if it is new, grows, or lost only rows that a signed note of retention names', async () => {
    const { look, heard } = setupWatch();
    await look();
    for (const name of ['a', 'b']) {
      await seal(name);
      await look();
    }
    await t.attack(`update audit_checkpoints set sealed_at = sealed_at - interval '40 days'`);
    expect(await applyRetention(t.deps, 30)).toBe(2);
    // By now, the row of the newest sealed position is gone.
    await setupWatch().look();
    expect(heard).toEqual([]);
    expect(await told()).toMatchObject([{ action: 'audit.retained' }]);
    expect(t.logged.join()).not.toContain('was removed');
  });

  it.each([
    ['emptied', [emptied], [], 'lower', { number: 0, size: 0 }],
    ['emptied and begun anew', [emptied], ['other'], 'forked', { number: 1, size: 1 }],
    [
      'cut off',
      [
        'delete from audit_log where id > 1',
        'delete from audit_leaves where position > 0',
        'delete from audit_checkpoints where number > 1',
      ],
      [],
      'lower',
      { number: 1, size: 1 },
    ],
  ])('reports once that it was %s, without another row', async (how, statements, more, reason, found) => {
    const { look, heard } = setupWatch();
    await seal('a');
    if (how === 'cut off') await seal('b');
    await look();
    await t.attack(...statements);
    if (more.length > 0) await seal(...more);
    await look();
    expect(await told()).toMatchObject([
      {
        action: 'audit.checkpoint_refused',
        detail: { reason, kept: { size: how === 'cut off' ? 2 : 1 }, found },
      },
    ]);
    await t.sealer.seal();
    await look();
    expect(await told()).toHaveLength(1);
    expect(heard).toEqual(['other']);
    expect(t.logged.join()).toContain('it was emptied, cut off or rolled back');
  });

  it.each([
    ['with their seals left', ['delete from audit_log'], '2'],
    ['and their places', ['delete from audit_log', 'delete from audit_leaves'], undefined],
    [
      'under a note of retention that nobody signed',
      ['delete from audit_log', `insert into audit_retention (below, note) values (9, 'removed below 9')`],
      '2',
    ],
  ])('reports once that rows were removed %s', async (_, statements, objectId) => {
    await seal('a', 'b');
    await t.attack(...statements);
    // Even if the watch only begins now.
    const { look } = setupWatch();
    for (let times = 0; times < 3; times++) await look();
    const rows = await t.sql`select action, object_id, detail from audit_log`;
    expect(rows).toEqual([
      { action: 'audit.row_missing', objectId: objectId ?? null, detail: { position: 1 } },
    ]);
    expect(t.logged.join()).toContain('the newest sealed row of the audit log was removed');
  });

  it('reports once that the newest sealed row was removed, even if another was sealed before it looked', async () => {
    const { look } = setupWatch();
    await seal('a', 'b');
    await look();
    await t.attack('delete from audit_log where id = 2');
    for (const name of ['c', 'd']) {
      await seal(name);
      for (let times = 0; times < 2; times++) await look();
    }
    expect(await told()).toMatchObject([{ action: 'audit.row_missing', detail: { position: 1 } }]);
  });

  it.each([
    ['another log', [emptied], { action: 'audit.checkpoint_refused', detail: { kept: { size: 2 } } }, 1],
    [
      'a row that was removed',
      ['delete from audit_log where id = 2'],
      { action: 'audit.row_missing', detail: { position: 1 } },
      0,
    ],
  ])(
    'reports %s as soon as the log takes rows again, even if it is in order by then',
    async (_, statements, entry, times) => {
      onTestFinished(async () => void (await t.sql.unsafe(endOfRefusal)));
      const { look, heard } = setupWatch();
      await seal('a', 'b');
      await look();
      await t.attack(...statements, refusal);
      // The file is compared anyway.
      await expect(look()).rejects.toThrow('no_rows');
      expect(heard).toHaveLength(times);
      await t.sql.unsafe(endOfRefusal);
      await seal('c');
      for (let looks = 0; looks < 2; looks++) await look();
      expect(await told()).toMatchObject([entry]);
      expect(heard).toHaveLength(times);
      expect(t.logged.filter((line) => /was emptied|was removed/.test(line))).toHaveLength(1);
    },
  );
});

it('a running server reports it within its next round, and has the file compared again', async () => {
  const heard: string[] = [];
  const sealer = new AuditSealer({ ...t.deps, onOtherLog: () => void heard.push('other') });
  await seal('a');
  // What it does every second, and once more when it stops.
  await sealer.stop();
  await t.attack(emptied);
  await sealer.stop();
  expect(await told()).toMatchObject([{ action: 'audit.checkpoint_refused' }]);
  expect(heard).toEqual(['other']);
});
