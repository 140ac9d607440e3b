import { createHash } from 'node:crypto';
import type { Scope } from '@opsconductor/protocol';
import { canonicalJson } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, type Grant } from '../auth/authority.ts';
import { newMasterKey } from '../credentials/at-rest/master-key.ts';
import { createCredential } from '../credentials/edit-credentials.ts';
import {
  makeFirstAgent,
  makeSegment,
  sealedCredentialRequest,
  setupInstallation,
  type TestInstallation,
} from '../segments/testing.ts';
import { findJobFindings } from '../store/jobs/job-health.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { readCredentialUsage } from '../store/targets/credential-usage.ts';
import { createTarget } from '../targets/edit-targets.ts';

import { createJob } from './create-job.ts';
import { jobsHealth } from './insight/jobs-health.ts';
import { getJob, listJobs } from './list-jobs.ts';
import { loadJobVersion } from './versions/load-job-version.ts';
import { saveJob } from './versions/save-job.ts';

let t: TestInstallation;
beforeAll(async () => {
  t = await setupInstallation();
});
afterAll(() => t.close());

const step = (name: string, config: object = { command: 'uptime' }) => ({ name, type: 'ssh.exec', config });
const save = (definition: object) =>
  createJob(t, { name: 'uptime', steps: [step('ask')], ...definition }, t.caller);

async function addRuns(jobId: number, count: number): Promise<void> {
  await t.sql`
    insert into job_runs (job_id, job_version, status, data_key, targets_total, total_steps, start_by, started_at,
      execution_time_ms)
    select ${jobId}, 1, 'succeeded', 'x', 1, 1, now(), now(), n from generate_series(1, ${count}) n`;
}

