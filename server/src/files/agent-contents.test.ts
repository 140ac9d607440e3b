import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { type ArtifactQuery, agentCapabilities, type ContentRequest, limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { createCategory } from '../categories/edit-categories.ts';
import { setupOutput } from '../runs/output/output-testing.ts';
import { endOf, success } from '../runs/testing.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  addUpContentBytes,
  deleteUnfinishedContents,
  findContent,
  storedContentBytes,
} from '../store/files/contents.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { deleteOldRuns } from '../store/queue/sweep/retention.ts';
import { AgentContents } from './agent-contents.ts';
import { getArtifact, listArtifacts } from './list-artifacts.ts';
import { createFile, finishFile, uploadBytes } from './upload-file.ts';

const piece = limits.contentPartBytes;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A job with a step that gets a file. */
const getting = (file: string) => ({
  steps: [{ name: 'put', type: 'sftp.upload', config: { file, remote_path: '/tmp/it' } }],
});

async function setup(job: object = {}) {
  const t = await setupOutput();
  await t.connect(t.agent, { capabilities: agentCapabilities });
  const deps = { sql: t.sql, masterKey: t.masterKey, keys: t.keys, maxStoredBytes: 10_000_000 };
  const contents = new AgentContents(deps);
  const runId = await t.start({ job });
  const lease = await t.claimOne();
  const { id: stepId, epoch, agentId, sessionNumber } = lease;
  const attempt = { stepId, epoch, runId, agentId, sessionNumber };
  const ask = (request: ContentRequest) => contents.answer(attempt, request);
  return {
    t,
    runId,
    lease,
    contents,
    attempt,
    ask,
    async upload(name: string, bytes: Buffer, category?: string) {
      const request = { name, size: bytes.length, ...(category === undefined ? {} : { category }) };
      const { id } = await createFile(deps, request, t.caller);
      await uploadBytes(deps, { id, offset: 0, bytes }, t.caller);
      return { id, finish: () => finishFile(deps, id, {}, t.caller) };
    },
    async open(name: string, size: number) {
      return (await ask({ do: 'open_artifact', name, size })).artifact?.id ?? '';
    },
    write: (artifact: string, part: number, bytes: Buffer) =>
      ask({ do: 'write_artifact', artifact, part, data: bytes.toString('base64') }),
    list: (query: ArtifactQuery = {}) => listArtifacts(deps, runId, query, unrestricted),
  };
}

test('an agent gets a file piece by piece, once it is complete', async () => {
  const { t, ask, upload } = await setup(getting('app.tar'));
  await using _ = t;
  const bytes = randomBytes(piece + 9);
  const { id, finish } = await upload('app.tar', bytes);
  expect(await ask({ do: 'find_file', name: 'app.tar' })).toMatchObject({
    problem: { reason: 'path_missing' },
  });
  await finish();
  expect(await ask({ do: 'find_file', name: 'app.tar' })).toEqual({
    file: { id, sha256: sha256(bytes), size: bytes.length },
  });
  const parts = await Promise.all([0, 1].map((part) => ask({ do: 'read_file', file: id, part })));
  const read = Buffer.concat(parts.map(({ data }) => Buffer.from(data ?? '', 'base64')));
  expect(read.equals(bytes)).toBe(true);
  expect(await ask({ do: 'read_file', file: id, part: 2 })).toMatchObject({
    problem: { reason: 'path_missing' },
  });
});

