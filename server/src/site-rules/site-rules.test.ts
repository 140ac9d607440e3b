import type { CreateSiteRuleRequest, Job, JobDefinition } from '@opsconductor/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { deleteCategory } from '../categories/delete-category.ts';
import { createCategory } from '../categories/edit-categories.ts';
import { checkSave } from '../jobs/checks/check-save.ts';
import { createJob } from '../jobs/create-job.ts';
import { jobHealth, jobsHealth } from '../jobs/insight/jobs-health.ts';
import { bulkChangeJobs } from '../jobs/life/bulk-jobs.ts';
import { moveJob } from '../jobs/settings/move-job.ts';
import { setupJobs, step, type TestJobs } from '../jobs/testing.ts';
import { rollBack } from '../jobs/versions/roll-back.ts';
import { saveJob } from '../jobs/versions/save-job.ts';
import { holdTransaction } from '../runs/testing.ts';
import { tryCheckLock } from '../store/jobs/site-rule-checks.ts';
import { checkSome, SiteRuleChecker } from './checker.ts';
import { createSiteRule, deleteSiteRule, updateSiteRule } from './edit-site-rules.ts';
import { findViolations, violationsOf } from './violations.ts';

let t: TestJobs;
let made = 0;
beforeAll(async () => {
  t = await setupJobs();
  for (const name of ['prod', 'prod/db', 'lab']) await createCategory(t.sql, { name }, t.caller);
});
afterEach(() => t.sql`delete from site_rules`);
afterAll(() => t.close());

const strict: CreateSiteRuleRequest = {
  name: 'Production is bounded',
  category: 'prod',
  condition: 'has(job.timeout) && note != ""',
  message: 'Jobs in prod need a timeout and a note that says why.',
  path: 'timeout',
};
const rule = (fields: Partial<CreateSiteRuleRequest> = {}) =>
  createSiteRule(t.sql, { ...strict, ...fields }, t.caller);
const job = (fields: Partial<JobDefinition> = {}, beside: object = {}): Promise<Job> =>
  t.create({ name: `job ${++made}`, ...fields }, beside);
const told = `Site rule “${strict.name}”: ${strict.message}`;
const refused = { code: 'invalid', details: [{ path: 'timeout', message: told }] };

