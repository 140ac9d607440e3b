import { createHash } from 'node:crypto';
import type { SaveConflict } from '@opsconductor/protocol';
import { canonicalJson } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { setupJobs, step, type TestJobs } from '../testing.ts';
import { loadJobVersion } from './load-job-version.ts';
import { getVersion, listVersions } from './read-versions.ts';
import { saveJob } from './save-job.ts';

let t: TestJobs;
beforeAll(async () => {
  t = await setupJobs();
});
afterAll(() => t.close());

const editor = (scope: { kind: 'category'; id: number } | null = null) =>
  ({ role: 'author', permission: null, scope }) as const;

async function refusalOf(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof AppError)) throw new Error(`was not refused: ${error}`);
  return error;
}

describe('saving', () => {
  it('adds a version with author, note and checksum; previous ones stay unchanged', async () => {
    const job = await t.create({ name: 'patch' }, { note: 'first' });
    const reply = await t.change(job.id, { description: 'Patches', timeout: 60 }, { note: 'with a timeout' });
    expect(reply).toMatchObject({ isNewVersion: true, message: 'Saved as version 2.' });
    expect(reply.job).toMatchObject({
      version: 2,
      description: 'Patches',
      savedBy: 'ada',
      note: 'with a timeout',
      definition: { timeout: 60 },
    });
    const { items } = await listVersions(t.sql, job.id, {}, unrestricted);
    expect(items.map(({ version, note, isCurrent }) => [version, note, isCurrent])).toEqual([
      [2, 'with a timeout', true],
      [1, 'first', false],
    ]);
    const first = await getVersion(t, job.id, '1', unrestricted);
    expect(first.definition).not.toHaveProperty('timeout');
    expect(first.checksum).toBe(createHash('sha256').update(canonicalJson(first.definition)).digest('hex'));
    await expect(t.sql`update job_versions set note = 'x' where job_id = ${job.id}`).rejects.toThrow(
      'immutable',
    );
  });

  it('of the same definition makes no new version, and says so', async () => {
    const job = await t.create({ name: 'same' });
    const reply = await t.change(job.id, {});
    expect(reply).toMatchObject({ isNewVersion: false, message: 'Nothing changed: this is version 1.' });
    // Defaults are filled in before the two are compared.
    const bare = { name: 'same', steps: [step('ask')] };
    const again = await saveJob(t, job.id, { definition: bare, expectedVersion: 1 }, t.caller);
    expect(again.isNewVersion).toBe(false);
    expect(await t.sql`select from job_versions where job_id = ${job.id}`).toHaveLength(1);
    expect(
      await t.sql`select from audit_log where object_kind = 'job' and object_id = ${String(job.id)}`,
    ).toHaveLength(1);
  });

  it('changes category, labels and template without a version, each with its audit row', async () => {
    await t.sql`insert into categories (name) values ('night')`;
    const job = await t.create({ name: 'sorted', labels: { env: 'prod' } });
    const reply = await t.change(job.id, {
      category: 'night',
      labels: { env: 'test', 'on-call': '' },
      template: true,
    });
    expect(reply.message).toBe(
      'No new version, as the definition is that of version 1. Besides: moved to night, labels changed, made a template.',
    );
    expect(reply.job).toMatchObject({
      version: 1,
      category: 'night',
      labels: { env: 'test', 'on-call': '' },
      isTemplate: true,
      definition: { category: 'night', template: true },
    });
    const rows = await t.sql<{ action: string }[]>`
      select action from audit_log where object_kind = 'job' and object_id = ${String(job.id)} order by id`;
    expect(rows.map(({ action }) => action)).toEqual([
      'job.created',
      'job.moved',
      'job.moved',
      'job.labelled',
      'job.template_changed',
    ]);
    // What a definition doesn't name stays unchanged.
    const bare = { name: 'sorted', steps: [step('ask'), step('then')] };
    const { job: kept } = await saveJob(t, job.id, { definition: bare, expectedVersion: 1 }, t.caller);
    expect(kept).toMatchObject({
      version: 2,
      category: 'night',
      labels: { 'on-call': '' },
      isTemplate: true,
    });
  });

  it('needs to know which version was changed, and its answer reports all problems', async () => {
    const job = await t.create({ name: 'wrong' });
    const definition = { name: 'wrong', steps: [step('a', { command: '' })] };
    const blind = await refusalOf(saveJob(t, job.id, { definition: job.definition }, t.caller));
    expect(blind).toMatchObject({ code: 'invalid', details: [{ path: 'expectedVersion' }] });
    const wrong = await refusalOf(saveJob(t, job.id, { definition, expectedVersion: 1 }, t.caller));
    expect(wrong.details.map(({ path }) => path)).toEqual(['steps[0].config.command']);
    const extra = await refusalOf(
      saveJob(t, job.id, { definition, expectedVersion: 1, colour: 1 }, t.caller),
    );
    expect(extra.details.map(({ path }) => path)).toEqual(['colour']);
    const ahead = await refusalOf(
      saveJob(t, job.id, { definition: job.definition, expectedVersion: 9 }, t.caller),
    );
    expect(ahead).toMatchObject({ code: 'invalid', details: [{ found: '9', allowed: '1' }] });
    expect((await t.get(job.id)).version).toBe(1);
  });

  it('under a name that another job has is refused as a whole; under a new name the old one is free', async () => {
    await t.create({ name: 'taken' });
    const job = await t.create({ name: 'before' });
    const refused = await refusalOf(t.change(job.id, { name: 'taken' }));
    expect(refused).toMatchObject({ code: 'conflict', details: [{ path: 'name' }] });
    expect((await t.get(job.id)).version).toBe(1);
    await t.change(job.id, { name: 'after' });
    expect((await t.create({ name: 'before' })).id).not.toBe(job.id);
  });

  it('needs the right to edit in the category, and to see the job', async () => {
    const job = await t.create({ name: 'guarded' });
    const request = { definition: { ...job.definition, timeout: 5 }, expectedVersion: 1 };
    const elsewhere = editor({ kind: 'category', id: 999_999 });
    const reads = { role: 'viewer', permission: null, scope: null } as const;
    await expect(saveJob(t, job.id, request, t.callerWith(elsewhere))).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(saveJob(t, job.id, request, t.callerWith(reads))).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'jobs.edit',
    });
    await expect(saveJob(t, job.id, request, t.callerWith(editor()))).resolves.toMatchObject({
      isNewVersion: true,
    });
  });
});