test('a file is given although its use can’t be noted, and an artifact that the database refuses fails its step, not its agent', async () => {
  const { t, ask, upload } = await setup(getting('app.tar'));
  await using _ = t;
  const { id, finish } = await upload('app.tar', randomBytes(9));
  await finish();
  await t.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before update on files for each row execute function refuse();
    create trigger refuse before insert on contents for each row execute function refuse()`);
  expect(await ask({ do: 'find_file', name: 'app.tar' })).toMatchObject({ file: { id } });
  expect(await ask({ do: 'open_artifact', name: 'report', size: 9 })).toMatchObject({
    problem: { reason: 'transfer_failed', message: expect.stringContaining('database refuses') },
  });
});

test('a job uses files of its category, of those above it and of general, and no others', async () => {
  const { t, ask, upload } = await setup(getting('of ${{ target.name }}'));
  await using _ = t;
  for (const name of ['prod', 'prod/db', 'prod/db/deep', 'test'])
    await createCategory(t.sql, { name }, t.caller);
  await t.sql`update jobs set category_id = (select id from categories where name = 'prod/db')`;
  for (const category of ['general', 'prod', 'prod/db', 'prod/db/deep', 'test'])
    await (await upload(`of ${category.replaceAll('/', '-')}`, Buffer.from('x'), category)).finish();
  const found = await Promise.all(
    ['general', 'prod', 'prod-db', 'prod-db-deep', 'test'].map(
      async (name) => (await ask({ do: 'find_file', name: `of ${name}` })).file !== undefined,
    ),
  );
  expect(found).toEqual([true, true, true, false, false]);
});

test.each([
  ['runs a command', undefined, []],
  ['names one file', 'app-2.tar', ['app-2.tar']],
  ['names a file by its target', 'app-${{ target.name }}.tar', ['app-2.tar']],
  ['leaves the name to its target', '${{ target.name }}', ['app-2.tar', 'tls.key']],
])('an agent whose step %s gets no other files of the server', async (_, named, expected) => {
  const { t, ask, upload } = await setup(named === undefined ? {} : getting(named));
  await using __ = t;
  const got: string[] = [];
  for (const name of ['app-2.tar', 'tls.key']) {
    const { id, finish } = await upload(name, Buffer.from('x'));
    await finish();
    const { file } = await ask({ do: 'find_file', name });
    const { data } = await ask({ do: 'read_file', file: id, part: 0 });
    expect(file !== undefined).toBe(data !== undefined);
    if (data !== undefined) got.push(name);
  }
  expect(got).toEqual(expected);
});

test('an artifact is listed once it is complete, even if requests are repeated, and is deleted with its run', async () => {
  const { t, runId, lease, open, write, ask, list } = await setup();
  await using _ = t;
  const bytes = randomBytes(piece + 5);
  const name = 'log/odd\nname.txt';
  const id = await open(name, bytes.length);
  expect(await open(name, bytes.length)).toBe(id);
  await write(id, 0, bytes.subarray(0, piece));
  expect(await write(id, 0, bytes.subarray(0, piece))).toEqual({ artifact: { id, parts: 1 } });
  const close = { do: 'close_artifact', artifact: id, sha256: sha256(bytes) } as const;
  expect(await ask(close)).toMatchObject({ problem: { reason: 'checksum_mismatch' } });
  await write(id, 1, bytes.subarray(piece));
  expect((await list()).items).toEqual([]);
  const forged = Buffer.from(JSON.stringify([lease.id, 1, 'no uuid'])).toString('base64url');
  await expect(list({ cursor: forged })).rejects.toMatchObject({
    code: 'invalid',
    details: [{ path: 'query.cursor' }],
  });
  await expect(getArtifact(t, { runId, id }, unrestricted)).rejects.toMatchObject({ code: 'not_found' });
  expect(await ask({ ...close, sha256: sha256(Buffer.from('other')) })).toMatchObject({
    problem: { reason: 'checksum_mismatch' },
  });
  expect(await ask(close)).toEqual({ artifact: { id, parts: 2 } });
  expect(await ask(close)).toEqual({ artifact: { id, parts: 2 } });
  expect((await list()).items).toMatchObject([
    { id, stepId: lease.id, attempt: 1, name, size: bytes.length, sha256: sha256(bytes) },
  ]);
  expect((await list({ stepId: lease.id, attempt: 1 })).items).toHaveLength(1);
  expect((await list({ stepId: lease.id, attempt: 2 })).items).toEqual([]);
  const [row] = await t.sql<{ name: Buffer }[]>`select name from run_artifacts`;
  expect(row?.name.includes('odd')).toBe(false);
  await t.settle(endOf(lease, success));
  await inTransaction(t.sql, (tx) =>
    deleteOldRuns(tx, new Date(Date.now() + 60_000), { runs: 10, steps: 100 }),
  );
  expect(await t.sql`select 1 from contents union all select 1 from content_parts`).toHaveLength(0);
});

test.each([
  ['was altered', "left(data_key, -4) || 'AAAA'", 'altered or moved'],
  [
    'is under a master key that this server does not hold',
    "overlay(data_key placing 'xx' from 5 for 2)",
    'under master key xx-',
  ],
])(
  'an agent is told that a file or an artifact can never be read or kept if its key %s',
  async (_, key, told) => {
    const { t, ask, upload } = await setup(getting('${{ target.name }}.tar'));
    await using __ = t;
    const { id, finish } = await upload('app.tar', Buffer.from('abc'));
    await finish();
    await t.sql`update contents set data_key = ${t.sql.unsafe(key)}`;
    await t.sql`update job_runs set data_key = ${t.sql.unsafe(key)}`;
    const requests = [
      { do: 'read_file', file: id, part: 0 },
      { do: 'open_artifact', name: 'a', size: 1 },
    ] as const;
    for (const request of requests)
      expect(await ask(request)).toMatchObject({
        problem: { reason: 'transfer_failed', message: expect.stringContaining(told) },
      });
  },
);

test('uploads for another attempt are refused, and unfinished artifacts are discarded', async () => {
  const { t, lease, attempt, contents, open, write } = await setup();
  await using _ = t;
  const id = await open('a', 3);
  const other = { ...attempt, epoch: 2 };
  for (const request of [
    { do: 'open_artifact', name: 'b', size: 1 },
    { do: 'write_artifact', artifact: id, part: 0, data: 'YWJj' },
  ] as const)
    expect(await contents.answer(other, request)).toMatchObject({ problem: { reason: 'transfer_failed' } });
  // A piece that is too long, and a piece out of order.
  expect(await write(id, 0, Buffer.from('abcd'))).toMatchObject({ problem: { reason: 'transfer_failed' } });
  expect(await write(id, 1, Buffer.from('abc'))).toMatchObject({ problem: { reason: 'transfer_failed' } });
  await t.settle(endOf(lease, success));
  expect(await deleteUnfinishedContents(t.sql, new Date())).toBe(0);
  await t.sql`update contents set touched_at = now() - interval '25 hours'`;
  expect(await deleteUnfinishedContents(t.sql, new Date())).toBe(1);
  expect(await findContent(t.sql, id)).toBeUndefined();
});

test('the recorded storage of files and artifacts is exact, whatever is begun, discarded and deleted', async () => {
  const { t, runId, lease, open, upload } = await setup();
  await using _ = t;
  const expectSum = async (bytes: number) => {
    const [row] = await t.sql`select coalesce(sum(size), 0)::bigint as sum from contents`;
    expect([row?.sum, await storedContentBytes(t.sql)]).toEqual([bytes, bytes]);
  };
  await expectSum(0);
  const { id } = await upload('app.tar', Buffer.from('abcde'));
  for (const name of ['a', 'b', 'c']) await open(name, 100);
  await open('none', 0);
  await expectSum(305);
  await t.sql`delete from run_artifacts where id in (select id from run_artifacts order by id limit 1)`;
  await t.sql`delete from run_artifacts where false`;
  const [left] = await t.sql<{ bytes: number }[]>`select sum(size)::bigint as bytes from contents`;
  await expectSum(left?.bytes ?? 0);
  await t.sql`update contents set touched_at = now() - interval '25 hours' where id = ${id}`;
  await deleteUnfinishedContents(t.sql, new Date());
  await expectSum((left?.bytes ?? 0) - 5);
  await addUpContentBytes(t.sql);
  expect(await t.sql`select count(*)::int as rows from content_bytes`).toEqual([{ rows: 1 }]);
  await expectSum((left?.bytes ?? 0) - 5);
  await t.settle(endOf(lease, success));
  await t.sql`delete from job_runs where id = ${runId}`;
  await expectSum(0);
});

test('an artifact can be begun while an open transaction adds content and sums up the storage', async () => {
  const { t, open, upload } = await setup();
  await using _ = t;
  await upload('app.tar', Buffer.from('abcde'));
  let one = '';
  await inTransaction(t.sql, async (tx) => {
    const id = randomUUID();
    await tx`insert into files (id, name, category_id) select ${id}, 'other', min(id) from categories`;
    await tx`insert into contents (id, file_id, size, data_key) values (${id}, ${id}, 1000, '')`;
    await addUpContentBytes(tx);
    one = await open('a', 100);
    expect(await storedContentBytes(t.sql)).toBe(105);
  });
  expect(one).not.toBe('');
  expect(await storedContentBytes(t.sql)).toBe(1105);
});

test('many recorded changes of the storage are summed up along with the next one', async () => {
  const { t, open, upload } = await setup();
  await using _ = t;
  await upload('app.tar', Buffer.from('abcde'));
  await t.sql`insert into content_bytes (bytes) select n % 2 * 2 - 1 from generate_series(1, 2000) n`;
  await open('a', 100);
  expect(await t.sql`select count(*)::int as rows from content_bytes`).toEqual([{ rows: 2 }]);
  expect(await storedContentBytes(t.sql)).toBe(105);
});