describe('a site rule', () => {
  test('refuses what breaks it, in its category and below, and allows the rest', async () => {
    await rule();
    await expect(job({ category: 'prod' })).rejects.toMatchObject(refused);
    await expect(job({ category: 'prod/db', timeout: 60 })).rejects.toMatchObject(refused);
    expect((await job({ category: 'prod/db', timeout: 60 }, { note: 'patch day' })).version).toBe(1);
    expect((await job({ category: 'lab' })).version).toBe(1);
  });

  test('is not told to a caller who may not put jobs into its category, and nor is which files that has', async () => {
    await rule();
    await t.sql`
      with made as (
        insert into files (id, name, category_id)
        select gen_random_uuid(), 'payroll', id from categories where name = 'prod' returning id)
      insert into contents (id, file_id, size, sha256, data_key) select id, id, 0, sha256('x'), 'k' from made`;
    const { definition, id } = await job({ category: 'lab' });
    const [lab] = await t.sql<{ id: number }[]>`select id from categories where name = 'lab'`;
    const scope = { kind: 'category', id: lab?.id ?? 0 } as const;
    const author = t.callerWith({ role: 'author', permission: null, scope });
    const copies = { type: 'ssh.copy', config: { file: 'payroll', remote_path: '/tmp/payroll' } };
    const toldOf = async (category: string) => {
      const asked = { ...definition, category, steps: [{ name: 'copy', ...copies }] };
      const refusals = await Promise.allSettled([
        saveJob(t, id, { definition: asked, expectedVersion: 1 }, author),
        createJob(t, { ...asked, name: 'another' }, author),
      ]);
      const { problems } = await checkSave(t, { ...asked, name: 'another' }, author);
      return [...refusals.map((one) => one.status === 'rejected' && one.reason.details), problems];
    };
    const [prod, nowhere] = [await toldOf('prod'), await toldOf('nowhere')];
    expect(JSON.stringify(prod)).toBe(JSON.stringify(nowhere).replaceAll('nowhere', 'prod'));
    await t.sql`delete from files`;
  });

  test('applies to jobs with the labels that it names', async () => {
    await rule({ category: null, selector: 'tier=gold !exempt' });
    await expect(job({ labels: { tier: 'gold' } })).rejects.toMatchObject(refused);
    await job({ labels: { tier: 'gold', exempt: '' } });
    await job({ labels: { tier: 'silver' } });
  });

  test('that is evaluated per step says which step breaks it', async () => {
    await rule({
      category: null,
      per: 'step',
      condition: 'step.config.timeout <= 600',
      path: 'config.timeout',
    });
    const slow = { command: 'x', timeout: 601 };
    await expect(job({ steps: [step('a'), step('b', slow)] as never })).rejects.toMatchObject({
      details: [{ path: 'steps[1].config.timeout', message: told }],
    });
  });

  test('that only warns allows the save, and the answer has the warning', async () => {
    await rule({ severity: 'warning', category: null });
    const created = await job();
    const warning = { path: 'timeout', message: strict.message, severity: 'warning', rule: strict.name };
    expect(created).toMatchObject({ warnings: [warning] });
    expect((await t.change(created.id, { description: 'x' })).warnings).toEqual([warning]);
  });

  test('that is not enabled requires nothing', async () => {
    await rule({ isEnabled: false, category: null });
    expect(await job()).not.toHaveProperty('warnings');
  });

  test('leaves existing jobs as they are until they are saved again', async () => {
    const before = await job({ category: 'prod' });
    await t.change(before.id, { description: 'v2' });
    await rule();
    expect((await t.get(before.id)).version).toBe(2);
    // An unchanged definition is not saved, so it is not checked.
    expect((await t.change(before.id, {})).isNewVersion).toBe(false);
    await expect(t.change(before.id, { description: 'v3' })).rejects.toMatchObject(refused);
    await expect(rollBack(t, before.id, { version: 1 }, t.caller)).rejects.toMatchObject({
      ...refused,
      // A version can't be corrected: it says which rule, and what to do instead.
      message: expect.stringMatching(
        new RegExp(
          `^Version 1 breaks what site rules ask of jobs by now, so it can’t be restored unchanged: Site rule “${strict.name}”: .* Edit the job instead, or ask somebody who may change site rules `,
        ),
      ),
    });
    expect((await t.get(before.id)).version).toBe(2);
    expect((await t.change(before.id, { timeout: 60 }, { note: 'bounded' })).isNewVersion).toBe(true);
  });

  test('does not prevent another change of a job that already breaks it', async () => {
    const before = await job({ category: 'prod' });
    await rule();
    await moveJob(t, before.id, { category: 'prod/db' }, t.caller);
    await bulkChangeJobs(t, { ids: [before.id], action: 'label', labels: { a: '' } }, t.caller);
    expect(await t.get(before.id)).toMatchObject({ category: 'prod/db', labels: { a: '' } });
  });

  test('keeps jobs that would break it out of its category, one by one and in bulk', async () => {
    const lab = await job({ category: 'lab' });
    await rule();
    const message = `Job “${lab.name}” would break site rule “${strict.name}”: ${strict.message}`;
    await expect(moveJob(t, lab.id, { category: 'prod' }, t.caller)).rejects.toMatchObject({
      code: 'invalid',
      message,
    });
    const request = { ids: [lab.id], action: 'categorise' as const, category: 'prod' };
    const planned = await bulkChangeJobs(t, { ...request, dryRun: true }, t.caller);
    expect(planned.obstacles).toEqual([{ id: lab.id, name: lab.name, message }]);
    await expect(bulkChangeJobs(t, request, t.caller)).rejects.toMatchObject({ code: 'conflict' });
    await expect(t.change(lab.id, { category: 'prod' })).rejects.toMatchObject({ code: 'invalid' });
    expect((await t.get(lab.id)).category).toBe('lab');
  });

  test('that can not be evaluated for a job counts as broken, with the reason', async () => {
    await rule({ category: null, condition: 'job.labels.owner != ""' });
    await expect(job()).rejects.toMatchObject({
      details: [
        {
          message: `${told} (Whether the job complies can’t be determined: Column 12: There is no value for owner; ask \`has(…)\` first.)`,
        },
      ],
    });
  });

  test('takes a bounded amount of work, however many rules there are and however large the definition is', async () => {
    const condition = 'job.steps.all(a, job.steps.all(b, a.name != b.name + "!"))';
    for (let at = 0; at < 20; at++) await rule({ name: `rule ${at}`, category: null, condition });
    const steps = Array.from({ length: 100 }, (_, at) => step(`step ${at}`));
    const reply = await checkSave(t, { name: 'large', steps }, t.caller);
    expect(reply.valid).toBe(false);
    expect(reply.problems.at(-1)?.message).toMatch(/too large/);
  });
});

