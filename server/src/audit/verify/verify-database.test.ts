// Each attack uses SQL by somebody who has the server's database role and switches its triggers off.
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { latestCheckpoint } from '../../store/audit/audit-seals.ts';
import { sealRows } from '../sealing/seal-rows.ts';
import { applyRetention, setupAudit, type TestAudit } from '../testing.ts';
import type { Finding } from './log-verifier.ts';
import { verifyDatabase } from './verify-database.ts';

let t: TestAudit;
beforeAll(async () => {
  t = await setupAudit();
});
afterEach(() => t.empty());
afterAll(() => t.close());

async function verify(...notes: string[]) {
  const { installationId, serverKey } = t.installation;
  return verifyDatabase(t.sql, {
    installationId,
    publicKey: serverKey.publicKey,
    notes: notes.map((note) => ({ file: 'kept', note })),
  });
}

async function findings(...notes: string[]): Promise<Finding[]> {
  return (await verify(...notes)).findings;
}

const newestNote = async () => (await latestCheckpoint(t.sql))?.note ?? '';

/** Makes three checkpoints: rows a b, then c d e, then f. */
async function threeCheckpoints(): Promise<number[]> {
  const ids: number[] = [];
  for (const names of [['a', 'b'], ['c', 'd', 'e'], ['f']]) {
    ids.push(...(await t.write(...names)));
    await t.sealer.seal();
  }
  return ids;
}

describe('a log that nobody touched', () => {
  it('verifies, with the rows it covers and no findings', async () => {
    await threeCheckpoints();
    const verifier = await verify(await newestNote());
    expect(verifier.findings).toEqual([]);
    expect(verifier.remarks).toEqual([]);
    expect(verifier.rows).toBe(6);
    expect(verifier.last?.number).toBe(3);
  });

  it('reports rows that are not sealed yet, which is not a finding', async () => {
    await threeCheckpoints();
    await t.write('g');
    const verifier = await verify();
    expect(verifier.findings).toEqual([]);
    expect(verifier.remarks).toEqual(['1 row is not sealed yet and not protected.']);
  });

  it('continues in another cluster after a dump and restore, whatever its transaction numbers', async () => {
    await threeCheckpoints();
    const kept = await newestNote();
    await t.write('not sealed yet');
    const restored = await setupAudit(t);
    try {
      // Like a restore of the data alone: each row goes through the triggers, so all of them are queued again.
      for (const table of ['audit_log', 'audit_leaves', 'audit_checkpoints', 'audit_unsealed']) {
        const rows = await t.sql<{ row: object }[]>`select to_jsonb(x) as row from ${t.sql(table)} x`;
        await restored.sql`insert into ${t.sql(table)} overriding system value
          select r.* from jsonb_populate_recordset(null::${t.sql(table)}, ${t.sql.json(rows.map(({ row }) => row) as never)}) r`;
      }
      await restored.sql`select setval(pg_get_serial_sequence('audit_log', 'id'), (select max(id) from audit_log))`;
      await restored.write('after the restore');
      await restored.sealer.seal();
      const { installationId, serverKey } = t.installation;
      const verifier = await verifyDatabase(restored.sql, {
        installationId,
        publicKey: serverKey.publicKey,
        notes: [{ file: 'kept', note: kept }],
      });
      expect(verifier.findings).toEqual([]);
      expect(verifier.remarks).toEqual([]);
      expect(verifier.rows).toBe(8);
    } finally {
      await restored.close();
    }
  });

  it('verifies over many rows, checkpoints and queries', async () => {
    await t.sql`insert into audit_log (actor_kind, actor_name, action)
      select 'system', 'x', 'n.' || n from generate_series(1, 6000) n`;
    await t.sealer.seal();
    await t.write('more');
    await t.sealer.seal();
    const verifier = await verify();
    expect(verifier.findings).toEqual([]);
    expect(verifier.rows).toBe(6001);
  });

  it('verifies after retention, and says how much that removed', async () => {
    await t.write('a', 'b');
    await t.sealer.seal();
    await t.attack(`update audit_checkpoints set sealed_at = sealed_at - interval '40 days'`);
    await t.write('c');
    await t.sealer.seal();
    await applyRetention(t.deps, 30);
    const verifier = await verify();
    expect(verifier.findings).toEqual([]);
    expect(verifier.removedByRetention).toBe(2);
  });
});

