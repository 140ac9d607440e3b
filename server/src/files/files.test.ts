import { createHash, randomBytes } from 'node:crypto';
import { type FileQuery, limits } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { setupJobs } from '../jobs/testing.ts';
import { blockedBackends, holdTransaction } from '../runs/testing.ts';
import { findContent } from '../store/files/contents.ts';
import { noteFileUse } from '../store/files/files.ts';
import { insertUser } from '../store/people/users.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { readContent } from './content-pieces.ts';
import { deleteFile } from './delete-file.ts';
import { expireFiles } from './expire-files.ts';
import { fileUses, getFile, listFiles } from './list-files.ts';
import { createFile, digestOfReceived, finishFile, uploadBytes } from './upload-file.ts';

const piece = limits.contentPartBytes;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function setup(maxStoredBytes = 10_000_000) {
  const t = await setupJobs();
  onTestFinished(() => t.close());
  const deps = { sql: t.sql, masterKey: t.masterKey, maxStoredBytes };
  const begin = (name: string, size: number) => createFile(deps, { name, size }, t.caller);
  const send = (id: string, offset: number, bytes: Uint8Array) =>
    uploadBytes(deps, { id, offset, bytes }, t.caller);
  return {
    t,
    deps,
    begin,
    send,
    finish: (id: string, request = {}) => finishFile(deps, id, request, t.caller),
    async bytesOf(id: string, range?: { start: number; end: number }) {
      const content = await findContent(t.sql, id);
      if (content === undefined) throw new Error('there is no such content');
      const pieces: Buffer[] = [];
      for await (const bytes of readContent(t.sql, t.masterKey, content, range)) pieces.push(bytes);
      return Buffer.concat(pieces);
    },
  };
}

test('a name that is taken by an unfinished upload is told from one of a file', async () => {
  const { begin, finish } = await setup();
  const { id } = await begin('app.tar', 0);
  await expect(begin('app.tar', 0)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('is not complete. Continue that one, or delete it first.'),
  });
  await finish(id);
  await expect(begin('app.tar', 0)).rejects.toThrow('There is a file named app.tar already.');
});

test('a name that is too long for any disk is refused', async () => {
  const { begin } = await setup();
  const longest = `${'é'.repeat(127)}x`;
  await begin(longest, 0);
  await expect(begin(`${longest}x`, 0)).rejects.toMatchObject({
    code: 'invalid',
    details: [{ path: 'name', found: '256 bytes' }],
  });
});

test('a file arrives in pieces, can be continued where it broke off, and is complete once it was checked', async () => {
  const { begin, send, finish, bytesOf } = await setup();
  const bytes = randomBytes(2 * piece + 777);
  const { id } = await begin('app.tar', bytes.length);
  expect(await send(id, 0, bytes.subarray(0, piece))).toMatchObject({
    state: 'uploading',
    receivedBytes: piece,
    sha256: null,
  });
  // A client that lost an answer sends the bytes again, and is told how far the upload is.
  await expect(send(id, 0, bytes.subarray(0, piece))).rejects.toMatchObject({
    code: 'conflict',
    details: [{ path: 'query.offset', allowed: String(piece) }],
  });
  await expect(finish(id)).rejects.toThrow(`Only ${piece} of its ${bytes.length} bytes are here`);
  await expect(send(id, piece, bytes.subarray(piece, piece + 100))).rejects.toMatchObject({
    code: 'invalid',
  });
  await send(id, piece, bytes.subarray(piece));
  await expect(finish(id, { sha256: '0'.repeat(64) })).rejects.toMatchObject({
    details: [{ path: 'sha256', allowed: sha256(bytes) }],
  });
  const whole = { state: 'ready', sha256: sha256(bytes), receivedBytes: bytes.length };
  expect(await finish(id, { sha256: sha256(bytes) })).toMatchObject(whole);
  expect(await finish(id)).toMatchObject(whole);
  expect((await bytesOf(id)).equals(bytes)).toBe(true);
  const part = { start: piece - 5, end: 2 * piece + 5 };
  expect((await bytesOf(id, part)).equals(bytes.subarray(part.start, part.end))).toBe(true);
  await expect(send(id, bytes.length, new Uint8Array())).rejects.toMatchObject({ code: 'conflict' });
});