describe('a site rule is saved', () => {
  test('with all problems reported at once', async () => {
    await expect(rule({ condition: 'job.tiemout > 3', selector: 'os=linux' })).rejects.toMatchObject({
      code: 'invalid',
      details: [
        { path: 'selector', message: 'A job has labels and no operating system; name labels only.' },
        {
          path: 'condition',
          message: 'Column 1: job has no tiemout; did you mean timeout?',
          found: 'job.tiemout',
        },
      ],
    });
    await expect(rule({ category: 'nowhere' })).rejects.toMatchObject({
      details: [
        {
          path: 'category',
          message: expect.stringMatching(/^There is no category of this name .*created first/),
        },
      ],
    });
  });

  test('under a unique name, based on the version that was changed, with its audit row', async () => {
    const first = await rule();
    await expect(rule()).rejects.toMatchObject({ code: 'conflict' });
    const changed = await updateSiteRule(
      t.sql,
      first.id,
      { ...strict, message: 'Else.', expectedVersion: 1 },
      t.caller,
    );
    expect(changed).toMatchObject({ version: 2, message: 'Else.' });
    await expect(
      updateSiteRule(t.sql, first.id, { ...strict, expectedVersion: 1 }, t.caller),
    ).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('expectedVersion 2') });
    await expect(updateSiteRule(t.sql, first.id, strict, t.caller)).rejects.toMatchObject({
      code: 'invalid',
    });
    await expect(updateSiteRule(t.sql, first.id, strict, t.caller, 9)).rejects.toMatchObject({
      details: [{ path: 'If-Match', found: '"9"', allowed: '"2"' }],
    });
    expect((await updateSiteRule(t.sql, first.id, strict, t.caller, 2)).version).toBe(3);
    await deleteSiteRule(t.sql, first.id, t.caller);
    const rows = await t.sql<{ action: string }[]>`
      select action from audit_log where object_kind = 'site_rule' and object_id = ${String(first.id)} order by id`;
    expect(rows.map(({ action }) => action)).toEqual([
      'site_rule.created',
      'site_rule.changed',
      'site_rule.changed',
      'site_rule.deleted',
    ]);
  });

  test('and keeps its category from being deleted', async () => {
    const category = await createCategory(t.sql, { name: 'short lived' }, t.caller);
    await rule({ category: 'short lived' });
    await expect(deleteCategory(t, category.id, {}, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`“${strict.name}”`),
    });
  });
});

