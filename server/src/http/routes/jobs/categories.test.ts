import type { Category, ErrorBody, Job, JobListItem, Role } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { blockedBackends, holdTransaction } from '../../../runs/testing.ts';
import { setupApp, type TestApp } from '../../testing.ts';
import { categoryRoutes } from './categories.ts';
import { jobRoutes } from './jobs.ts';

let t: TestApp;
let admin: string;
beforeEach(async () => {
  const masterKey = newMasterKey();
  t = await setupApp(({ sql }) => [
    ...categoryRoutes({ sql, masterKey, forgetEverybody: () => {} }),
    ...jobRoutes({ sql, masterKey }),
  ]);
  admin = (await t.user('ada', ['admin'])).token;
});
afterEach(() => t.close());

async function call<T>(method: string, path: string, json?: unknown, token = admin) {
  const body = json === undefined ? {} : { json };
  const response = await t.request(method, `/api/v1/${path}`, { token, ...body });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
}

const create = async (name: string) => (await call<Category>('POST', 'categories', { name })).body;
const definition = (name: string, category?: string) => ({
  name,
  ...(category === undefined ? {} : { category }),
  steps: [{ name: 'ask', type: 'ssh.exec', config: { command: 'uptime' } }],
});
const save = (name: string, category?: string, token = admin) =>
  call<Job>('POST', 'jobs', definition(name, category), token);

/** Returns the token of a user with the role on these categories. */
async function on(role: Role, ...categories: Category[]): Promise<string> {
  const { id, token } = await t.user(`${role} ${categories.map(({ name }) => name).join()}`, []);
  for (const { id: categoryId } of categories)
    await t.sql`insert into role_grants ${t.sql({ userId: id, role, categoryId })}`;
  return token;
}

describe('categories', () => {
  test('are created, given a new description, listed by name, and deleted with the grants on them', async () => {
    const ops = await create('ops');
    expect(ops).toMatchObject({ name: 'ops', description: '', jobCount: 0 });
    await on('viewer', ops);
    const changed = await call<Category>('PUT', `categories/${ops.id}`, {
      name: 'Operations',
      description: 'x',
    });
    expect(changed.body).toMatchObject({ id: ops.id, name: 'Operations', description: 'x' });
    const { body } = await call<{ items: Category[] }>('GET', 'categories');
    expect(body.items.map(({ name }) => name)).toEqual(['Operations', 'general']);
    expect((await call('DELETE', `categories/${ops.id}`)).status).toBe(204);
    expect((await call('GET', `categories/${ops.id}`)).status).toBe(404);
    expect(await t.sql`select 1 from role_grants where category_id = ${ops.id}`).toHaveLength(0);
    const rows = await t.sql<{ action: string; categoryId: number }[]>`
      select action, category_id from audit_log where object_kind = 'category' order by id`;
    expect(rows.map(({ action }) => action)).toEqual([
      'category.created',
      'category.changed',
      'category.deleted',
    ]);
    expect(rows.every(({ categoryId }) => categoryId === ops.id)).toBe(true);
    const grants = await t.sql`select detail from audit_log where action = 'grant.deleted'`;
    expect(grants).toMatchObject([
      { detail: { role: 'viewer', scope: { name: 'Operations' }, deletedWith: 'category' } },
    ]);
  });

  test('values stored under older rules can be corrected by a caller who names the old value', async () => {
    const { id } = await create('prod');
    const before = 'a\u200b';
    await t.sql`update categories set description = ${before} where id = ${id}`;
    const change = { description: 'a', expected: { description: before } };
    const { status, body } = await call<Category>('PUT', `categories/${id}`, change);
    expect([status, body.description]).toEqual([200, 'a']);
  });

  test('change only in the fields of a request, and only if the expected values still hold', async () => {
    for (const name of ['prod', 'secure']) await create(name);
    const web = await create('prod/web');
    const put = (json: object) => call<Category & ErrorBody>('PUT', `categories/${web.id}`, json);
    await put({ name: 'secure/web' });
    const described = await put({ description: 'The shop', expected: { description: '' } });
    expect(described.body).toMatchObject({ name: 'secure/web', description: 'The shop' });
    const late = await put({ name: 'prod/www', expected: { name: 'prod/web' } });
    expect(late).toMatchObject({
      status: 409,
      body: { error: { code: 'conflict', details: [{ path: 'expected.name', found: '"prod/web"' }] } },
    });
    expect((await call<Category>('GET', `categories/${web.id}`)).body.name).toBe('secure/web');
    expect((await put({ name: 'secure/www' })).body.description).toBe('The shop');
  });

  test('have unique names', async () => {
    await create('ops');
    const { status, body } = await call<ErrorBody>('POST', 'categories', { name: 'ops' });
    expect({ status, details: body.error.details }).toMatchObject({
      status: 409,
      details: [{ path: 'name' }],
    });
    const lab = await create('lab');
    expect((await call('PUT', `categories/${lab.id}`, { name: 'ops' })).status).toBe(409);
  });

  test('that contain jobs can’t be deleted, nor can the one for jobs that name none', async () => {
    const ops = await create('ops');
    await save('in ops', 'ops');
    const refused = await call<ErrorBody>('DELETE', `categories/${ops.id}`);
    expect(refused.status).toBe(409);
    expect(refused.body.error.message).toMatch(/^1 job is in ops\./);
    expect((await call('DELETE', 'categories/1')).status).toBe(409);
    expect((await call('PUT', 'categories/1', { name: 'other' })).status).toBe(409);
    expect((await call('PUT', 'categories/1', { name: 'general', description: 'Rest' })).status).toBe(200);
  });
});