describe('saving a job', () => {
  it('stores version 1 with defaults filled in, sealed', async () => {
    const command = `echo "grüße 🏔" && cat <<'END'\n'; drop table jobs; --\nEND`;
    const job = await save({
      name: 'defaults',
      description: 'Says hello',
      steps: [step('ask', { command })],
    });
    expect(job).toMatchObject({
      name: 'defaults',
      version: 1,
      isActive: true,
      stepCount: 1,
      stepTypes: ['ssh.exec'],
      createdBy: 'ada',
      definition: {
        start_within: 3600,
        steps: [{ config: { command, timeout: 300, expected_exit_codes: [0], kill_grace: 10 } }],
      },
    });
    const { category, ...stored } = job.definition;
    expect(category).toBe('general');
    const sha256 = createHash('sha256').update(canonicalJson(stored)).digest('hex');
    expect(job.checksum).toBe(sha256);
    const [row] = await t.sql<{ definition: Buffer }[]>`
      select definition from job_versions where job_id = ${job.id}`;
    expect(row?.definition.includes('drop table')).toBe(false);
    expect(await getJob(t, job.id, unrestricted)).toEqual(job);
  });

  it('keeps parameters in the order in which they were written, without affecting the checksum', async () => {
    const address = { type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } };
    const asked = { zone: { type: 'string' }, address, Area: { type: 'string' } };
    const turned = Object.fromEntries(Object.entries(asked).reverse());
    const job = await save({ name: 'asks in order', parameters: asked });
    const { parameters = {} } = (await loadJobVersion(t, job.id, 1)).definition;
    expect(Object.keys(parameters)).toEqual(['zone', 'address', 'Area']);
    expect(Object.keys(parameters.address?.properties ?? {})).toEqual(['street', 'city']);
    const again = { expectedVersion: 1, definition: { ...job.definition, parameters: turned } };
    expect(await saveJob(t, job.id, again, t.caller)).toMatchObject({
      isNewVersion: false,
      message: 'Nothing changed: this is version 1.',
    });
  });

  it('refuses a name that is taken, SQL in it or not', async () => {
    const name = `Robert'); DROP TABLE jobs;-- "x" \\ $1 %s`;
    expect((await save({ name })).name).toBe(name);
    await expect(save({ name })).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'name' }] });
  });

  it('stores nothing of a refused job', async () => {
    const count = async () => (await t.sql`select 1 from jobs`).length;
    const before = await count();
    await save({ name: 'twice' });
    await expect(save({ name: 'twice' })).rejects.toThrow();
    expect(await count()).toBe(before + 1);
  });

  it('refuses more than the limit of bytes', async () => {
    const steps = Array.from({ length: 90 }, (_, n) => step(`s${n}`, { command: 'x'.repeat(120_000) }));
    await expect(save({ name: 'ten megabytes', steps })).rejects.toMatchObject({ code: 'too_large' });
  });

  describe('that names credentials', () => {
    let segmentId: number;
    beforeAll(async () => {
      segmentId = (await makeSegment(t, 'credentials')).id;
      await makeFirstAgent(t, segmentId, 'credentials-agent');
      await createCredential(t.sql, await sealedCredentialRequest(t, segmentId, 'patching'), t.caller);
    });

    const edits = { role: null, permission: 'jobs.edit', scope: null } as const;
    const uses = (scope: Scope) => ({ role: null, permission: 'credentials.use', scope }) as const;
    const saveBy = (name: string, grants: Grant[], rest: object) =>
      createJob(
        t,
        { name, steps: [step('ask'), { ...step('then'), connection: { credential: 'patching' } }], ...rest },
        { ...t.caller, authority: new Authority(grants) },
      );

    it('is refused at each place if the author may use none of that name, and nothing is stored', async () => {
      const grants = [edits, uses({ kind: 'segment', id: segmentId + 1_000 })];
      const saving = saveBy('not mine', grants, { connection: { credential: 'nowhere' } });
      await expect(saving).rejects.toMatchObject({
        code: 'forbidden',
        permission: 'credentials.use',
        details: [
          { path: 'connection.credential', found: 'nowhere' },
          { path: 'steps[1].connection.credential', found: 'patching' },
        ],
      });
      expect(await t.sql`select from jobs where name = 'not mine'`).toHaveLength(0);
    });

    it('is saved if the author may use one in a segment, or on a target there', async () => {
      await saveBy('by segment', [edits, uses({ kind: 'segment', id: segmentId })], {});
      const target = await createTarget(t.sql, { segmentId, name: 'in a group', host: '10.0.0.1' }, t.caller);
      const [group] = await t.sql<{ id: number }[]>`
        insert into target_groups (name) values ('of the author') returning id`;
      const id = group?.id ?? 0;
      const grants = [edits, uses({ kind: 'target_group', id })];
      await expect(saveBy('by group', grants, {})).rejects.toMatchObject({ code: 'forbidden' });
      await t.sql`insert into target_group_members (target_group_id, target_id) values (${id}, ${target.id})`;
      await saveBy('by group', grants, {});
    });

    it('that its commands run as needs the same, and is reported like any other', async () => {
      const runAs = (name: string, credential: string, grants: Grant[]) =>
        saveBy(name, grants, {
          steps: [
            { name: 'ask', type: 'winrm.exec', config: { command: 'x' } },
            { name: 'w', type: 'winrm.exec', config: { command: 'x', run_as_credential: credential } },
          ],
        });
      const path = 'steps[1].config.run_as_credential';
      await expect(runAs('as another', 'patching', [edits])).rejects.toMatchObject({
        details: [{ path, found: 'patching' }],
      });
      const all = [edits, { ...edits, permission: 'credentials.use' } as const];
      const { id } = await runAs('as another', 'patching', all);
      const [credential] = await t.sql<{ id: string; name: string }[]>`
        select id, name from credentials where name = 'patching'`;
      const usage = await readCredentialUsage(
        t.sql,
        credential as { id: string; name: string },
        9,
        unrestricted,
      );
      expect(usage.jobs.items).toContainEqual({ id, name: 'as another' });
      const later = await runAs('as one to come', 'to come', all);
      const question = { knownStepTypes: [], deprecatedStepTypes: [], endedRuns: 1, failuresInARow: 1 };
      const found = await findJobFindings(t.sql, later.id, question, unrestricted);
      expect(found?.absentCredentials).toEqual([{ name: 'to come', step: 2 }]);
      // An inactive job no longer counts for health.
      await t.sql`update jobs set state = 'inactive' where id = ${later.id}`;
    });

    it('that do not exist yet is saved if the author may use all', async () => {
      expect((await save({ name: 'ahead', connection: { credential: 'later' } })).version).toBe(1);
    });
  });

  it('of one name by many at once happens once', async () => {
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => save({ name: 'raced' })));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });
});

