import {
  bundleMark,
  bundleVersion,
  type ConvertedJobs,
  exampleJobs,
  type JobImport,
  type JobImportItemDetail,
  limits,
} from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { JobImports } from '../../../jobs/bundles/job-imports.ts';
import { writeBundle } from '../../../jobs/bundles/write-bundle.ts';
import { createLog } from '../../../log.ts';
import { blockedBackends, holdTransaction } from '../../../runs/testing.ts';
import { UserTurns } from '../../../turns/user-turns.ts';
import { setupApp, type TestApp } from '../../testing.ts';
import { jobBundleRoutes } from './job-bundles.ts';

let t: TestApp;
let token: string;
let imports: JobImports;
beforeAll(async () => {
  t = await setupApp(({ sql }) => {
    const masterKey = newMasterKey();
    imports = new JobImports({ sql, masterKey, log: createLog({ level: 'silent', plain: false }) });
    return jobBundleRoutes({ sql, masterKey, imports });
  });
  token = (await t.user('root', ['admin'])).token;
});
afterAll(async () => {
  await imports?.stop();
  await t?.close();
});

async function call<T>(method: string, path: string, body?: string, type = 'application/yaml') {
  const reply = await t.request(method, `/api/v1/${path}`, {
    token,
    ...(body === undefined ? {} : { body }),
    headers: { 'Content-Type': type },
  });
  const text = await reply.text();
  return { status: reply.status, text, body: (text.startsWith('{') ? JSON.parse(text) : undefined) as T };
}

const bundle = (count: number, format: 'yaml' | 'json' = 'yaml') =>
  writeBundle(
    Array.from({ length: count }, (_, n) => ({
      definition: {
        name: `job ${String(n).padStart(4, '0')}`,
        description: 'x'.repeat(1_900),
        steps: [{ name: 'only', type: 'ssh.exec' as const, config: { command: 'uptime' } }],
      },
    })),
    format,
  );

it('a large file is read in its own thread, planned, paged through, applied and exported again', async () => {
  const text = bundle(80);
  expect(text.length).toBeGreaterThan(128 * 1024);
  const begun = await call<JobImport>('POST', 'job-imports?existing=skip', text);
  expect(begun).toMatchObject({ status: 202, body: { status: 'reading', existing: 'skip' } });
  const { id } = begun.body;
  await imports.settled(id);
  const page = await call<JobImport>('GET', `job-imports/${id}?search=0079&action=create`);
  expect(page.body).toMatchObject({
    status: 'planned',
    jobsTotal: 80,
    counts: { create: 80 },
    items: [{ position: 80, name: 'job 0079' }],
    nextCursor: null,
  });
  const item = await call<JobImportItemDetail>('GET', `job-imports/${id}/items/80`);
  expect(item.body.definition.steps[0]?.config).toMatchObject({ command: 'uptime', timeout: 300 });
  expect(
    await call('POST', `job-imports/${id}/choices`, '{"existing":"update"}', 'application/json'),
  ).toMatchObject({ status: 200 });
  expect(await call('POST', `job-imports/${id}/apply`, '{}', 'application/json')).toMatchObject({
    status: 202,
  });
  await imports.settled(id);
  expect((await call<{ items: JobImport[] }>('GET', 'job-imports')).body.items).toMatchObject([
    { id, status: 'applied', percent: 100 },
  ]);
  const reply = await t.request('GET', '/api/v1/jobs/export?format=json', { token });
  expect(reply.headers.get('content-type')).toBe('application/json; charset=utf-8');
  expect(reply.headers.get('content-disposition')).toBe('attachment; filename="jobs.json"');
  expect(JSON.parse(await reply.text()).jobs).toHaveLength(80);
  expect((await call('DELETE', `job-imports/${id}`)).status).toBe(204);
  expect((await call('GET', `job-imports/${id}`)).status).toBe(404);
});

it('an export is read in turns with other users', async () => {
  const turns = vi.spyOn(UserTurns.prototype, 'take');
  const reader = await t.user('reader', ['viewer']);
  await (await t.request('GET', '/api/v1/jobs/export', { token: reader.token })).text();
  expect(turns).toHaveBeenCalledWith(String(reader.id));
  turns.mockRestore();
});

it('an import that is abandoned while its file is read leaves nothing behind', async () => {
  const { body } = await call<JobImport>('POST', 'job-imports', bundle(700));
  expect((await call('DELETE', `job-imports/${body.id}`)).status).toBe(204);
  await imports.settled(body.id);
  expect((await call('GET', `job-imports/${body.id}`)).status).toBe(404);
});

it('Rundeck’s jobs are converted without being saved', async () => {
  const text = '- name: Old\n  sequence:\n    commands:\n    - exec: uptime\n    - jobref: { name: Other }\n';
  const { body } = await call<ConvertedJobs>('POST', 'jobs/convert/rundeck', text);
  expect(body.bundle.jobs).toMatchObject([{ definition: { name: 'Old' }, state: 'draft' }]);
  expect(body.yaml).toContain('name: Old');
  expect(body.findings.filter(({ kind }) => kind === 'left_out')).toMatchObject([{ line: 5, job: 'Old' }]);
  expect(await call('POST', 'jobs/convert/rundeck', '- name: Old\n- sequence: {}\n')).toMatchObject({
    status: 400,
    body: { error: { details: [{ line: 1 }, { line: 2 }] } },
  });
});

it('other content types, empty files and files that are too large are refused', async () => {
  expect(await call('POST', 'job-imports', 'x', 'text/plain')).toMatchObject({ status: 415 });
  expect(await call('POST', 'job-imports', '')).toMatchObject({ status: 400 });
  const tooLarge = await call('POST', 'jobs/convert/rundeck', ' '.repeat(limits.maxConvertedBytes + 1));
  expect(tooLarge.status).toBe(413);
  expect((await call('GET', 'jobs/export?ids=x')).status).toBe(400);
  expect((await call('GET', 'job-imports/none')).status).toBe(400);
});

it.each([
  ['the right', 'delete from role_grants where user_id = $1'],
  ['the token', 'delete from api_tokens where user_id = $1'],
])('an import changes nothing if %s of whoever applies it is withdrawn meanwhile', async (what, withdraw) => {
  const author = await t.user(`author without ${what}`, ['author']);
  const name = `made without ${what}`;
  const text = JSON.stringify({
    format: bundleMark,
    version: bundleVersion,
    jobs: [{ definition: { ...(exampleJobs[0] as object), name } }],
  });
  const headers = { 'Content-Type': 'application/json' };
  const begun = await t.request('POST', '/api/v1/job-imports', { token: author.token, body: text, headers });
  const { id } = (await begun.json()) as JobImport;
  await imports.settled(id);
  const release = await holdTransaction(t.sql, (tx) => tx`lock table jobs in share mode`);
  const applied = await t.request('POST', `/api/v1/job-imports/${id}/apply`, {
    token: author.token,
    json: {},
  });
  expect(applied.status).toBe(202);
  await blockedBackends(t.sql, 1);
  await t.sql.unsafe(withdraw, [author.id]);
  t.authenticator.forgetUser(author.id);
  await release();
  await imports.settled(id);
  expect(await t.sql`select status from job_imports where id = ${id}`).toMatchObject([
    { status: 'interrupted' },
  ]);
  expect(await t.sql`select from jobs where name = ${name}`).toHaveLength(0);
});