describe('an attacker', () => {
  it.each([
    ['the actor', `actor_name = 'eve'`],
    ['the action', `action = 'job.read'`],
    ['the detail', `detail = detail || '{"name": "z"}'`],
    ['the time by a microsecond', `at = at + interval '1 microsecond'`],
    ['the address', 'address = null'],
    ['the object', `object_id = '8'`],
    ['the scope', 'segment_id = 3'],
    ['the request', `request_id = ''`],
  ])('who alters %s of a row is found, and the row named', async (_, change) => {
    const ids = await threeCheckpoints();
    await t.attack(`update audit_log set ${change} where id = ${ids[3]}`);
    const found = await findings();
    expect(found).toMatchObject([{ kind: 'altered', auditId: ids[3] }]);
  });

  it('who alters a row and its hash is found, in the rows of that checkpoint, and later rows still hold', async () => {
    const ids = await threeCheckpoints();
    await t.attack(
      `update audit_log set actor_name = 'eve' where id = ${ids[3]}`,
      `update audit_leaves set leaf_hash = sha256('x') where audit_id = ${ids[3]}`,
    );
    const found = await findings();
    expect(found[0]).toMatchObject({ kind: 'altered', auditId: ids[3] });
    expect(found[1]?.message).toContain(`checkpoint 2 sealed`);
    expect(found[1]?.message).toContain(`rows ${ids[2]}, ${ids[3]}, ${ids[4]}`);
  });

  it('who removes a row is found, and the row named', async () => {
    const ids = await threeCheckpoints();
    await t.attack(`delete from audit_log where id = ${ids[1]}`);
    expect(await findings()).toMatchObject([{ kind: 'removed', auditId: ids[1] }]);
  });

  it('who removes a row with its seal is found', async () => {
    const ids = await threeCheckpoints();
    await t.attack(
      `delete from audit_log where id = ${ids[1]}`,
      `delete from audit_leaves where audit_id = ${ids[1]}`,
    );
    const found = await findings();
    expect(found[0]).toMatchObject({ kind: 'removed' });
    expect(found[0]?.message).toContain('Checkpoint 1 covers 2 rows');
  });

  it('who removes a row and moves the others together is found', async () => {
    const ids = await threeCheckpoints();
    await t.attack(
      `delete from audit_log where id = ${ids[1]}`,
      `delete from audit_leaves where audit_id = ${ids[1]}`,
      'update audit_leaves set position = position - 1 where position > 1',
    );
    const found = await findings();
    expect(found.map((one) => one.kind)).toContain('altered');
    expect(found[0]?.message).toContain('checkpoint 1');
  });

  it('who swaps the contents of two rows is found, and both are named', async () => {
    const ids = await threeCheckpoints();
    await t.attack(
      `update audit_log a set action = b.action, detail = b.detail, at = b.at from audit_log b
       where a.id in (${ids[2]}, ${ids[3]}) and b.id in (${ids[2]}, ${ids[3]}) and a.id <> b.id`,
    );
    expect(await findings()).toMatchObject([
      { kind: 'altered', auditId: ids[2] },
      { kind: 'altered', auditId: ids[3] },
    ]);
  });

  it('who swaps the places of two rows is found', async () => {
    const ids = await threeCheckpoints();
    await t.attack(
      `update audit_leaves set position = position + 100 where audit_id in (${ids[2]}, ${ids[3]})`,
      `update audit_leaves set position = 305 - position where audit_id in (${ids[2]}, ${ids[3]})`,
      'update audit_leaves set position = position - 200 where position >= 200',
    );
    const found = await findings();
    expect(found[0]?.message).toContain('checkpoint 2');
  });

  it('who inserts a row that bypasses the log is found, and the row named', async () => {
    await threeCheckpoints();
    await t.attack(
      `insert into audit_log (actor_kind, actor_name, action) values ('user', 'mallory', 'job.created')`,
    );
    const [row] = await t.sql<{ id: number }[]>`select id from audit_log where actor_name = 'mallory'`;
    expect(await findings()).toMatchObject([{ kind: 'inserted', auditId: row?.id }]);
  });

  it('who gives a row of theirs a place in the log is found', async () => {
    await threeCheckpoints();
    await t.attack(
      `insert into audit_log (actor_kind, actor_name, action) values ('user', 'mallory', 'job.created')`,
      `insert into audit_leaves select 6, max(id), sha256('x') from audit_log`,
    );
    const found = await findings();
    expect(found.map((one) => one.kind)).toEqual(['altered', 'truncated']);
  });

  it('who removes a row before it is sealed, and not from the queue, is found', async () => {
    await threeCheckpoints();
    const [id] = await t.write('g');
    await t.attack(`delete from audit_log where id = ${id}`);
    expect(await findings()).toMatchObject([{ kind: 'removed', auditId: id }]);
  });

  it.each([
    [
      'alters',
      `update audit_checkpoints set note = replace(note, E'number 2', E'number 9') where number = 2`,
    ],
    ['removes', 'delete from audit_checkpoints where number = 2'],
    ['dates back', `update audit_checkpoints set note = replace(note, 'time 2', 'time 1') where number = 2`],
  ])('who %s a checkpoint is found', async (_, statement) => {
    await threeCheckpoints();
    await t.attack(statement);
    const found = await findings();
    expect(found.map((one) => one.kind)).toContain('checkpoint');
  });

  it('who signs with their own key is found', async () => {
    const forger = { ...t.installation, serverKey: await generateSigningKeyPair() };
    await t.write('a');
    await sealRows({ ...t.deps, installation: forger });
    expect((await findings())[0]?.message).toContain('not signed by the key of the installation');
  });

  it('who forges a note of retention is found, and what they removed', async () => {
    const ids = await threeCheckpoints();
    await t.attack(
      `insert into audit_retention (below, note) values (2, E'x\\n\\n— x AAAA\\n')`,
      `delete from audit_log where id = ${ids[0]}`,
    );
    expect(await findings()).toMatchObject([{ kind: 'checkpoint' }, { kind: 'removed', auditId: ids[0] }]);
  });
});