describe('opening a version', () => {
  it('gives the definition and each step’s configuration', async () => {
    const job = await save({ name: 'opened', steps: [step('a'), step('b', { command: 'id', timeout: 5 })] });
    const version = await loadJobVersion(t, job.id, 1);
    expect({ ...version.definition, category: 'general' }).toEqual(job.definition);
    expect(version.stepConfigs[1]).toMatchObject({ command: 'id', timeout: 5 });
    // From memory: it is the same object.
    expect(await loadJobVersion(t, job.id, 1)).toBe(version);
  });

  it('fails for a row that was put in another job’s place, and with another master key', async () => {
    const [mine, other] = [await save({ name: 'mine' }), await save({ name: 'other' })];
    await t.sql`delete from job_versions where job_id = ${mine.id}`;
    await t.sql`
      insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
      select ${mine.id}, version, definition, checksum, step_names, step_types
        from job_versions where job_id = ${other.id}`;
    const fresh = { sql: t.sql, masterKey: { ...t.masterKey } };
    await expect(loadJobVersion(fresh, mine.id, 1)).rejects.toThrow(/altered or moved/);
    await expect(loadJobVersion({ sql: t.sql, masterKey: newMasterKey() }, other.id, 1)).rejects.toThrow(
      /master key/,
    );
  });

  it('fails for a version that was put in another version’s place', async () => {
    const { id } = await save({ name: 'rolled back' });
    await t.sql`
      insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
      select job_id, 2, definition, checksum, step_names, step_types from job_versions where job_id = ${id}`;
    await expect(loadJobVersion(t, id, 2)).rejects.toThrow(/altered or moved/);
  });

  it('of a job or version that does not exist is not found', async () => {
    await expect(loadJobVersion(t, 999_999, 1)).rejects.toMatchObject({ code: 'not_found' });
    await expect(getJob(t, 999_999, unrestricted)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('listing jobs', () => {
  it('includes the last 20 runs of each, newest first, and none for a job that never ran', async () => {
    const [ran, idle] = [await save({ name: 'list ran' }), await save({ name: 'list idle' })];
    await addRuns(ran.id, 25);
    const { items } = await listJobs(t.sql, { search: 'list ' }, unrestricted);
    expect(items.map((item) => item.name)).toEqual(['list idle', 'list ran']);
    expect(items[0]).toMatchObject({ id: idle.id, lastRuns: [] });
    const marks = items[1]?.lastRuns ?? [];
    expect(marks.map((mark) => mark.executionTimeMs)).toEqual(Array.from({ length: 20 }, (_, n) => 25 - n));
    expect(marks[0]?.createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Math.abs(Date.parse(marks[0]?.createdAt ?? '') - Date.now())).toBeLessThan(60_000);
  });

  it('searches name and description literally, and pages through the results', async () => {
    for (const n of [1, 2, 3]) await save({ name: `paged_${n}`, description: `100% of ${n}` });
    await save({ name: 'pagedX' });
    const names = async (search: string, limit = 50) =>
      (await listJobs(t.sql, { search, limit }, unrestricted)).items.map((item) => item.name);
    expect(await names('PAGED_')).toEqual(['paged_1', 'paged_2', 'paged_3']);
    expect(await names('00% of 2')).toEqual(['paged_2']);
    expect(await names("' or true --")).toEqual([]);
    const first = await listJobs(t.sql, { search: 'paged', limit: 2 }, unrestricted);
    const second = await listJobs(
      t.sql,
      { search: 'paged', limit: 2, cursor: first.nextCursor ?? '' },
      unrestricted,
    );
    expect([...first.items, ...second.items].map((item) => item.name).sort()).toEqual([
      'pagedX',
      'paged_1',
      'paged_2',
      'paged_3',
    ]);
    expect(second.nextCursor).toBeNull();
  });

  it('refuses a cursor of another list and text that cannot be searched', async () => {
    await expect(listJobs(t.sql, { cursor: 'abc' }, unrestricted)).rejects.toMatchObject({ code: 'invalid' });
    await expect(listJobs(t.sql, { search: '\0' }, unrestricted)).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('the health of jobs', () => {
  it('is ok until work waits without a connected agent, or a run can no longer begin', async () => {
    const before = await jobsHealth(t.sql, {}, unrestricted);
    expect(before.problems).toEqual(['1 active job names a credential that does not exist.']);
    expect(before.items).toMatchObject([{ name: 'ahead', problems: [{ kind: 'unknown_credential' }] }]);
    await t.sql`update jobs set state = 'inactive' where name = 'ahead'`;
    expect(await jobsHealth(t.sql, {}, unrestricted)).toMatchObject({ status: 'ok', problems: [] });
    const job = await save({ name: 'health' });
    const segment = await makeSegment(t, 'jobs-health');
    const [run] = await t.sql<{ id: number }[]>`
      insert into job_runs (job_id, job_version, data_key, targets_total, total_steps, start_by)
      values (${job.id}, 1, 'x', 1, 1, now() - interval '1 minute') returning id`;
    const runId = run?.id ?? 0;
    await t.sql`
      with tr as (insert into job_run_targets (job_run_id, segment_id, target_name)
                  values (${runId}, ${segment.id}, 'web-1') returning id)
      insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
      select ${runId}, tr.id, ${segment.id}, 1, 'ssh.exec', 310, 'ready' from tr`;
    await t.sql`update jobs set step_types = '{ssh.exec,carrier.pigeon}' where id = ${job.id}`;
    const health = await jobsHealth(t.sql, {}, unrestricted);
    expect(health).toMatchObject({ status: 'degraded', openRuns: 1 });
    expect(health.problems).toEqual([
      expect.stringMatching(
        /^Segment “jobs-health”: 1 step is ready, but no agent has been able to take it since \S+Z\. It has no agent: add one\.$/,
      ),
      '1 run has not begun, although the deadline to start has passed.',
      '1 active job uses a step type that this server does not know.',
    ]);
    expect(health.items).toMatchObject([
      {
        name: 'health',
        problems: [{ kind: 'unknown_step_type', message: expect.stringContaining('carrier.pigeon') }],
      },
    ]);
  });
});
