// Imports on a real database: applied once and whole, and refused if the jobs have changed.
import { generalCategory } from '@opsconductor/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createCategory } from '../../categories/edit-categories.ts';
import { createLog } from '../../log.ts';
import { createSiteRule, deleteSiteRule } from '../../site-rules/edit-site-rules.ts';
import { JobImports } from './job-imports.ts';
import { CopyNames } from './planning/copy-names.ts';
import { bundle, job, setupImports, short, type TestImports } from './testing.ts';

let t: TestImports;
beforeAll(async () => {
  t = await setupImports();
});
afterAll(() => t.close());
beforeEach(async () => {
  await t.sql`delete from jobs`;
  await t.sql`delete from categories where id <> 1`;
});

it('an import that another server deletes while its file is read is no error', async () => {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line) };
  const log = createLog({ level: 'info', plain: false, destination });
  const reading = new JobImports({ ...t, log });
  const { id } = await reading.create({}, Buffer.from(bundle(job('new'))), t.caller);
  await t.imports.remove(id, t.caller);
  await reading.settled(id);
  expect(lines).toEqual([]);
  await expect(reading.get(id, {}, t.caller)).rejects.toThrow('Import not found');
});

describe('an import that is applied', () => {
  it('does what was planned, once, with an audit row for each job', async () => {
    const before = await t.create({ name: 'other', description: 'before' });
    const text = bundle(
      job('starter', { template: true }),
      job(
        'new',
        { category: 'prod/db', labels: { env: 'prod' } },
        { state: 'draft', tags: ['v1'], made_from: 'starter' },
      ),
      job('other', { description: 'after', category: 'prod' }, { state: 'inactive', channels: ['stable'] }),
    );
    const applied = await t.apply(await t.plan(text));
    expect(applied).toMatchObject({ status: 'applied', message: 'Applied: 2 created, 1 updated.' });
    expect(applied.appliedAt).not.toBeNull();
    const made = await t.get(applied.items[1]?.jobId ?? 0);
    expect(made).toMatchObject({
      name: 'new',
      category: 'prod/db',
      state: 'draft',
      labels: { env: 'prod' },
      version: 1,
      names: [{ name: 'v1', kind: 'tag', version: 1 }],
      madeFrom: { name: 'starter', version: 1 },
    });
    expect(await t.get(before.id)).toMatchObject({
      description: 'after',
      category: 'prod',
      state: 'inactive',
      version: 2,
      names: [{ name: 'stable', kind: 'channel', version: 2 }],
    });
    await expect(t.imports.apply(applied.id, {}, t.caller)).rejects.toThrow('It was applied at');
    const rows = await t.sql<{ action: string }[]>`
      select action from audit_log where id > (select max(id) from audit_log where action = 'jobs.import_started') order by id`;
    expect(rows.map(({ action }) => action)).toEqual([
      'category.created',
      'category.created',
      'job.created',
      'job.created',
      'job.moved',
      'job.moved',
      'job.saved',
      'job.state_changed',
      'job.channel_set',
      'jobs.imported',
    ]);
    expect(short(await t.plan(text))).toEqual(['starter: unchanged', 'new: unchanged', 'other: unchanged']);
  });

  it('is refused if a job has changed since, or a name was taken', async () => {
    const { id } = await t.create({ name: 'other' });
    const text = bundle(job('new'), job('other', { description: 'after' }), job('third'));
    const planned = await t.plan(text);
    await t.change(id, { description: 'meanwhile' });
    await t.create({ name: 'third' });
    await expect(t.imports.apply(planned.id, {}, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      details: [
        { path: 'jobs[1]', message: 'Job “other” has changed since this was planned.' },
        { path: 'jobs[2]', message: expect.stringContaining('A job named third has been created') },
      ],
    });
    expect(await t.sql`select 1 from jobs where name = 'new'`).toEqual([]);
  });

  it('makes categories only for someone who may still do that, and only below those that are still there', async () => {
    await createCategory(t.sql, { name: 'prod' }, t.caller);
    const planned = await t.plan(bundle(job('new', { category: 'prod/db' })));
    const author = t.callerWith({ role: 'author', permission: null, scope: null });
    const refused = await t.apply(planned, author);
    expect(refused).toMatchObject({
      status: 'interrupted',
      message: expect.stringContaining('categories.edit'),
    });
    const again = await t.plan(bundle(job('new', { category: 'prod/db' })));
    await t.sql`update categories set name = 'production' where name = 'prod'`;
    const late = await t.apply(again);
    expect(late).toMatchObject({
      status: 'interrupted',
      message: 'Category “prod” has been renamed or deleted since this was planned. Import the file again.',
    });
    expect(await t.sql`select name from categories where name like 'prod/%'`).toEqual([]);
    expect(await t.sql`select 1 from jobs`).toEqual([]);
  });

  it('leaves nothing if one job can’t be created', async () => {
    const planned = await t.plan(bundle(...Array.from({ length: 120 }, (_, n) => job(`job ${n}`))));
    await t.sql.unsafe(`create function refuse_one() returns trigger language plpgsql as $$
      begin if new.name = 'job 110' then raise exception 'no'; end if; return new; end $$;
      create trigger refuse_one before insert on jobs for each row execute function refuse_one()`);
    const ended = await t.apply(planned).finally(() => t.sql.unsafe('drop function refuse_one cascade'));
    expect(ended.status).toBe('interrupted');
    expect(ended.message).toMatch(/^Something went wrong.*Nothing was changed/);
    expect(await t.sql`select 1 from jobs`).toEqual([]);
  });

  it('counts as interrupted if its server is silent, and can’t succeed after that', async () => {
    const planned = await t.plan(bundle(...Array.from({ length: 120 }, (_, n) => job(`job ${n}`))));
    let isSilent = false;
    await t.sql.unsafe(`create function wait_for_it() returns trigger language plpgsql as $$
      begin perform pg_advisory_xact_lock_shared(77); return null; end $$;
      create trigger wait_for_it after insert on jobs for each statement execute function wait_for_it()`);
    const held = await t.sql.reserve();
    await held`select pg_advisory_lock(77)`;
    await t.imports.apply(planned.id, {}, t.caller);
    await t.sql`update job_imports set beat_at = now() - interval '5 minutes' where id = ${planned.id}`;
    const seen = await t.imports.get(planned.id, {}, t.caller);
    isSilent = seen.status === 'interrupted';
    await held`select pg_advisory_unlock(77)`;
    held.release();
    await t.imports.settled(planned.id);
    await t.sql.unsafe('drop function wait_for_it cascade');
    expect(isSilent).toBe(true);
    expect(seen.message).toContain('has stopped; nothing was changed');
    expect((await t.imports.get(planned.id, {}, t.caller)).status).toBe('interrupted');
    expect(await t.sql`select 1 from jobs`).toEqual([]);
  });
});