test('an unfinished upload is found again by who began it, until when it is kept, and by the digest of what is there', async () => {
  const { t, deps, begin, send, finish } = await setup();
  const bytes = randomBytes(2 * piece + 777);
  const { id } = await begin('half', bytes.length);
  await finish((await begin('whole', 0)).id);
  const other = { ...t.caller, userId: await insertUser(t.sql, 'bea', ['author']) };
  await createFile(deps, { name: 'of-another', size: 5 }, other);
  await send(id, 0, bytes.subarray(0, 2 * piece));
  const named = async (query: FileQuery, userId = t.caller.userId) =>
    (await listFiles(t.sql, query, unrestricted, userId)).items.map(({ name }) => name);
  expect(await named({ state: 'uploading', mine: true })).toEqual(['half']);
  expect(await named({ state: 'uploading', mine: true }, other.userId)).toEqual(['of-another']);
  expect(await named({ state: 'uploading', mine: false })).toEqual(['of-another']);
  expect(await named({ mine: true })).toEqual(['half', 'whole']);
  expect(await named({ state: 'ready' })).toEqual(['whole']);
  expect(await named({})).toEqual(['half', 'of-another', 'whole']);
  const [touched] = await t.sql<{ at: Date }[]>`select touched_at as at from contents where id = ${id}`;
  const expiresAt = new Date((touched?.at.getTime() ?? 0) + limits.unfinishedContentMs).toISOString();
  expect(await getFile(t.sql, id, unrestricted)).toMatchObject({ uploadExpiresAt: expiresAt });
  const half = { receivedBytes: 2 * piece, sha256: sha256(bytes.subarray(0, 2 * piece)) };
  expect(await digestOfReceived(deps, id, t.caller)).toEqual(half);
  await send(id, 2 * piece, bytes.subarray(2 * piece));
  const all = { receivedBytes: bytes.length, sha256: sha256(bytes) };
  expect(await digestOfReceived(deps, id, t.caller)).toEqual(all);
  expect(await finish(id)).toMatchObject({ uploadExpiresAt: null });
  expect(await digestOfReceived(deps, id, t.caller)).toEqual(all);
});

test('an empty file can be stored, and stored bytes are encrypted', async () => {
  const { t, begin, send, finish, bytesOf } = await setup();
  const empty = await begin('empty', 0);
  expect(await finish(empty.id)).toMatchObject({ state: 'ready', sha256: sha256(Buffer.alloc(0)) });
  expect(await bytesOf(empty.id)).toHaveLength(0);
  const text = Buffer.from('plain-text-4711');
  const { id } = await begin('text', text.length);
  await send(id, 0, text);
  await finish(id);
  const [row] = await t.sql<{ sealed: Buffer }[]>`select sealed from content_parts`;
  expect(row?.sealed.includes('plain-text-4711')).toBe(false);
});

test('a name is used only once, and nothing is stored beyond the limit', async () => {
  const { begin } = await setup(1_000);
  await begin('a', 600);
  await expect(begin('a', 1)).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'name' }] });
  await expect(begin('b', 401)).rejects.toMatchObject({ code: 'too_large' });
  await begin('b', 400);
});

test('a file that a job uses can’t be deleted; afterwards it is deleted with its content', async () => {
  const { t, begin, send, finish } = await setup();
  const { id } = await begin('app.tar', 3);
  await send(id, 0, Buffer.from('abc'));
  await finish(id);
  const copy = (file: string) => [
    { name: 'copy', type: 'sftp.upload', config: { file, remote_path: '/opt/app.tar' } },
  ];
  const job = await t.create({ name: 'deploys', steps: copy('app.tar') });
  expect(await getFile(t.sql, id, unrestricted)).toMatchObject({ jobCount: 1 });
  expect(await fileUses(t.sql, id, unrestricted)).toEqual({
    items: [{ jobId: job.id, name: 'deploys', category: 'general' }],
    hidden: 0,
  });
  await expect(deleteFile(t.sql, id, t.caller)).rejects.toThrow('1 job names app.tar in a step');
  await t.change(job.id, { steps: copy('other.tar') as never });
  await deleteFile(t.sql, id, t.caller);
  expect(await listFiles(t.sql, {}, unrestricted, t.caller.userId)).toEqual({ items: [], nextCursor: null });
  expect(await t.sql`select 1 from content_parts`).toHaveLength(0);
});

test('a file is not deleted while a job that names it is being saved, and a save waits for a delete', async () => {
  const { t, begin, finish } = await setup();
  const ids = [(await begin('one.tar', 0)).id, (await begin('two.tar', 0)).id] as const;
  for (const id of ids) await finish(id);
  const naming = (file: string) => ({
    name: `deploys ${file}`,
    steps: [{ name: 'copy', type: 'ssh.copy', config: { file, remote_path: '/opt/app.tar' } }],
  });
  // The save is stopped after it has looked for its files, at the row that tells of it in the audit log.
  const release = await holdTransaction(t.sql, (tx) => tx`lock table audit_log in access exclusive mode`);
  const saving = t.create(naming('one.tar'));
  await blockedBackends(t.sql, 1);
  const deleting = deleteFile(t.sql, ids[0], t.caller);
  const refused = expect(deleting).rejects.toThrow('1 job names one.tar in a step');
  const expiring = expireFiles(t.sql, -1, new Date());
  await blockedBackends(t.sql, 3);
  await release();
  await saving;
  await refused;
  expect(await expiring).toBe(1);
  expect((await listFiles(t.sql, {}, unrestricted, t.caller.userId)).items).toMatchObject([
    { name: 'one.tar' },
  ]);
});

