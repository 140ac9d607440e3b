import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { serverKeyContext } from '../auth/installation/open-installation.ts';
import { newDataKey, wrapDataKey } from '../credentials/at-rest/data-key.ts';
import {
  type MasterKey,
  newMasterKey,
  readMasterKeys,
  writeMasterKeys,
} from '../credentials/at-rest/master-key.ts';
import { MasterKeyRing } from '../credentials/at-rest/master-key-ring.ts';
import { contentKeyContext } from '../files/content-pieces.ts';
import { loadJobVersion } from '../jobs/versions/load-job-version.ts';
import { RunKeys } from '../runs/run-keys.ts';
import { setupRuns } from '../runs/testing.ts';
import { openRoot } from '../segments/segment-root.ts';
import { connect } from '../store/database/connection.ts';
import { insertInstallation } from '../store/installation/installation.ts';
import { runKeysCommand } from './keys-command.ts';
import { MasterKeyWatch } from './master-key-watch.ts';
import { countAllWrapped, rewrapAll } from './rewrap.ts';
import { wrappedColumns } from './wrapped-columns.ts';

/** An installation with jobs, runs and a segment, its master key in a file, and a server that holds it. */
async function setup() {
  const t = await setupRuns();
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-keys-'));
  const file = join(dir, 'master-key.json');
  const { sql, masterKey, identity } = t;
  await writeMasterKeys(file, [masterKey]);
  const { installationId: id, serverKey } = identity;
  await insertInstallation(sql, {
    ...{ id, masterKeyId: masterKey.id, serverKey: Buffer.from(serverKey.publicKey) },
    serverKeySealed: Buffer.from(wrapDataKey(masterKey, serverKey.privateKey, serverKeyContext(id))),
  });
  const runId = await t.start();
  const [run] = await sql<{ jobId: number }[]>`select job_id from job_runs where id = ${runId}`;
  const said: string[] = [];
  const errors: string[] = [];
  const log = { info: () => {}, error: (_: unknown, message: string) => void errors.push(message) };
  /** Makes a server, with the keys that it holds. */
  const server = (database = sql) => {
    const ring = new MasterKeyRing([masterKey], masterKey);
    return { ring, watch: new MasterKeyWatch({ sql: database, file, ring, log: log as never }) };
  };
  return {
    ...{ sql, masterKey, file, said, errors, server, runId, jobId: run?.jobId ?? 0, segmentId: t.segmentId },
    start: () => t.start(),
    command: (...args: string[]) => runKeysCommand(args, { sql, file, say: (text) => void said.push(text) }),
    /** Returns the key that `add` has made. */
    added: async () => (await readMasterKeys(file))?.at(-1) as MasterKey,
    async [Symbol.asyncDispose]() {
      await t[Symbol.asyncDispose]();
      await rm(dir, { recursive: true });
    },
  };
}

/** Opens a definition, a run's key and the segment's root. */
async function openAll(t: Awaited<ReturnType<typeof setup>>, masterKey: MasterKey): Promise<void> {
  await loadJobVersion({ sql: t.sql, masterKey }, t.jobId, 1);
  await new RunKeys(masterKey).keyOf(t.sql, t.runId);
  const [segment] = await t.sql<
    never[]
  >`select id, name, root_key_sealed from segments where id = ${t.segmentId}`;
  openRoot(masterKey, segment as never);
}