describe('a category with its contents', () => {
  test('is deleted in one step with those below it; all jobs move first, including archived and deleted ones', async () => {
    const ops = await create('ops');
    const night = await create('ops/night');
    const lab = await create('lab');
    const one = (await save('one', 'ops')).body;
    const [file] = await t.sql<{ id: string }[]>`
      insert into files (id, name, category_id) values (gen_random_uuid(), 'site.tar', ${night.id}) returning id`;
    const two = (await save('two', 'ops/night')).body;
    await t.sql`update jobs set state = 'archived' where id = ${two.id}`;
    const gone = (await save('gone', 'ops/night')).body;
    await t.sql`update jobs set deleted_at = now() where id = ${gone.id}`;
    const many = 1_200;
    await t.sql`
      insert into files (id, name, category_id)
      select gen_random_uuid(), 'file ' || n, ${ops.id} from generate_series(1, ${many}::int) n`;
    const path = `categories/${ops.id}?below=true`;
    const refused = await call<ErrorBody>('DELETE', path);
    expect(refused.body.error.message).toMatch(/^1 job is in ops.night\..*moveJobsTo/);
    expect((await call('DELETE', `${path}&moveJobsTo=lab`)).status).toBe(204);
    for (const { id } of [ops, night]) expect((await call('GET', `categories/${id}`)).status).toBe(404);
    for (const { id } of [one, two]) {
      expect((await call<Job>('GET', `jobs/${id}`)).body.category).toBe('lab');
    }
    const jobs = await t.sql`select distinct c.name from jobs j join categories c on c.id = j.category_id`;
    expect(jobs).toEqual([{ name: 'lab' }]);
    const audited = await t.sql`
      select action, count(*)::int as rows from audit_log where action in ('category.deleted', 'file.moved', 'job.moved')
       group by 1 order by 1`;
    expect(audited).toEqual([
      { action: 'category.deleted', rows: 2 },
      { action: 'file.moved', rows: 2 + 2 * many },
      { action: 'job.moved', rows: 6 },
    ]);
    const moved = await t.sql`
      select action, object_id, category_id, detail from audit_log
       where (action, object_id) in (('job.moved', ${String(gone.id)}), ('file.moved', ${file?.id ?? ''}))
       order by action, category_id`;
    const detail = { from: 'ops/night', to: 'lab', note: 'Category ops was deleted', bulk: true };
    const of = (categoryId: number, more: object) => ({ categoryId, detail: { ...detail, ...more } });
    expect(moved).toMatchObject([
      of(night.id, { name: 'site.tar' }),
      of(lab.id, { name: 'site.tar' }),
      of(night.id, { name: 'gone', isDeleted: true }),
      of(lab.id, { name: 'gone', isDeleted: true }),
    ]);
  });

  test('stays as it is if a single thing prevents the deletion', async () => {
    const ops = await create('ops');
    await create('ops/night');
    const { id } = (await save('one', 'ops')).body;
    const refusals: [string, number, RegExp][] = [
      ['?moveJobsTo=general', 409, /1 category lies in ops\..*below=true/],
      ['?below=true&moveJobsTo=ops%2Fnight', 400, /Would be deleted too/],
      ['?below=true&moveJobsTo=nowhere', 400, /There is no category of this name/],
    ];
    for (const [query, status, message] of refusals) {
      const refused = await call<ErrorBody>('DELETE', `categories/${ops.id}${query}`);
      expect(refused).toMatchObject({ status, body: { error: { message: expect.stringMatching(message) } } });
    }
    expect((await call<Job>('GET', `jobs/${id}`)).body.category).toBe('ops');
    expect((await call<{ items: Category[] }>('GET', 'categories')).body.items).toHaveLength(3);
  });
});