describe('jobs that break a rule', () => {
  const all = [] as const;

  test('are listed page by page, even for a rule that is not saved', async () => {
    const names = ['a', 'b', 'c'].map((name) => `listed ${name}`);
    for (const name of names) await job({ name, category: 'lab', labels: { listed: '' } });
    await job({ name: 'listed d', category: 'lab', labels: { listed: '' }, timeout: 5 }, { note: 'x' });
    const { id } = await rule({ category: 'lab', selector: 'listed', isEnabled: false });
    const first = await violationsOf(t, id, { limit: 2 }, all);
    expect(first.items.map(({ jobName }) => jobName)).toEqual(names.slice(0, 2));
    const rest = await violationsOf(t, id, { limit: 2, cursor: first.nextCursor ?? '' }, all);
    expect(rest.items.map(({ jobName }) => jobName)).toEqual(['listed c']);
    expect(first.inScope + rest.inScope).toBe(4);
    expect(rest.nextCursor).toBeNull();
    const thought = {
      ...strict,
      category: null,
      selector: 'listed',
      per: 'job',
      path: '',
      severity: 'error',
    } as const;
    expect((await findViolations(t, thought, {}, all)).items).toHaveLength(3);
  });

  test('are named in the health of jobs once they were checked, until they comply', async () => {
    const bad = await job({ name: 'unbounded', category: 'prod' });
    await rule();
    while ((await checkSome(t)) !== 0);
    const problem = {
      kind: 'site_rule',
      path: 'timeout',
      message: `Breaks site rule “${strict.name}”: ${strict.message}`,
    };
    const named = async () =>
      (await jobsHealth(t.sql, { limit: 200 }, all)).items.find(({ id }) => id === bad.id)?.problems;
    expect(await named()).toEqual([problem]);
    expect((await jobHealth(t, bad.id, all)).problems).toEqual([problem]);
    await t.change(bad.id, { timeout: 60 }, { note: 'bounded' });
    expect((await jobHealth(t, bad.id, all)).problems).toEqual([]);
    expect(await checkSome(t)).toBe(1);
    expect(await named()).toBeUndefined();
    expect(await checkSome(t)).toBe(0);
    await t.sql`delete from site_rules`;
    await checkSome(t);
    expect(await t.sql`select 1 from site_rule_checks`).toHaveLength(0);
  });
});

