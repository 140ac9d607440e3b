import {
  Frontier,
  provesConsistency,
  provesInclusion,
  readCheckpoint,
  verifyCheckpoint,
} from '@opsconductor/protocol/audit';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  checkpointsAfter,
  countUnsealed,
  deleteRetained,
  latestCheckpoint,
  sizeSealedBefore,
} from '../../store/audit/audit-seals.ts';
import { connect, type Sql } from '../../store/database/connection.ts';
import { rowsRead } from '../../store/database/testing/rows-read.ts';
import { hashRow } from '../leaf.ts';
import { recordAudit } from '../record-audit.ts';
import { applyRetention, setupAudit, type TestAudit, testEntry } from '../testing.ts';
import { consistencyProof, inclusionProofs, readFrontier } from '../tree-reader.ts';
import { Retention } from './retention.ts';
import { sealRows } from './seal-rows.ts';
import { AuditSealer } from './sealer.ts';

let t: TestAudit;
beforeAll(async () => {
  t = await setupAudit();
});
afterEach(() => t.empty());
afterAll(() => t.close());

const positions = () =>
  t.sql<{ action: string; position: number | null }[]>`
    select a.action, l.position from audit_log a left join audit_leaves l on l.audit_id = a.id order by a.id`;

describe('sealing', () => {
  it('signs a chain of checkpoints over all rows', async () => {
    await t.write('a', 'b', 'c');
    await t.sealer.seal();
    await t.write('d');
    await t.sealer.seal();
    const notes = await checkpointsAfter(t.sql, 0, 10);
    const { publicKey } = t.installation.serverKey;
    const [first, second] = await Promise.all(
      notes.map((row) => verifyCheckpoint(publicKey, t.installation.installationId, row.note)),
    );
    expect([first?.size, second?.size]).toEqual([3, 4]);
    expect(first?.previousHash).toEqual(Buffer.alloc(32));
    expect(second?.previousHash).toEqual(first?.hash);
    expect(await positions()).toEqual(
      ['a', 'b', 'c', 'd'].map((name, position) => ({ action: `test.${name}`, position })),
    );
    expect(await countUnsealed(t.sql)).toBe(0);
  });

  it('makes no checkpoint when nothing was written', async () => {
    await t.write('a');
    expect(await t.sealer.seal()).toHaveLength(1);
    expect(await t.sealer.seal()).toEqual([]);
  });

  it('seals a row that committed late after rows with higher ids, whatever other transactions are open', async () => {
    let commit = () => {};
    const held = new Promise<void>((done) => {
      commit = done;
    });
    let wrote = () => {};
    const written = new Promise<void>((done) => {
      wrote = done;
    });
    const late = t.sql.begin(async (tx) => {
      await recordAudit(tx, testEntry('late'));
      wrote();
      await held;
    });
    await written;
    await t.write('early');
    await t.sealer.seal();
    expect(await positions()).toEqual([{ action: 'test.early', position: 0 }]);
    commit();
    await late;
    await t.sealer.seal();
    expect(await positions()).toEqual([
      { action: 'test.late', position: 1 },
      { action: 'test.early', position: 0 },
    ]);
  });

  it('gives no position to a row that was rolled back', async () => {
    await t.sql
      .begin(async (tx) => {
        await recordAudit(tx, testEntry('never'));
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    await t.write('a');
    const [checkpoint] = await t.sealer.seal();
    expect(checkpoint?.size).toBe(1);
  });

  it('by two servers at once gives each row one position', async () => {
    const other = connect(t.url, { max: 2 });
    try {
      for (let round = 0; round < 10; round++) {
        await t.write('a', 'b');
        await Promise.all([sealRows(t.deps), sealRows({ ...t.deps, sql: other }), sealRows(t.deps)]);
      }
      await t.sealer.seal();
      const latest = await latestCheckpoint(t.sql);
      expect(latest?.size).toBe(20);
      expect((await positions()).map((row) => row.position).sort((a, b) => Number(a) - Number(b))).toEqual(
        Array.from({ length: 20 }, (_, i) => i),
      );
    } finally {
      await other.end();
    }
  });

  it('hashes what the database holds, to the microsecond', async () => {
    await t.write('a');
    await t.sql.begin(async (tx) => {
      await tx`insert into audit_log (at, actor_kind, actor_name, action, detail)
        values ('2026-02-03T04:05:06.123456+02', 'system', 'x', 'y.z', '{"b": 1e3, "a": "\\u00fc"}')`;
    });
    const made = await t.sealer.seal();
    const [row] = await t.sql<{ leafHash: Buffer }[]>`select leaf_hash from audit_leaves where position = 1`;
    const leaf = hashRow({
      id: 2,
      at: '2026-02-03T02:05:06.123456Z',
      actorKind: 'system',
      actorId: null,
      actorName: 'x',
      action: 'y.z',
      objectKind: null,
      objectId: null,
      detail: { a: 'ü', b: 1000 },
      address: null,
      requestId: null,
      segmentId: null,
      categoryId: null,
    });
    expect(row?.leafHash).toEqual(leaf);
    expect(made).toHaveLength(1);
  });

  it('signs nothing on top of a tree that was altered', async () => {
    await t.write('a', 'b', 'c');
    await t.sealer.seal();
    await t.attack(`update audit_leaves set leaf_hash = sha256('x') where position = 2`);
    await t.write('d');
    await expect(t.sealer.seal()).rejects.toThrow('checkpoint 1 signed');
    expect(await countUnsealed(t.sql)).toBe(1);
  });

  it('reports a row that was removed before it was sealed', async () => {
    const [id] = await t.write('gone');
    await t.attack('delete from audit_log');
    await t.sealer.seal();
    await t.sealer.seal();
    const [row] = await t.sql`select action, object_id from audit_log`;
    expect(row).toEqual({ action: 'audit.row_missing', objectId: String(id) });
    expect(t.logged.join()).toContain('removed before it was sealed');
  });

  it('does not seal a row twice if a restored queue names it again', async () => {
    const [id] = await t.write('a');
    await t.sealer.seal();
    await t.sql`insert into audit_unsealed values (${id ?? 0})`;
    expect(await t.sealer.seal()).toEqual([]);
    expect(await countUnsealed(t.sql)).toBe(0);
  });

  it('seals everything that is left before it stops', async () => {
    await t.write('a');
    await t.sealer.stop();
    expect((await latestCheckpoint(t.sql))?.size).toBe(1);
  });
});

describe('the database', () => {
  it('refuses to change, remove or empty what was audited and sealed', async () => {
    await t.write('a');
    await t.sealer.seal();
    for (const statement of [
      `update audit_log set actor_name = 'eve'`,
      'delete from audit_log',
      'truncate audit_log',
      `update audit_leaves set audit_id = 9`,
      'delete from audit_leaves',
      'truncate audit_leaves',
      `update audit_checkpoints set note = 'x'`,
      'delete from audit_checkpoints',
      'truncate audit_nodes',
    ])
      await expect(t.sql.unsafe(statement)).rejects.toThrow(/immutable/);
  });
});

describe('the stored tree', () => {
  it('proves inclusion and consistency at any size, from few rows', async () => {
    await t.sql`insert into audit_log (actor_kind, actor_name, action)
      select 'system', 'x', 'n.' || n from generate_series(1, 700) n`;
    await t.sealer.seal();
    const leaves = await t.sql<{ leafHash: Buffer }[]>`select leaf_hash from audit_leaves order by position`;
    const frontier = new Frontier();
    const roots = leaves.map(({ leafHash }) => {
      frontier.append(leafHash);
      return frontier.root;
    });
    const tree = (size: number) => ({ size, root: roots[size - 1] ?? Buffer.alloc(0) });
    for (const size of [1, 15, 16, 17, 255, 256, 257, 512, 699, 700]) {
      expect((await readFrontier(t.sql, size)).root).toEqual(tree(size).root);
      expect(provesConsistency(tree(size), tree(700), await consistencyProof(t.sql, size, 700))).toBe(true);
      const at = [0, size - 1, Math.floor(size / 2)];
      const proofs = await inclusionProofs(t.sql, at, size);
      for (const [i, position] of at.entries())
        expect(
          provesInclusion(
            leaves[position]?.leafHash ?? Buffer.alloc(0),
            position,
            tree(size),
            proofs[i] ?? [],
          ),
        ).toBe(true);
    }
  });
});

describe('retention', () => {
  it('removes rows that were sealed long ago, leaves a signed note, and continues to seal', async () => {
    await t.write('old');
    await t.sealer.seal();
    await t.attack(`update audit_checkpoints set sealed_at = sealed_at - interval '40 days'`);
    await t.write('young');
    await t.sealer.seal();
    expect(await applyRetention(t.deps, 30)).toBe(1);
    expect((await positions()).map((row) => row.action)).toEqual(['test.young', 'audit.retained']);
    await t.sealer.seal();
    expect(readCheckpoint((await latestCheckpoint(t.sql))?.note ?? '').size).toBe(3);
    expect(await applyRetention(t.deps, 30)).toBe(0);
  });

  it('is done by the sealer, unless rows are kept forever', async () => {
    await t.write('old');
    await t.sealer.seal();
    await t.attack(`update audit_checkpoints set sealed_at = sealed_at - interval '40 days'`);
    await new AuditSealer(t.deps).stop();
    expect((await positions()).map((row) => row.action)).toEqual(['test.old']);
    // Its last round is like any other.
    await new AuditSealer({ ...t.deps, retentionDays: 30 }).stop();
    expect((await positions()).map((row) => row.action)).toEqual(['audit.retained']);
  });

  /** Writes rows that were sealed 40 days ago, the first `gone` of which no longer exist. */
  async function oldLog(rows: number, gone = 0): Promise<void> {
    await t.sql`insert into audit_log (actor_kind, actor_name, action)
      select 'system', 'x', 'n.' || n from generate_series(1, ${rows}) n`;
    await t.sealer.seal();
    await t.attack(
      `update audit_checkpoints set sealed_at = sealed_at - interval '40 days'`,
      `delete from audit_log where id <= ${gone}`,
    );
  }

  const countRows = async () => (await t.sql<{ n: number }[]>`select count(*) as n from audit_log`)[0]?.n;

  const touchedBefore = (time: string) =>
    t.sql`update cluster_clock set touched_at = clock_timestamp() - ${time}::interval, leapt_at = null`;

  it('removes nothing for a day after the clock has jumped ahead by more than a day', async () => {
    await oldLog(2);
    await touchedBefore('25 hours');
    await new AuditSealer({ ...t.deps, retentionDays: 30 }).stop();
    expect(await countRows()).toBe(2);
    await touchedBefore('1 hour');
    await new AuditSealer({ ...t.deps, retentionDays: 30 }).stop();
    expect((await positions()).map((row) => row.action)).toEqual(['audit.retained']);
  });

  it('removes rows every hour, even if the server’s clock was set back', async () => {
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    await touchedBefore('1 second');
    const sealer = new AuditSealer({ ...t.deps, retentionDays: 30 });
    await sealer.stop();
    await oldLog(2);
    vi.setSystemTime(Date.now() - 40 * 24 * 3_600_000);
    vi.advanceTimersByTime(3_600_000);
    await sealer.stop();
    expect((await positions()).map((row) => row.action)).toEqual(['audit.retained']);
  });

  it('removes many rows in portions, and seals in between', async () => {
    await oldLog(5_000);
    await touchedBefore('1 second');
    const sealer = new AuditSealer({ ...t.deps, retentionDays: 30 });
    for (const [name, left] of [
      ['a', 3_002],
      ['b', 1_003],
      ['c', 4],
    ] as const) {
      await t.write(name);
      await sealer.stop();
      expect(await countRows()).toBe(left);
      expect((await positions()).find((row) => row.action === `test.${name}`)?.position).toEqual(
        expect.any(Number),
      );
    }
  });

  it('looks through positions that are already gone only once, however many there are', async () => {
    await oldLog(30_000, 20_000);
    const deps = { ...t.deps };
    const retention = new Retention(deps);
    await retention.note(30);
    expect(await retention.removeSome()).toEqual({ rows: 2_000, more: true });
    const { rows } = await rowsRead(t.sql, 'audit_leaves', async (tx) => {
      deps.sql = tx as Sql;
      expect(await retention.removeSome()).toEqual({ rows: 2_000, more: true });
    });
    // Counted twice: by the statement, and by the trigger that each row passes.
    expect(rows).toBeGreaterThan(2_000);
    expect(rows).toBeLessThanOrEqual(2 * 2_000);
  });

  it('reads only the newest notes and checkpoints, however many there are', async () => {
    await oldLog(3_000);
    await t.attack(`
      insert into audit_checkpoints
      select 1 + n, 3000 + n, now() - interval '35 days' + n * interval '1 second', 'c' from generate_series(1, 1000) n`);
    await t.sql`insert into audit_retention (below, note) select n, 'n' from generate_series(1, 1000) n`;
    await t.sql`insert into audit_retention (below, note) values (4000, 'n')`;
    await t.sql`analyze audit_retention, audit_checkpoints`;
    const notes = await rowsRead(t.sql, 'audit_retention', (tx) => deleteRetained(tx, 2_500, 2_600));
    expect(notes.rows).toBeLessThan(500);
    const checkpoints = await rowsRead(t.sql, 'audit_checkpoints', (tx) => sizeSealedBefore(tx, 30));
    expect(checkpoints.found).toBeUndefined();
    expect(checkpoints.rows).toBeLessThan(10);
  });

  it('starts over if the log is replaced by a different one', async () => {
    await oldLog(3);
    const retention = new Retention(t.deps);
    await retention.note(30);
    expect(await retention.removeSome()).toEqual({ rows: 3, more: false });
    await t.empty();
    await oldLog(2);
    await retention.note(30);
    expect(await retention.removeSome()).toEqual({ rows: 2, more: false });
  });
});