test('another master key takes over while a server runs, and the old one opens nothing any more', async () => {
  await using t = await setup();
  const { ring, watch } = t.server();
  await watch.look();
  await t.command('add');
  const next = await t.added();
  await expect(t.command('activate', next.id)).rejects.toThrow(/does not hold mk-.*copy the master key file/);
  await watch.look();
  await t.command('activate', next.id);
  expect(ring.id).toBe(t.masterKey.id);
  await expect(t.command('retire', t.masterKey.id)).rejects.toThrow('may still wrap with another key');
  await watch.look();
  expect(ring.id).toBe(next.id);
  await openAll(t, ring);
  await expect(t.command('retire', t.masterKey.id)).rejects.toThrow(/\d+ keys are wrapped by/);
  await t.command('rewrap');
  expect([...(await countAllWrapped(t.sql)).keys()]).toEqual([next.id]);
  await openAll(t, next);
  await expect(openAll(t, { ...t.masterKey })).rejects.toMatchObject({ reason: 'wrong_master_key' });
  await t.command('retire', t.masterKey.id);
  expect(await readMasterKeys(t.file)).toEqual([next]);
  await watch.look();
  expect(ring.ids).toEqual([next.id]);
  await openAll(t, ring);
  const rows =
    await t.sql`select action, object_id from audit_log where action like 'master_key.%' order by id`;
  expect(rows).toEqual([
    { action: 'master_key.activated', objectId: next.id },
    { action: 'master_key.rewrapped', objectId: next.id },
    { action: 'master_key.retired', objectId: t.masterKey.id },
  ]);
  expect(t.errors).toEqual([]);
});

test('a key is not retired while a transaction is open that may have wrapped with it', async () => {
  await using t = await setup();
  const [before] = await t.sql<{ sealed: Buffer }[]>`select server_key_sealed as sealed from installation`;
  await t.command('add');
  const next = await t.added();
  await t.command('activate', next.id);
  await t.command('rewrap');
  const held = await t.sql.reserve();
  await held`begin`;
  await held`update installation set server_key_sealed = ${before?.sealed ?? null}`;
  const retiring = t.command('retire', t.masterKey.id);
  await vi.waitFor(
    async () => {
      const [waits] = await t.sql`
      select 1 from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and query like '%min(xact_start)%'`;
      expect(waits).toBeDefined();
    },
    { timeout: 10_000 },
  );
  await held`commit`;
  held.release();
  await expect(retiring).rejects.toThrow('1 key is wrapped by');
  expect(await readMasterKeys(t.file)).toHaveLength(2);
});

test('a key whose retirement can’t be recorded stays in the file', async () => {
  await using t = await setup();
  await t.command('add');
  const next = await t.added();
  await t.command('activate', next.id);
  await t.command('rewrap');
  await t.sql.unsafe(`
    create function refuse_row() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
    create trigger refuse_row before insert on audit_log for each row execute function refuse_row()`);
  await expect(t.command('retire', t.masterKey.id)).rejects.toThrow('refused');
  expect(await readMasterKeys(t.file)).toHaveLength(2);
  await t.sql`drop trigger refuse_row on audit_log`;
  await t.command('retire', t.masterKey.id);
  expect(await readMasterKeys(t.file)).toEqual([next]);
});

test('a rewrap that was cut off goes on where it was', async () => {
  await using t = await setup();
  await t.command('add');
  const next = await t.added();
  const ring = new MasterKeyRing([t.masterKey, next], next);
  const cut = () => {
    throw new Error('cut off');
  };
  await expect(rewrapAll(t.sql, ring, { onPortion: cut })).rejects.toThrow('cut off');
  const half = await countAllWrapped(t.sql);
  expect(half.size).toBe(2);
  expect(await rewrapAll(t.sql, ring)).toMatchObject({ count: half.get(t.masterKey.id) });
  expect(await rewrapAll(t.sql, ring)).toMatchObject({ count: 0 });
  await openAll(t, next);
});

/** Makes three runs and a file under one key, and activates another one. */
async function setupRows(t: Awaited<ReturnType<typeof setup>>) {
  const runs = [t.runId, await t.start(), await t.start()];
  const fileId = randomUUID();
  const wrapped = wrapDataKey(t.masterKey, newDataKey(), contentKeyContext(fileId));
  await t.sql`
    with f as (insert into files (id, name, category_id) values (${fileId}, 'a', 1) returning id)
    insert into contents (id, file_id, size, data_key) select id, id, 0, ${wrapped} from f`;
  await t.command('add');
  const next = await t.added();
  await t.command('activate', next.id);
  return { next, middle: runs[1] ?? 0 };
}

