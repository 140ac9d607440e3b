import { canonicalJson } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listVersionNames } from '../../store/jobs/job-versions.ts';
import { unrestricted } from '../../store/people/visibility.ts';

import { changeState } from '../life/change-state.ts';
import { moveJob } from '../settings/move-job.ts';
import { setupJobs, step, type TestJobs } from '../testing.ts';
import { jobHistory } from './job-history.ts';
import { compareVersions, getVersion, listVersions } from './read-versions.ts';
import { resolveVersion } from './resolve-version.ts';
import { rollBack } from './roll-back.ts';
import { removeVersionName, setVersionName } from './version-names.ts';

let t: TestJobs;
beforeAll(async () => {
  t = await setupJobs();
});
afterAll(() => t.close());

const tag = (id: number, name: string, version: number) =>
  setVersionName(t.sql, id, { name, kind: 'tag', version }, t.caller);
const channel = (id: number, name: string, version: number) =>
  setVersionName(t.sql, id, { name, kind: 'channel', version }, t.caller);

describe('rolling back', () => {
  it('to any version makes a new one with exactly the same definition', async () => {
    const job = await t.create({ name: 'rolled', description: 'one' });
    const commands = ['id', 'echo \'$x\' "\u00e9" \\\n', 'cat <<END\n  two\nEND\n'];
    for (const command of commands) await t.change(job.id, { steps: [step('ask', { command })] as never });
    await t.change(job.id, {
      name: 'renamed',
      timeout: 60,
      locks: [{ name: 'db', mode: 'exclusive' }] as never,
    });
    const count = (await t.get(job.id)).version;
    expect(count).toBe(5);
    for (let version = 1; version < count; version += 1) {
      const before = await getVersion(t, job.id, String(version), unrestricted);
      const reply = await rollBack(t, job.id, { version, note: `back to ${version}` }, t.caller);
      const now = await getVersion(t, job.id, String(reply.job.version), unrestricted);
      expect(canonicalJson(now.definition)).toBe(canonicalJson(before.definition));
      expect(now).toMatchObject({
        version: count + version,
        checksum: before.checksum,
        restores: version,
        note: `back to ${version}`,
      });
      expect(reply.job).toMatchObject({ name: before.definition.name, checksum: before.checksum });
    }
  });

  it('keeps category, labels and state, which belong to no version', async () => {
    await t.sql`insert into categories (name) values ('kept')`;
    const job = await t.create({ name: 'beside' });
    await t.change(job.id, { timeout: 60 });
    await t.change(job.id, { category: 'kept', labels: { env: 'prod' } });
    const { job: back } = await rollBack(t, job.id, { version: 1 }, t.caller);
    expect(back).toMatchObject({ version: 3, category: 'kept', labels: { env: 'prod' } });
  });

  it('is refused if it changes nothing, if the version does not exist, or if it comes too late', async () => {
    const job = await t.create({ name: 'refused' });
    await expect(rollBack(t, job.id, { version: 1 }, t.caller)).rejects.toMatchObject({ code: 'conflict' });
    await expect(rollBack(t, job.id, { version: 7 }, t.caller)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'version', found: '7' }],
    });
    await t.change(job.id, { timeout: 60 });
    const stale = rollBack(t, job.id, { version: 1, expectedVersion: 1 }, t.caller);
    await expect(stale).rejects.toMatchObject({ code: 'conflict', conflict: { theirs: { version: 2 } } });
  });

  it('is refused if the name is taken by now, or if today’s rules would refuse the definition', async () => {
    const job = await t.create({ name: 'old name' });
    await t.change(job.id, { name: 'new name' });
    await t.create({ name: 'old name' });
    const taken = rollBack(t, job.id, { version: 1 }, t.caller);
    await expect(taken).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'name' }] });

    // Like a version from before a rule existed: two steps have the same name.
    const { encodeDefinition, sealDefinition } = await import('../definition/seal-definition.ts');
    const outdated = { name: 'outdated', steps: [step('a'), step('a')] } as never;
    const [row] = await t.sql<{ dataKey: string }[]>`select data_key from jobs where id = ${job.id}`;
    const { bytes, checksum } = encodeDefinition(outdated);
    const sealed = sealDefinition(t.masterKey, job.id, 3, { dataKey: row?.dataKey ?? '', bytes });
    await t.sql`
      insert into job_versions (job_id, version, definition, checksum, step_names, step_types)
      values (${job.id}, 3, ${sealed}, ${checksum}, '{a,a}', '{ssh.exec,ssh.exec}')`;
    await t.sql`update jobs set version = 3 where id = ${job.id}`;
    await t.change(job.id, { steps: [step('a')] as never });
    const refused = rollBack(t, job.id, { version: 3 }, t.caller);
    await expect(refused).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/^Version 3 is not valid under today’s rules.* Edit the job instead\.$/),
      details: [{ path: 'steps[1].name' }],
    });
  });
});