describe.each([
  ['was altered', "left(data_key, -4) || 'AAAA'", 'what the database has of it was altered or moved.'],
  [
    'is under a master key that this server does not hold',
    "overlay(data_key placing 'xx' from 5 for 2)",
    'under master key xx-',
  ],
] as const)('next to a job whose key %s', (_, key, why) => {
  let jobs: Job[];
  let before: string;
  beforeEach(async () => {
    await t.sql`delete from jobs`;
    jobs = [];
    for (let n = 0; n < 3; n += 1) jobs.push(await job({ category: 'lab', labels: { tier: 'gold' } }));
    const [row] = await t.sql<{ dataKey: string }[]>`select data_key from jobs where id = ${bad().id}`;
    before = row?.dataKey ?? '';
    await t.sql`update jobs set data_key = ${t.sql.unsafe(key)} where id = ${bad().id}`;
  });
  afterAll(() => t.sql`delete from jobs`);
  const bad = () => jobs[1] as Job;
  const others = () => jobs.filter(({ id }) => id !== bad().id).map(({ id }) => id);
  const unwell = async () =>
    (await jobsHealth(t.sql, { limit: 200 }, [])).items.map(({ id, problems }) => [id, problems[0]?.message]);
  const untold = expect.stringMatching(
    new RegExp(`^.*“${strict.name}”: .* \\(Whether the job complies can’t be determined: .*${why}`),
  );

  test('all others are checked against the rules in force, and that job counts as breaking them', async () => {
    await rule({ category: null, condition: 'has(job.timeout) || job.labels.tier == "gold"' });
    const unopened = new Set<number>();
    expect(await checkSome(t, unopened)).toBe(3);
    expect(await checkSome(t, unopened)).toBe(0);
    expect([...unopened]).toEqual([bad().id]);
    expect(await unwell()).toEqual([[bad().id, untold]]);
    await t.sql`update jobs set labels = '{}', updated_at = now() where id = ${others()[0] ?? 0}`;
    expect(await checkSome(t, unopened)).toBe(1);
    expect((await unwell()).map(([id]) => id).sort()).toEqual([others()[0], bad().id].sort());
  });

  test('that job is checked again in each round, until it can be opened', async () => {
    await rule({ category: null, condition: 'job.labels.tier == "gold"' });
    await checkSome(t);
    expect(await unwell()).toEqual([[bad().id, untold]]);
    expect(await checkSome(t)).toBe(1);
    await t.sql`update jobs set data_key = ${before} where id = ${bad().id}`;
    expect(await checkSome(t)).toBe(1);
    expect(await unwell()).toEqual([]);
    expect(await checkSome(t)).toBe(0);
  });

  test('that job is logged once, even if another server checks in between, or nothing can be checked', async () => {
    await rule({ category: null, condition: 'job.labels.tier == "gold"' });
    const seconds = { timeout: 10_000 };
    const told: number[][] = [];
    let [rounds, failures] = [0, 0];
    const sql = new Proxy(t.sql, {
      get(target, name) {
        if (name === 'begin') rounds += 1;
        return Reflect.get(target, name);
      },
    });
    const log = { error: ({ jobs }: { jobs: number[] }) => told.push(jobs), warn: () => (failures += 1) };
    const checker = new SiteRuleChecker({ sql, masterKey: t.masterKey, log: log as never, pauseMs: 1 });
    onTestFinished(() => checker.stop());
    checker.start();
    await expect.poll(() => told, seconds).toEqual([[bad().id]]);
    const letGo = await holdTransaction(t.sql, (tx) =>
      expect.poll(() => tryCheckLock(tx), seconds).toBe(true),
    );
    const before = rounds;
    await expect.poll(() => rounds, seconds).toBeGreaterThan(before + 2);
    await letGo();
    await t.sql`alter table site_rule_checks rename to away`;
    await expect.poll(() => failures, seconds).toBeGreaterThan(0);
    await t.sql`alter table away rename to site_rule_checks`;
    // A report about another job shows that all were checked since.
    await t.sql`update jobs set updated_at = now(), data_key = ${t.sql.unsafe(key)} where id = ${others()[0] ?? 0}`;
    await expect.poll(() => told.length, seconds).toBe(2);
    expect(told[1]).toEqual([others()[0]]);
  });

  test('the list of jobs that break a rule is complete, and includes that job', async () => {
    const { id } = await rule({ category: 'lab', isEnabled: false });
    const { items, looked, nextCursor } = await violationsOf(t, id, {}, []);
    expect(items.map(({ jobId }) => jobId)).toEqual(jobs.map((one) => one.id));
    expect(items[1]?.problems).toMatchObject([{ rule: strict.name, message: expect.stringContaining(why) }]);
    expect([looked, nextCursor]).toEqual([3, null]);
  });

  test('that job’s own health says that it can not be opened', async () => {
    await rule({ category: 'lab' });
    // Like a server that has just started and has no opened versions in memory.
    const { status, problems } = await jobHealth({ ...t, masterKey: { ...t.masterKey } }, bad().id, []);
    expect(status).toBe('degraded');
    expect(problems).toEqual([
      { kind: 'site_rule', message: untold },
      { kind: 'invalid', message: expect.stringContaining(why) },
    ]);
  });

  test('jobs are moved and labeled, and that job too unless a rule would newly apply to it', async () => {
    await rule({ category: 'prod', condition: 'true' });
    const all = jobs.map(({ id }) => id);
    await bulkChangeJobs(t, { ids: all, action: 'label', labels: { a: '' } }, t.caller);
    const request = { ids: all, action: 'categorise' as const, category: 'prod' };
    const message = expect.stringContaining(`Job “${bad().name}” would break site rule “${strict.name}”`);
    const { obstacles } = await bulkChangeJobs(t, { ...request, dryRun: true }, t.caller);
    expect(obstacles).toEqual([{ id: bad().id, name: bad().name, message }]);
    await bulkChangeJobs(t, { ...request, ids: others() }, t.caller);
    await expect(moveJob(t, bad().id, { category: 'prod' }, t.caller)).rejects.toMatchObject({
      code: 'invalid',
      message,
    });
    await moveJob(t, bad().id, { category: 'general' }, t.caller);
    expect((await t.get(others()[0] ?? 0)).category).toBe('prod');
  });
});