describe('a job', () => {
  test('is in the category that its definition names, even after that is renamed', async () => {
    const ops = await create('ops');
    const job = (await save('in ops', 'ops')).body;
    expect(job).toMatchObject({ category: 'ops', definition: { category: 'ops' } });
    await save('in none');
    await call('PUT', `categories/${ops.id}`, { name: 'operations' });
    const read = (await call<Job>('GET', `jobs/${job.id}`)).body;
    expect(read).toMatchObject({ category: 'operations', definition: { category: 'operations' } });
    expect(read.checksum).toBe(job.checksum);
    const listed = (await call<{ items: JobListItem[] }>('GET', 'jobs?category=operations')).body.items;
    expect(listed).toMatchObject([{ id: job.id, category: 'operations' }]);
    expect((await call<{ items: unknown[] }>('GET', 'jobs?category=nowhere')).body.items).toEqual([]);
  });

  test('is refused in the same words if its category does not exist or its author may not see it', async () => {
    const ops = await create('ops');
    await create('secret');
    const author = await on('author', ops);
    for (const name of ['secret', 'nowhere']) {
      const { status, body } = await save('x', name, author);
      expect({ status, message: body }).toMatchObject({
        status: 400,
        message: {
          error: {
            message: expect.stringMatching(/^There is no category of this name .*created first/),
            details: [{ path: 'category' }],
          },
        },
      });
    }
    expect((await save('theirs', 'ops', author)).status).toBe(201);
    const refused = (await save('x', undefined, author)) as unknown as { status: number; body: ErrorBody };
    expect(refused.status).toBe(403);
    expect(refused.body.error.message).toContain('jobs.edit on category “general”');
  });

  test('is moved only by callers who may edit in both categories', async () => {
    const [ops, lab] = [await create('ops'), await create('lab')];
    const job = (await save('a job', 'ops')).body;
    const move = (category: string, token: string) =>
      call<Job & ErrorBody>('PUT', `jobs/${job.id}/category`, { category }, token);
    const half = await on('author', ops);
    expect((await move('lab', half)).status).toBe(400);
    const reader = await on('viewer', ops, lab);
    expect((await move('lab', reader)).status).toBe(403);
    const both = await on('author', ops, lab);
    expect((await move('lab', both)).body).toMatchObject({ category: 'lab', version: 1 });
    expect((await move('ops', half)).status).toBe(404);
    const moved =
      await t.sql`select category_id, detail from audit_log where action = 'job.moved' order by id`;
    expect(moved).toMatchObject([
      { categoryId: ops.id },
      { categoryId: lab.id, detail: { from: 'ops', to: 'lab' } },
    ]);
  });

  test('that its author may not move into a category they see is refused with its name, and that is audited', async () => {
    const [ops, lab] = [await create('ops'), await create('lab')];
    const job = (await save('a job', 'ops')).body;
    const { id, token } = await t.user('eve', []);
    await t.sql`insert into role_grants ${t.sql({ userId: id, role: 'author', categoryId: ops.id })}`;
    await t.sql`insert into role_grants ${t.sql({ userId: id, role: 'viewer', categoryId: lab.id })}`;
    const { status, body } = await call<ErrorBody>(
      'PUT',
      `jobs/${job.id}/category`,
      { category: 'lab' },
      token,
    );
    expect(status).toBe(403);
    expect(body.error.message).toBe(
      'This needs the permission jobs.edit on category “lab”, which eve does not have there.',
    );
    const refusals = await t.sql`select detail from audit_log where action = 'request.refused'`;
    expect(refusals).toMatchObject([
      { detail: { path: '/api/v1/jobs/:id/category', permission: 'jobs.edit' } },
    ]);
  });
});