test('files that no job names and no step has used are removed once they are old, if the server is set to do so', async () => {
  const { t, begin, finish } = await setup();
  const ids: Record<string, string> = {};
  for (const name of ['named', 'used', 'unused', 'half']) ids[name] = (await begin(name, 0)).id;
  for (const name of ['named', 'used', 'unused']) await finish(ids[name] ?? '');
  await t.create({
    name: 'deploys',
    steps: [{ name: 'copy', type: 'ssh.copy', config: { file: 'named', remote_path: '/opt/x' } }],
  });
  await t.sql`update files set created_at = now() - interval '40 days'`;
  await noteFileUse(t.sql, ids.used ?? '');
  expect(await expireFiles(t.sql, 41, new Date())).toBe(0);
  expect(await expireFiles(t.sql, 30, new Date())).toBe(1);
  const { items } = await listFiles(t.sql, {}, unrestricted, t.caller.userId);
  expect(items.map(({ name }) => name)).toEqual(['half', 'named', 'used']);
  expect(await t.sql`select detail from audit_log where action = 'file.expired'`).toMatchObject([
    { detail: { name: 'unused', keptDays: 30 } },
  ]);
});

test('a job that names a file it can’t use is saved with a warning, until the file is complete', async () => {
  const { t, begin, send, finish } = await setup();
  const upload = (name: string, file: string) => ({
    ...{ name, type: 'sftp.upload' },
    config: { file, remote_path: '/tmp/app' },
  });
  const steps = [upload('deploy', 'app-1.5.tar'), upload('by version', `app-\${{ job.version }}.tar`)];
  const warning = {
    path: 'steps[0].config.file',
    message:
      'There is no file “app-1.5.tar” that this job may use; until it is uploaded, the step fails. Looked in “general”.',
    found: 'app-1.5.tar',
    severity: 'warning',
  };
  const job = await t.create({ name: 'deploy', steps });
  expect(job).toMatchObject({ warnings: [warning] });
  const { id } = await begin('app-1.5.tar', 3);
  expect((await t.change(job.id, { description: 'while it is being uploaded' })).warnings).toEqual([warning]);
  await send(id, 0, Buffer.from('abc'));
  await finish(id);
  expect(await t.change(job.id, { description: 'once it is there' })).not.toHaveProperty('warnings');
});

test('uploads that begin at the same moment do not exceed the room together', async () => {
  const { t, begin } = await setup(1_000);
  // Both have looked for room by the time they come to the audit log.
  const release = await holdTransaction(t.sql, (tx) => tx`lock table audit_log in share mode`);
  const begun = Promise.allSettled([begin('a.tar', 600), begin('b.tar', 600)]);
  await blockedBackends(t.sql, 2);
  await release();
  expect((await begun).map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(await begun).toContainEqual({
    status: 'rejected',
    reason: expect.objectContaining({ code: 'too_large' }),
  });
});

test('what one user has announced and not sent takes at most half of the room from others', async () => {
  const gib = 1024 ** 3;
  const { t, deps, begin } = await setup(40 * gib);
  const asked = Array.from({ length: 10 }, (_, at) => begin(`${at}.img`, 4 * gib));
  const begun = await Promise.allSettled(asked);
  expect(begun.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
  expect(begun).toContainEqual({
    status: 'rejected',
    reason: expect.objectContaining({
      code: 'conflict',
      message: expect.stringContaining('half of the room'),
    }),
  });
  const other = { ...t.caller, userId: await insertUser(t.sql, 'bea', ['author']) };
  const theirs = await createFile(deps, { name: 'of-another', size: 4 * gib }, other);
  expect(theirs).toMatchObject({ state: 'uploading' });
  const mine = await listFiles(t.sql, { mine: true }, unrestricted, t.caller.userId);
  await deleteFile(t.sql, mine.items[0]?.id ?? '', t.caller);
  await begin('after-one-was-discarded', 2 * gib);
});

test('of uploads that are not complete a user has a limited number', async () => {
  const { t, begin, finish } = await setup();
  await t.sql`
    with made as (
      insert into files (id, name, description, category_id, created_by)
      select gen_random_uuid(), 'f' || n, '', 1, ${t.caller.userId} from generate_series(2, ${limits.maxUnfinishedUploads}) n
      returning id
    )
    insert into contents (id, file_id, size, data_key) select id, id, 0, 'x' from made`;
  const { id } = await begin('last', 0);
  await expect(begin('one more', 0)).rejects.toMatchObject({ code: 'conflict' });
  await finish(id);
  await begin('one more', 0);
});
