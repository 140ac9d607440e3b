// What is planned for an import, on a real database: paged through, and changing nothing.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCategory } from '../../categories/edit-categories.ts';
import { createSiteRule } from '../../site-rules/edit-site-rules.ts';
import { step } from '../testing.ts';
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
    const runAs = { command: 'whoami', run_as_credential: 'to come' };
    const steps = [{ name: 'as', type: 'winrm.exec', config: runAs }];
    const text = bundle(job('as another', { steps }));
    const [found] = (await t.plan(text)).findings;
    expect(found?.path).toBe('jobs[0].definition.steps[0].config.run_as_credential');
    expect(text.split('\n')[(found?.line ?? 0) - 1]).toContain('run_as_credential: to come');
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
