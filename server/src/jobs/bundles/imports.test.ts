// Imports on a real database: planned, paged through, applied once and whole, and refused if the jobs have changed.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { createCategory } from '../../categories/edit-categories.ts';
import { createSiteRule } from '../../site-rules/edit-site-rules.ts';
import { step } from '../testing.ts';
import { setupImports, type TestImports } from './testing.ts';

let t: TestImports;
beforeAll(async () => {
  t = await setupImports();
});
afterAll(() => t.close());
beforeEach(async () => {
  await t.sql`delete from jobs`;
  await t.sql`delete from categories where id <> 1`;
});

const bundle = (...jobs: object[]) => stringify({ format: 'opsconductor-jobs', version: 1, jobs });
const job = (name: string, fields: object = {}, beside: object = {}) => ({
  definition: { name, steps: [step('ask')], ...fields },
  ...beside,
});
const short = (planned: Awaited<ReturnType<TestImports['plan']>>) =>
  planned.items.map(
    ({ name, action, conflict }) => `${name}: ${action}${conflict === null ? '' : ` (${conflict.reason})`}`,
  );

describe('a plan', () => {
  it('is made for two files at a time; further ones are told to try again', async () => {
    const text = Buffer.from(bundle(...Array.from({ length: 300 }, (_, n) => job(`job ${n}`))));
    const asked = await Promise.allSettled(
      Array.from({ length: 8 }, () => t.imports.create({}, text, t.caller)),
    );
    const begun = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const refused = asked.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(begun).toHaveLength(2);
    expect(refused).toEqual(
      refused.map(() => expect.objectContaining({ code: 'rate_limited', retryAfterS: 5 })),
    );
    for (const { id } of begun) await t.imports.settled(id);
    expect((await t.plan(bundle(job('one')))).status).toBe('planned');
  });

  it('says for each job what would be done, and changes nothing', async () => {
    const same = await t.create({ name: 'same' });
    await t.create({ name: 'other', description: 'before' }, { state: 'draft' });
    const text = bundle(
      job('new', { category: 'prod/db', labels: { env: 'prod' } }, { state: 'draft', tags: ['v1'] }),
      job('same', { ...same.definition }),
      job(
        'other',
        { description: 'after', labels: { env: 'test' } },
        { state: 'active', channels: ['stable'] },
      ),
    );
    const planned = await t.plan(text);
    expect(planned).toMatchObject({
      status: 'planned',
      percent: 100,
      jobsDone: 3,
      jobsTotal: 3,
      counts: { create: 1, update: 1, unchanged: 1, skip: 0, conflict: 0 },
      newCategories: ['prod', 'prod/db'],
      message: '1 to create, 1 to update, 1 unchanged. Nothing has changed yet.',
    });
    expect(planned.items[2]?.changes.map(({ path, before, after }) => ({ path, before, after }))).toEqual([
      { path: 'description', before: 'before', after: 'after' },
      { path: 'labels.env', before: undefined, after: 'test' },
      { path: 'state', before: 'draft', after: 'active' },
      { path: 'channels.stable', before: undefined, after: 2 },
    ]);
    expect(await t.sql`select name from jobs order by name`).toEqual([{ name: 'other' }, { name: 'same' }]);
    expect(await t.sql`select 1 from categories where name = 'prod'`).toEqual([]);
  });

  it('is refused if a definition or a step is empty', async () => {
    const text =
      'format: opsconductor-jobs\nversion: 1\njobs:\n- definition:\n- definition:\n    name: x\n    steps:\n    -\n';
    const { status, problems } = await t.plan(text);
    expect(status).toBe('refused');
    expect(problems).toMatchObject([
      { path: 'jobs[0].definition', line: 4, message: 'Must be an object.' },
      { path: 'jobs[1].definition.steps[0]', line: 8, message: 'Must be an object.' },
    ]);
  });

  it('is refused with all problems of the file, by line and column', async () => {
    const text = `format: opsconductor-jobs
version: 1
jobs:
  - definition:
      name: one
      steps:
        - name: ask
          type: ssh.exec
          config: { command: uptime, timeout: soon }
  - definition: { name: two
  - definition:
      name: three
      steps: []
    state: running
    more: 1
`;
    const planned = await t.plan(text);
    expect(planned).toMatchObject({ status: 'refused', problemCount: 5, items: [], counts: { create: 0 } });
    expect(planned.message).toBe('The file has 5 problems; nothing is planned.');
    expect(planned.problems.map(({ path, job: of, line, column }) => ({ path, of, line, column }))).toEqual([
      { path: 'jobs[0].definition.steps[0].config.timeout', of: 'one', line: 9, column: 47 },
      { path: 'jobs[1]', of: null, line: expect.any(Number), column: expect.any(Number) },
      { path: 'jobs[2].more', of: 'three', line: 15, column: 11 },
      { path: 'jobs[2].state', of: 'three', line: 14, column: 12 },
      { path: 'jobs[2].definition.steps', of: 'three', line: 13, column: 7 },
    ]);
    await expect(t.imports.apply(planned.id, {}, t.caller)).rejects.toThrow('The file has problems');
  });

  it('says if a file is not a bundle of this version', async () => {
    const told = async (text: string) => (await t.plan(text)).problems.map(({ message }) => message);
    expect(await told('jobs: []')).toEqual([
      'A bundle begins with `format: opsconductor-jobs` and `version: 1`.',
      expect.any(String),
    ]);
    expect(await told('format: opsconductor-jobs\nversion: 2\njobs:\n  - x\n')).toEqual([
      'This server reads bundles of version 1.',
    ]);
    expect(await told('{"format":"opsconductor-jobs","version":1,"jobs":[]}')).toEqual([]);
  });

  it('refuses a name that is both tag and channel', async () => {
    const planned = await t.plan(bundle(job('one', {}, { tags: ['a', 'b'], channels: ['c', 'b'] })));
    expect(planned.problems).toMatchObject([{ path: 'jobs[0].channels[1]', found: 'b', job: 'one' }]);
  });

  it('needs the rights to save each of its jobs', async () => {
    const ours = await createCategory(t.sql, { name: 'ours' }, t.caller);
    await createCategory(t.sql, { name: 'theirs' }, t.caller);
    await t.create({ name: 'taken', category: 'theirs' });
    const author = t.callerWith({
      role: 'author',
      permission: null,
      scope: { kind: 'category', id: ours.id },
    });
    const raw = '${{ raw(parameters.x) }}';
    const text = bundle(
      job('a', { category: 'theirs' }),
      job('b', { category: 'nowhere' }),
      job('c', { category: 'ours', connection: { credential: 'root key' } }),
      job('d', {
        category: 'ours',
        parameters: { x: { type: 'string', enum: ['a'] } },
        steps: [step('ask', { command: `echo ${raw}` })],
      }),
      job('e', { category: 'ours' }),
    );
    const planned = await t.plan(text, {}, author);
    expect(planned.problems.map(({ path, line, message }) => ({ path, line, message }))).toEqual([
      {
        path: 'jobs[0].definition.category',
        line: 11,
        message: expect.stringMatching(/^There is no category of this name .*created first/),
      },
      {
        path: 'jobs[1].definition.category',
        line: 19,
        message: expect.stringMatching(/^There is no category of this name .*created first/),
      },
      {
        path: 'jobs[2].definition.connection.credential',
        line: 29,
        message: expect.stringContaining('credentials.use'),
      },
      {
        path: 'jobs[3].definition.steps[0].config.command',
        line: 36,
        message: expect.stringContaining('jobs.raw_splice'),
      },
    ]);
    const mine = await t.plan(
      bundle(job('e', { category: 'ours' }), job('taken', { category: 'ours' })),
      {},
      author,
    );
    expect(short(mine)).toEqual(['e: create', 'taken: conflict (name_taken)']);
    expect(JSON.stringify(mine)).not.toContain('theirs');
  });

  it('applies the site rules: an error is a problem, a warning is a finding', async () => {
    await createCategory(t.sql, { name: 'prod' }, t.caller);
    const rule = { condition: 'has(job.timeout)', path: 'timeout' };
    await createSiteRule(
      t.sql,
      { ...rule, name: 'bounded', message: 'Give it a timeout.', category: 'prod' },
      t.caller,
    );
    await createSiteRule(
      t.sql,
      { name: 'reasons', condition: 'note != ""', message: 'Say why.', severity: 'warning' },
      t.caller,
    );
    const text = bundle(job('a', { category: 'prod/db' }), job('b', { category: 'other' }));
    const refused = await t.plan(text);
    expect(refused.problems).toMatchObject([
      { path: 'jobs[0].definition.timeout', message: 'Site rule “bounded”: Give it a timeout.', line: 4 },
    ]);
    expect(refused.findings.map(({ message }) => message)).toEqual(
      Array(2).fill('Site rule “reasons”: Say why.'),
    );
    const planned = await t.plan(bundle(job('b', { category: 'other' })), { note: 'because' });
    expect([planned.status, planned.findingCount]).toEqual(['planned', 0]);
    await createSiteRule(t.sql, { ...rule, name: 'later', message: 'All have timeouts.' }, t.caller);
    const ended = await t.apply(planned);
    expect([ended.status, ended.message]).toEqual([
      'interrupted',
      expect.stringContaining('All have timeouts.'),
    ]);
    await t.sql`delete from site_rules`;
  });

  it('reports a credential that does not exist yet, and where it is named', async () => {
    const planned = await t.plan(bundle(job('early', { connection: { credential: 'to come' } })));
    expect([planned.status, planned.findings]).toMatchObject([
      'planned',
      [
        {
          kind: 'note',
          job: 'early',
          path: 'jobs[0].definition.connection.credential',
          message: expect.stringContaining('“to come”'),
        },
      ],
    ]);
    expect(planned.findings[0]?.line).toBeGreaterThan(4);
  });

  it('is visible only to its creator, and only while they may change all of its jobs', async () => {
    const ours = await createCategory(t.sql, { name: 'ours' }, t.caller);
    const author = t.callerWith({
      role: 'author',
      permission: null,
      scope: { kind: 'category', id: ours.id },
    });
    const planned = await t.plan(bundle(job('e', { category: 'ours' })), {}, author);
    const reader = t.callerWith({ role: 'author', permission: null, scope: { kind: 'category', id: 1 } });
    await expect(t.imports.get(planned.id, {}, reader)).rejects.toThrow('Import');
    await expect(t.imports.get(planned.id, {}, { ...t.caller, userId: t.caller.userId + 1 })).rejects.toThrow(
      'Import',
    );
    expect((await t.imports.list({ ...t.caller, userId: t.caller.userId + 1 })).items).toEqual([]);
  });
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
    expect(applied).toMatchObject({ status: 'applied', message: 'Applied: 2 to create, 1 to update.' });
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