describe('tags and channels', () => {
  it('name versions: a tag stays, a channel moves', async () => {
    const job = await t.create({ name: 'named' });
    await t.change(job.id, { timeout: 60 });
    expect(await tag(job.id, '2026.11', 1)).toMatchObject({
      name: '2026.11',
      kind: 'tag',
      version: 1,
      setBy: 'ada',
    });
    await channel(job.id, 'stable', 1);
    await channel(job.id, 'stable', 2);
    await tag(job.id, '2026.11', 1);
    await expect(tag(job.id, '2026.11', 2)).rejects.toMatchObject({ code: 'conflict' });
    await expect(
      t.sql`update job_version_names set version = 2 where job_id = ${job.id} and kind = 'tag'`,
    ).rejects.toThrow('never moves');
    expect(await resolveVersion(t.sql, job.id, '2026.11')).toBe(1);
    expect(await resolveVersion(t.sql, job.id, 'stable')).toBe(2);
    expect(await resolveVersion(t.sql, job.id, 2)).toBe(2);
    await expect(resolveVersion(t.sql, job.id, 'nightly')).rejects.toMatchObject({ code: 'invalid' });
    const { items } = await listVersions(t.sql, job.id, {}, unrestricted);
    expect(items.map(({ version, names }) => [version, names.map(({ name }) => name)])).toEqual([
      [2, ['stable']],
      [1, ['2026.11']],
    ]);
    expect((await getVersion(t, job.id, 'stable', unrestricted)).version).toBe(2);
  });

  it('share one set of names, name only existing versions, and are deleted as the kind that they are', async () => {
    const job = await t.create({ name: 'shared names' });
    await tag(job.id, 'v1', 1);
    await expect(channel(job.id, 'v1', 1)).rejects.toMatchObject({ code: 'conflict' });
    await expect(channel(job.id, 'next', 2)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'version' }],
    });
    const remove = (name: string, kind: 'tag' | 'channel') =>
      removeVersionName(t.sql, job.id, { name, kind }, t.caller);
    await expect(remove('v1', 'channel')).rejects.toMatchObject({ code: 'conflict' });
    await expect(remove('v2', 'tag')).rejects.toMatchObject({ code: 'not_found' });
    await remove('v1', 'tag');
    expect(await listVersionNames(t.sql, job.id)).toEqual([]);
    // It was deleted on purpose, which is audited, so the name may be used again.
    await channel(job.id, 'v1', 1);
  });
});