describe('a stale save', () => {
  it('is a conflict with both sides, and what both changed', async () => {
    const job = await t.create({ name: 'contended', steps: [step('a'), step('b')] });
    await t.change(
      job.id,
      { timeout: 60, steps: [step('a', { command: 'id' }), step('b')] as never },
      { note: 'theirs' },
    );
    const mine = {
      ...job.definition,
      description: 'mine',
      steps: [step('a', { command: 'date' }), step('b')],
    };
    const error = await refusalOf(saveJob(t, job.id, { definition: mine, expectedVersion: 1 }, t.caller));
    expect(error.code).toBe('conflict');
    expect(error.message).toContain('saved version 2 since you opened version 1');
    const conflict = error.conflict as SaveConflict;
    expect(conflict.theirs).toMatchObject({
      version: 2,
      note: 'theirs',
      createdBy: 'ada',
      definition: { timeout: 60 },
    });
    expect(conflict.theirChanges.map(({ path }) => path)).toEqual(['timeout', 'steps[0].config.command']);
    expect(conflict.yourChanges.map(({ path }) => path)).toEqual(['description', 'steps[0].config.command']);
    expect(conflict.overlapping).toEqual(['steps[0].config.command']);
    expect((await t.get(job.id)).version).toBe(2);
  });

  it('that makes the same change as the other one has no overlap', async () => {
    const job = await t.create({ name: 'agreed' });
    await t.change(job.id, { timeout: 60 });
    const mine = { ...job.definition, timeout: 60, description: 'mine' };
    const error = await refusalOf(saveJob(t, job.id, { definition: mine, expectedVersion: 1 }, t.caller));
    expect(error.conflict?.overlapping).toEqual([]);
  });
});

it('twenty writers at once lose no change: each saves from the current version, or is told that it is outdated', async () => {
  const job = await t.create({ name: 'busy', description: '' });
  let conflicts = 0;
  const saved: number[] = [];
  const write = async (writer: number) => {
    let { definition, version } = await t.get(job.id);
    for (let save = 1; save <= 2; ) {
      const changed = {
        ...definition,
        description: `${definition.description ?? ''}writer ${writer}, ${save}\n`,
      };
      try {
        // As with the header If-Match.
        const reply = await saveJob(t, job.id, { definition: changed }, t.caller, version);
        ({ definition, version } = reply.job);
        // Another save may have changed the job by now; the sentence is about this save.
        saved.push(Number(/^Saved as version (\d+)\./.exec(reply.message)?.[1]));
        save += 1;
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'conflict') throw error;
        conflicts += 1;
        ({ definition, version } = (error.conflict as SaveConflict).theirs);
      }
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, writer) => write(writer)));
  const { version, description } = await t.get(job.id);
  expect(version).toBe(41);
  expect(saved.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n + 2));
  const lines = description.trim().split('\n');
  const all = Array.from({ length: 40 }, (_, n) => `writer ${n % 20}, ${Math.floor(n / 20) + 1}`);
  expect(lines.toSorted()).toEqual(all.sort());
  expect(conflicts).toBeGreaterThan(0);
  // Each version is the previous one with one more line.
  for (let n = 2; n <= 41; n += 1) {
    const before = (await loadJobVersion(t, job.id, n - 1)).definition.description ?? '';
    const after = (await loadJobVersion(t, job.id, n)).definition.description ?? '';
    expect(after.startsWith(before) && after.split('\n').length === before.split('\n').length + 1).toBe(true);
  }
});