describe('compared with a checkpoint that was kept elsewhere', () => {
  const cutTail = [
    'delete from audit_log where id in (select audit_id from audit_leaves where position >= 5)',
    'delete from audit_leaves where position >= 5',
    'delete from audit_checkpoints where number = 3',
  ];

  it('a cut-off tail is found, which the database alone can not show', async () => {
    await threeCheckpoints();
    const kept = await newestNote();
    await t.attack(...cutTail);
    expect(await findings()).toEqual([]);
    const found = await findings(kept);
    expect(found).toMatchObject([{ kind: 'truncated' }]);
    expect(found[0]?.message).toContain('the last one was cut off');
  });

  it('a database that was rolled back and written to again is found', async () => {
    await threeCheckpoints();
    const kept = await newestNote();
    await t.attack(...cutTail);
    await t.write('another', 'past');
    await t.sealer.seal();
    expect(await findings()).toEqual([]);
    expect(await findings(kept)).toMatchObject([{ kind: 'forked' }]);
  });

  it('rows with seals but without their checkpoints are found even without it', async () => {
    await threeCheckpoints();
    await t.attack('delete from audit_checkpoints where number = 3');
    expect(await findings()).toMatchObject([{ kind: 'truncated' }]);
  });

  it('a checkpoint of another installation or key is refused', async () => {
    await threeCheckpoints();
    const other = await setupAudit();
    try {
      await other.write('a');
      const [theirs] = await other.sealer.seal();
      expect(await findings(theirs?.note ?? '')).toMatchObject([{ kind: 'checkpoint' }]);
    } finally {
      await other.close();
    }
  });
});