it('versions are compared by number or name, by default with the current one', async () => {
  const job = await t.create({ name: 'compared' });
  await t.change(job.id, { timeout: 60 }, { note: 'slower' });
  await t.change(job.id, { timeout: 90 });
  await tag(job.id, 'first', 1);
  const compare = (query: { from: string; to?: string }) => compareVersions(t, job.id, query, unrestricted);
  expect(await compare({ from: 'first' })).toMatchObject({
    from: { version: 1, createdBy: 'ada' },
    to: { version: 3 },
    isSame: false,
    changes: [{ path: 'timeout', kind: 'added', after: 90 }],
  });
  expect(await compare({ from: '3', to: '2' })).toMatchObject({
    to: { note: 'slower' },
    changes: [{ path: 'timeout', kind: 'changed', before: 90, after: 60 }],
  });
  expect(await compare({ from: '3', to: '3' })).toMatchObject({ isSame: true, changes: [] });
  await expect(compare({ from: '9' })).rejects.toMatchObject({ details: [{ path: 'query.from' }] });
});

it('versions come in pages, newest first', async () => {
  const job = await t.create({ name: 'paged' });
  for (let n = 1; n <= 6; n += 1) await t.change(job.id, { timeout: n });
  const first = await listVersions(t.sql, job.id, { limit: 4 }, unrestricted);
  const second = await listVersions(
    t.sql,
    job.id,
    { limit: 4, cursor: first.nextCursor ?? '' },
    unrestricted,
  );
  expect([...first.items, ...second.items].map(({ version }) => version)).toEqual([7, 6, 5, 4, 3, 2, 1]);
  expect(second.nextCursor).toBeNull();
});

describe('the history of a job', () => {
  it('lists everything that was done to it, newest first, page by page', async () => {
    const [night] = await t.sql<
      { id: number }[]
    >`insert into categories (name) values ('hidden') returning id`;
    const job = await t.create({ name: 'lived' }, { note: 'to begin with' });
    await t.change(job.id, { timeout: 60 }, { note: 'slow hosts' });
    await tag(job.id, '2026.11', 2);
    await channel(job.id, 'stable', 1);
    await channel(job.id, 'stable', 2);
    await t.change(job.id, { labels: { env: 'prod' } });
    await changeState(t, job.id, { state: 'inactive', note: 'over Christmas' }, t.caller);
    await rollBack(t, job.id, { version: 1 }, t.caller);
    await removeVersionName(t.sql, job.id, { name: 'stable', kind: 'channel' }, t.caller);
    await moveJob(t, job.id, { category: 'hidden' }, t.caller);
    const whole = await jobHistory(t.sql, job.id, {}, unrestricted);
    expect(whole.items.map(({ kind, summary, note }) => [kind, summary, note])).toEqual([
      ['moved', 'Moved from “general” to “hidden”', ''],
      ['channel_removed', 'Deleted channel “stable”, which named version 2', ''],
      ['rolled_back', 'Rolled back to version 1, as version 3', ''],
      ['state', 'Changed state from active to inactive', 'over Christmas'],
      ['labelled', 'Changed labels from none to env=prod', ''],
      ['channel_set', 'Moved channel “stable” from version 1 to version 2', ''],
      ['channel_set', 'Set channel “stable” to version 1', ''],
      ['tagged', 'Tagged version 2 as “2026.11”', ''],
      ['saved', 'Saved version 2', 'slow hosts'],
      ['created', 'Created', 'to begin with'],
    ]);
    const paged: string[] = [];
    for (let cursor: string | undefined, more = true; more; ) {
      const page = await jobHistory(t.sql, job.id, { limit: 3, ...(cursor && { cursor }) }, unrestricted);
      paged.push(...page.items.map(({ summary }) => summary));
      cursor = page.nextCursor ?? undefined;
      more = cursor !== undefined;
    }
    expect(paged).toEqual(whole.items.map(({ summary }) => summary));
    const limited = t.callerWith({
      role: 'viewer',
      permission: null,
      scope: { kind: 'category', id: night?.id ?? 0 },
    });
    const seen = await jobHistory(t.sql, job.id, { limit: 1 }, limited.authority.reach('read'));
    expect(seen.items[0]?.summary).toBe('Moved from a category that you can’t see to “hidden”');
  });
});