it('a job for a category that the importer does not see is refused like one for none, whatever site rules are there', async () => {
  await createCategory(t.sql, { name: 'secret' }, t.caller);
  const rule = {
    name: 'Bounded',
    category: 'secret',
    condition: 'has(job.timeout)',
    message: 'Not bounded.',
  };
  const { id } = await createSiteRule(t.sql, rule, t.caller);
  const scope = { kind: 'category', id: generalCategory.id } as const;
  const author = t.callerWith({ role: 'author', permission: null, scope });
  const toldOf = async (category: string) =>
    (await t.plan(bundle(job('new', { category })), {}, author)).problems;
  const [secret, nowhere] = [await toldOf('secret'), await toldOf('nowhere')];
  await deleteSiteRule(t.sql, id, t.caller);
  expect(JSON.stringify(secret)).toBe(JSON.stringify(nowhere).replaceAll('nowhere', 'secret'));
});

describe('a job that already exists', () => {
  const text = bundle(job('one', { description: 'new' }), job('two', { description: 'new' }), job('one'));

  it('is updated, skipped or copied, as chosen for all or for one', async () => {
    await t.create({ name: 'one' });
    const two = await t.create({ name: 'two' });
    await t.create({ name: 'one (copy)' });
    const planned = await t.plan(text, { existing: 'ask' });
    expect(short(planned)).toEqual([
      'one: conflict (exists)',
      'two: conflict (exists)',
      'one: conflict (duplicate)',
    ]);
    expect(planned.items[0]?.choices).toEqual(['update', 'skip', 'copy']);
    await expect(t.imports.apply(planned.id, {}, t.caller)).rejects.toThrow('3 jobs are in conflict');
    const all = await t.imports.choose(planned.id, { existing: 'copy' }, t.caller);
    expect(short(all)).toEqual(['one (copy 2): create', 'two (copy): create', 'one (copy 3): create']);
    const some = await t.imports.choose(
      planned.id,
      {
        existing: 'skip',
        items: [
          { position: 1, choice: 'copy', name: 'first' },
          { position: 2, choice: 'update' },
        ],
      },
      t.caller,
    );
    expect(short(some)).toEqual(['first: create', 'two: update', 'one: skip']);
    const back = await t.imports.choose(planned.id, { items: [{ position: 1, choice: null }] }, t.caller);
    expect(short(back)).toEqual(['one: skip', 'two: update', 'one: skip']);
    expect((await t.apply(planned)).status).toBe('applied');
    expect((await t.get(two.id)).description).toBe('new');
    expect(await t.sql`select name from jobs order by name`).toEqual(
      ['one', 'one (copy)', 'two'].map((name) => ({ name })),
    );
  });

  it('is copied under a free name with one look at the existing names, however many jobs have the same', async () => {
    await t.create({ name: 'one (copy 2)' });
    let looks = 0;
    const counted = ((...query: Parameters<typeof t.sql>) => {
      looks += 1;
      return t.sql(...query);
    }) as typeof t.sql;
    const names = new CopyNames(counted, new Set(['one (copy)']));
    const given: string[] = [];
    for (let n = 0; n < 200; n += 1) given.push(await names.free('one'));
    expect(given.slice(0, 2)).toEqual(['one (copy 3)', 'one (copy 4)']);
    expect(new Set(given).size).toBe(200);
    expect(looks).toBe(200);
  });

  it('is not copied under a name that is taken', async () => {
    await t.create({ name: 'one' });
    await t.create({ name: 'taken' });
    const { id } = await t.plan(text);
    const choose = (name: string) =>
      t.imports.choose(id, { items: [{ position: 1, choice: 'copy', name }] }, t.caller);
    await expect(choose('taken')).rejects.toThrow('A job of this name already exists.');
    await expect(choose('two')).rejects.toThrow('Job 2 of the file has this name.');
    await expect(
      t.imports.choose(id, { items: [{ position: 9, choice: 'skip' }] }, t.caller),
    ).rejects.toThrow('The file has no job at this position.');
  });

  it('can be an obstacle: archived, in a state that can’t follow, or with its tag elsewhere', async () => {
    const archived = await t.create({ name: 'archived' });
    await t.sql`update jobs set state = 'archived' where id = ${archived.id}`;
    await t.create({ name: 'active' });
    const tagged = await t.create({ name: 'tagged' });
    await t.sql`insert into job_version_names (job_id, name, kind, version) values (${tagged.id}, 'v1', 'tag', 1)`;
    await t.change(tagged.id, { description: 'second' });
    const planned = await t.plan(
      bundle(
        job('archived', { description: 'new' }),
        job('active', {}, { state: 'draft' }),
        job('tagged', { description: 'third' }, { tags: ['v1'] }),
      ),
    );
    expect(planned.items.map(({ conflict }) => conflict?.message)).toEqual([
      'Job “archived” is archived: restore it and import again, skip this one, or make a copy of it.',
      'Job “active” is active, which can become inactive or archived, not draft.',
      'Tag “v1” of job “tagged” names its version 1, and a tag never moves: take it out of the file.',
    ]);
  });
});