describe('somebody who may edit categories and has rights on one of them', () => {
  let eve: string;
  let secret: Category;
  let mine: Category;
  beforeEach(async () => {
    secret = await create('secret');
    mine = await create('mine');
    const { id, token } = await t.user('eve', []);
    await t.sql`insert into role_grants ${t.sql({ userId: id, permission: 'categories.edit' })}`;
    await t.sql`insert into role_grants ${t.sql({ userId: id, role: 'author', categoryId: mine.id })}`;
    eve = token;
  });
  const move = (category: Category, name: string) =>
    call<ErrorBody>('PUT', `categories/${category.id}`, { name }, eve);

  test('can’t put another one into it, which would give them their rights there', async () => {
    const deep = await create('mine/deep');
    await create('mine/other');
    const { status, body } = await move(secret, 'mine/secret');
    expect([status, body.error?.message]).toEqual([
      403,
      expect.stringMatching(/on category “secret”, because it would lie in “mine”, on which others have it/),
    ]);
    // What it inherits already is no gain.
    expect((await move(deep, 'mine/other/deep')).status).toBe(200);
    expect((await move(secret, 'secrets')).status).toBe(200);
    expect((await call('PUT', `categories/${secret.id}`, { name: 'mine/secret' })).status).toBe(200);
  });

  test('can’t do so either while rights on it are just being granted', async () => {
    const friends = await create('friends');
    const { id } = await t.user('frank', []);
    const grant = { userId: id, role: 'operator', categoryId: friends.id };
    const commit = await holdTransaction(t.sql, (tx) => tx`insert into role_grants ${tx(grant)}`);
    const [user] = await t.sql<{ id: number }[]>`select id from users where name = 'eve'`;
    await t.sql`insert into role_grants ${t.sql({ userId: user?.id ?? 0, permission: 'read' })}`;
    const moving = move(await create('other'), 'friends/other');
    await blockedBackends(t.sql, 1);
    await commit();
    const { status, body } = await moving;
    expect([status, body.error?.message]).toEqual([
      403,
      expect.stringMatching(/permission run on category “other”/),
    ]);
  });

  test('can’t put it into one that they don’t see, whose files its jobs could then use', async () => {
    const { status, body } = await move(mine, 'secret/mine');
    expect([status, body.error?.message]).toEqual([
      400,
      expect.stringMatching(/There is no category secret/),
    ]);
    expect((await call('PUT', `categories/${mine.id}`, { name: 'secret/mine' })).status).toBe(200);
    // It lies there now, and may have another name there.
    expect((await move(mine, 'secret/ours')).status).toBe(200);
  });

  test.each([
    [
      'files',
      () => t.sql`insert into files (id, name, category_id) values (gen_random_uuid(), 'f', ${secret.id})`,
    ],
    [
      'deleted jobs',
      async () => {
        const { id } = (await save('gone', 'secret')).body;
        await t.sql`update jobs set deleted_at = now() where id = ${id}`;
      },
    ],
  ])('can’t move the %s of another one there by deleting that', async (_, fill) => {
    await fill();
    const path = `categories/${secret.id}?moveJobsTo=mine`;
    const { status, body } = await call<ErrorBody>('DELETE', path, undefined, eve);
    expect([status, body?.error?.message]).toEqual([
      403,
      expect.stringMatching(/jobs\.edit on category “secret”/),
    ]);
    expect((await call('DELETE', path)).status).toBe(204);
  });
});