test('a key that was altered doesn’t keep others from being rewrapped, is named, and can be given up', async () => {
  await using t = await setup();
  const { next, middle } = await setupRows(t);
  await t.sql`update job_runs set data_key = left(data_key, -8) || 'AAAAAAAA' where id = ${middle}`;
  await expect(t.command('rewrap')).rejects.toThrow(
    `does not open them: job_runs ${middle} (${t.masterKey.id}). If a backup`,
  );
  const total = [...(await countAllWrapped(t.sql)).values()].reduce((sum, count) => sum + count, 0);
  const left = new Map([
    [t.masterKey.id, 1],
    [next.id, total - 1],
  ]);
  expect(await countAllWrapped(t.sql)).toEqual(left);
  await openAll(t, next);
  await expect(t.command('retire', t.masterKey.id)).rejects.toThrow('1 key is wrapped by');

  await t.command('rewrap', 'give-up');
  expect(t.said.join('\n')).toContain(`Given up: job_runs ${middle} (${t.masterKey.id}).`);
  await t.command('retire', t.masterKey.id);
  await expect(new RunKeys(next).keyOf(t.sql, middle)).rejects.toMatchObject({ reason: 'damaged' });
  const rows = await t.sql`select detail from audit_log where action = 'master_key.rewrapped' order by id`;
  expect(rows).toMatchObject([
    { detail: { count: total - 1, damaged: { count: 1 } } },
    { detail: { count: 0, givenUp: { count: 1, named: [`job_runs ${middle} (${t.masterKey.id})`] } } },
  ]);
});

test('keys that name no master key, or one that is not here, don’t keep others from being rewrapped either', async () => {
  await using t = await setup();
  const { next, middle } = await setupRows(t);
  const absent = newMasterKey();
  await t.sql`update job_runs set data_key = replace(data_key, ${t.masterKey.id}, ${absent.id}) where id = ${middle}`;
  await t.sql`update segments set root_key_sealed = '\\xff0041'`;
  await expect(t.command('rewrap')).rejects.toThrow(
    new RegExp(
      `does not open them: segments ${t.segmentId} \\(no key’s id\\)[\\s\\S]*not in .*: job_runs ${middle} \\(${absent.id}\\)`,
    ),
  );
  await t.command('status');
  expect(t.said).toContain('1 wrapped key names no master key: it was altered');
  await t.command('retire', t.masterKey.id);
  await loadJobVersion({ sql: t.sql, masterKey: next }, t.jobId, 1);
});

test('keys that name no master key can be given up, and so can those of a lost one, by its id', async () => {
  await using t = await setup();
  const { next, middle } = await setupRows(t);
  const [absent, other] = [newMasterKey(), newMasterKey()];
  await t.sql`update job_runs set data_key = replace(data_key, ${t.masterKey.id}, ${absent.id}) where id = ${middle}`;
  await t.sql`update job_runs set data_key = replace(data_key, ${t.masterKey.id}, 'mk-') where id = ${t.runId}`;
  await t.sql`update segments set root_key_sealed = '\\xff0041'`;
  const [segment, run, ofAbsent] = [
    `segments ${t.segmentId} (no key’s id)`,
    `job_runs ${t.runId} (no key’s id)`,
    `job_runs ${middle} (${absent.id})`,
  ];
  await expect(t.command('rewrap')).rejects.toThrow(`does not open them: ${segment}, ${run}. If`);
  await expect(t.command('rewrap', 'give-up')).rejects.toThrow(
    new RegExp(`${middle} \\(${absent.id}\\)\\. Put .* npm run keys -- rewrap give-up mk-… `),
  );
  expect(t.said).toContain(`Given up: ${segment}, ${run}. What they encrypt can’t be read.`);
  for (const [id, why] of [
    [t.masterKey.id, 'is in'],
    [other.id, 'Nothing is wrapped by'],
    ['mk-1', 'is not the id of a master key'],
  ] as const)
    await expect(t.command('rewrap', 'give-up', id)).rejects.toThrow(why);

  await t.command('rewrap', 'give-up', absent.id);
  expect(t.said).toContain(`Given up: ${ofAbsent}. What they encrypt can’t be read.`);
  await t.command('rewrap');
  expect([...(await countAllWrapped(t.sql)).keys()]).toEqual([next.id]);
  for (const id of [t.runId, middle])
    await expect(new RunKeys(next).keyOf(t.sql, id)).rejects.toMatchObject({ reason: 'damaged' });
  const rows = await t.sql`
    select detail->'givenUp'->'named' as named from audit_log
    where action = 'master_key.rewrapped' and detail ? 'givenUp' order by id`;
  expect(rows).toEqual([{ named: [segment, run] }, { named: [ofAbsent] }]);
});