const unopened = [
  ['was altered', "left(data_key, -4) || 'AAAA'", 'what the database has of it was altered or moved.'],
  [
    'is under a master key that this server does not hold',
    "overlay(data_key placing 'xx' from 5 for 2)",
    'under master key xx-',
  ],
] as const;

describe.each(unopened)('next to a job whose key %s', (_, key, why) => {
  beforeEach(async () => {
    for (const name of ['a', 'b', 'c']) await t.create({ name, description: 'before' });
    await t.sql`update jobs set data_key = ${t.sql.unsafe(key)} where name = 'b'`;
  });

  it.each(['yaml', 'json'] as const)(
    'an export as %s has all others and reports the missing one, and so does its import',
    async (format) => {
      const text = await t.exportText({ format });
      const { jobs, left_out: leftOut, ...head } = parse(text);
      expect(head).toEqual({ format: 'opsconductor-jobs', version: 1 });
      expect(jobs.map(({ definition }: { definition: object }) => definition)).toMatchObject([
        { name: 'a' },
        { name: 'c' },
      ]);
      expect(leftOut).toEqual([{ name: 'b', why: expect.stringContaining(why) }]);
      await t.sql`delete from jobs`;
      const planned = await t.plan(text);
      expect(short(planned)).toEqual(['a: create', 'c: create']);
      expect(planned.findings).toMatchObject([
        {
          kind: 'left_out',
          job: 'b',
          path: 'left_out[0]',
          message: expect.stringContaining('could not be opened'),
        },
      ]);
      expect(text.split('\n')[(planned.findings[0]?.line ?? 0) - 1]).toMatch(/name|\{/);
    },
  );

  it('an export of it alone is an empty file that says so', async () => {
    await t.sql`delete from jobs where name <> 'b'`;
    for (const format of ['yaml', 'json'] as const) {
      const text = await t.exportText({ format });
      expect(parse(text)).toMatchObject({ jobs: [], left_out: [{ name: 'b' }] });
      expect((await t.plan(text)).findings).toMatchObject([{ kind: 'left_out', job: 'b' }]);
    }
  });

  it('an import changes the others, and lets that one be skipped or copied', async () => {
    const text = bundle(...['a', 'b', 'c'].map((name) => job(name, { description: 'after' })));
    const planned = await t.plan(text);
    expect(short(planned)).toEqual(['a: update', 'b: conflict (unreadable)', 'c: update']);
    expect(planned.items[1]?.conflict?.message).toContain(why);
    expect(planned.items[1]?.choices).toEqual(['skip', 'copy']);
    const skipped = await t.plan(text, { existing: 'skip' });
    expect(short(skipped)).toEqual(['a: skip', 'b: skip', 'c: skip']);
    await t.imports.choose(planned.id, { items: [{ position: 2, choice: 'copy' }] }, t.caller);
    expect((await t.apply(planned)).status).toBe('applied');
    expect((await t.sql`select name, version from jobs order by name`).map((row) => ({ ...row }))).toEqual([
      { name: 'a', version: 2 },
      { name: 'b', version: 1 },
      { name: 'b (copy)', version: 1 },
      { name: 'c', version: 2 },
    ]);
  });
});