describe('the tree of categories', () => {
  const rename = (category: Category, name: string) =>
    call<Category & ErrorBody>('PUT', `categories/${category.id}`, { name });
  const names = async (token = admin) =>
    (await call<{ items: Category[] }>('GET', 'categories', undefined, token)).body.items.map(
      ({ name }) => name,
    );

  test('has each at its path, which follows when its parent moves', async () => {
    const prod = await create('prod');
    const db = await create('prod/db');
    await create('prod/db/oracle');
    const ops = await create('ops');
    expect(db).toMatchObject({ name: 'prod/db', parentId: prod.id });
    expect((await rename(prod, 'production')).status).toBe(200);
    expect((await rename(db, 'ops/databases')).body).toMatchObject({ parentId: ops.id });
    expect(await names()).toEqual(['general', 'ops', 'ops/databases', 'ops/databases/oracle', 'production']);
    expect((await save('tuned', 'ops/databases/oracle')).body.category).toBe('ops/databases/oracle');
    const { body } = await call<{ items: JobListItem[] }>('GET', 'jobs?category=ops');
    expect(body.items.map(({ name }) => name)).toEqual(['tuned']);
  });

  test('extends grants to everything below, and nowhere else', async () => {
    const prod = await create('prod');
    const token = await on('author', prod);
    // Below the category before the grant, below it after the grant, and next to it.
    await create('prod/db');
    await create('production');
    expect(await names(token)).toEqual(['prod', 'prod/db']);
    expect((await save('deep', 'prod/db', token)).status).toBe(201);
    expect((await save('beside', 'production', token)).status).toBe(400);
    expect((await call<Job>('GET', 'jobs?search=deep', undefined, token)).body).toMatchObject({
      items: [{ name: 'deep' }],
    });
  });

  test('reveals only the path of the parents to a reader who sees just one category', async () => {
    await create('prod');
    const db = await create('prod/db');
    const token = await on('viewer', db);
    expect((await call<Category>('GET', `categories/${db.id}`, undefined, token)).body).toMatchObject({
      name: 'prod/db',
      parentId: null,
    });
    expect(await names(token)).toEqual(['prod/db']);
  });

  test.each<[string, string, number, RegExp]>([
    ['in what is not there', 'nowhere/db', 400, /There is no category nowhere/],
    ['inside itself', 'prod/db/prod', 400, /inside itself/],
    ['at a path that is taken', 'ops', 409, /already/],
    ['with an empty part', 'ops//db', 400, /empty/],
    ['with white space at a slash', 'ops/ db', 400, /white space/],
    ['too deep', 'd/2/3/4/5/6/7/8', 400, /at most 8 deep/],
    ['at too long a path', 'l'.repeat(195), 400, /198 characters|203 characters|path would have/],
  ])('refuses a move %s', async (_, path, status, message) => {
    const prod = await create('prod');
    await create('prod/db');
    if (path.startsWith('l')) await create('prod/db/long-one');
    await create('ops');
    for (const made of ['d', 'd/2', 'd/2/3', 'd/2/3/4', 'd/2/3/4/5', 'd/2/3/4/5/6', 'd/2/3/4/5/6/7'])
      await create(made);
    const before = await names();
    const refused = await rename(prod, path);
    expect(refused.status).toBe(status);
    expect(refused.body.error.message).toMatch(message);
    expect(refused.body.error.details).toMatchObject([{ path: 'name' }]);
    expect(await names()).toEqual(before);
  });

  test('keeps a category that has others below it, or whose deleted jobs have runs', async () => {
    const prod = await create('prod');
    const db = await create('prod/db');
    expect((await call<ErrorBody>('DELETE', `categories/${prod.id}`)).body.error.message).toMatch(
      /1 category lies in prod/,
    );
    const job = (await save('ran', 'prod/db')).body;
    await t.sql`
      insert into job_runs (job_id, job_version, status, data_key, targets_total, total_steps, start_by, completed_at)
      values (${job.id}, 1, 'succeeded', 'x', 1, 1, now(), now())`;
    expect((await call('DELETE', `jobs/${job.id}`)).status).toBe(204);
    const kept = await call<ErrorBody>('DELETE', `categories/${db.id}`);
    expect([kept.status, kept.body.error.message]).toEqual([
      409,
      expect.stringMatching(/Runs of 1 job .* are kept/),
    ]);
    await t.sql`delete from job_runs`;
    await t.sql`delete from jobs where deleted_at is not null`;
    expect((await call('DELETE', `categories/${db.id}`)).status).toBe(204);
    expect((await call('DELETE', `categories/${prod.id}`)).status).toBe(204);
  });

  test('makes no cycle from two simultaneous moves', async () => {
    const one = await create('one');
    const two = await create('two');
    const moved = await Promise.all([rename(one, 'two/one'), rename(two, 'one/two')]);
    expect(moved.map(({ status }) => status).sort()).toEqual([200, 400]);
    expect(await names()).toHaveLength(3);
  });

  test('leaves a category with a slash in its name, from before there was a tree, where it is', async () => {
    await create('prod');
    await t.sql`insert into categories (name) values ('prod/old')`;
    const token = await on(
      'viewer',
      (await call<{ items: Category[] }>('GET', 'categories')).body.items.find(
        ({ name }) => name === 'prod',
      ) as Category,
    );
    expect(await names(token)).toEqual(['prod']);
  });
});