test('a server that lacks the active key says so once, and goes on as soon as it is there', async () => {
  await using t = await setup();
  const { ring, watch } = t.server();
  await t.sql`update installation set master_key_id = 'mk-elsewhere'`;
  await watch.look();
  await watch.look();
  expect(t.errors).toEqual([
    `master keys: the database is under master key mk-elsewhere, which is not in ${t.file}; copy that file from a server that has the key`,
  ]);
  expect(ring.id).toBe(t.masterKey.id);
  await t.sql`update installation set master_key_id = ${t.masterKey.id}`;
  await watch.look();
  // It is said again if it comes again.
  await t.sql`update installation set master_key_id = 'mk-elsewhere'`;
  await watch.look();
  expect(t.errors).toHaveLength(2);
  await t.sql`update installation set master_key_id = ${t.masterKey.id}`;
  await watch.look();
  await t.command('status');
  expect(t.said).toContain(`${t.masterKey.id}  4 keys wrapped, active`);
});

test('a lost database is called that, once, and not a fault of the keys', async () => {
  await using t = await setup();
  const lost = connect('postgres://nobody@127.0.0.1:1/none', { max: 1 });
  const { watch } = t.server(lost);
  await watch.look();
  await watch.look();
  expect(t.errors).toEqual([
    'master keys: could not be compared with the database; this is retried every few seconds',
  ]);
  await lost.end({ timeout: 0 });
});

test('a server that can’t read its file says so, and no key is activated behind its back', async () => {
  await using t = await setup();
  const { watch } = t.server();
  await watch.look();
  await t.command('add');
  const next = await t.added();
  await chmod(t.file, 0o644);
  await t.sql`update server_master_keys set seen_at = seen_at - interval '1 minute'`;
  await watch.look();
  expect(t.errors).toEqual([expect.stringContaining('chmod 600')]);
  await chmod(t.file, 0o600);
  await expect(t.command('activate', next.id)).rejects.toThrow(/does not hold mk-/);
});

test('every database column that holds a wrapped key is known', async () => {
  await using t = await setup();
  const columns = await t.sql<{ table: string; column: string; type: string }[]>`
    select table_name as table, column_name as column, data_type as type from information_schema.columns
    where table_schema = 'public' and data_type in ('text', 'bytea')
      and (column_name like '%data_key%' or column_name like '%key_sealed%')`;
  expect(columns.map(({ table, column }) => `${table}.${column}`).sort()).toEqual(
    wrappedColumns.map(({ table, column }) => `${table}.${column}`).sort(),
  );
});

test('a wrong command changes nothing', async () => {
  await using t = await setup();
  await expect(t.command('activate', 'mk-none')).rejects.toThrow(
    'mk-none is not a key of the master key file',
  );
  await expect(t.command('activate', t.masterKey.id)).rejects.toThrow('active already');
  await expect(t.command('retire', t.masterKey.id)).rejects.toThrow('activate another one first');
  await expect(t.command('turn')).rejects.toThrow('There is no command “turn”');
  await expect(t.command('activate')).rejects.toThrow('Add the id of a key');
  await expect(t.command()).rejects.toThrow('Say what to do: status, add');
});
