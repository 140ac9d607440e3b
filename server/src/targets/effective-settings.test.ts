// What a target inherits: the view that explains it and the lease that an agent gets must agree.
import type {
  EffectiveSetting,
  JobConnection,
  PutSegmentSettingsRequest,
  SettingName,
} from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../auth/authority.ts';
import { createCredential, deleteCredential } from '../credentials/edit-credentials.ts';
import { createJob } from '../jobs/create-job.ts';
import { LeaseBuilder } from '../runs/leases/lease-builder.ts';
import { startRun } from '../runs/start/start-run.ts';
import { blockedBackends, setupRuns, type TestRuns } from '../runs/testing.ts';
import { getSegmentSettings, putSegmentSettings } from '../segments/segment-settings.ts';
import { makeSegment, sealedCredentialRequest } from '../segments/testing.ts';
import { lockSegment } from '../store/agents/segments.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTargetGroup, updateTargetGroup } from '../target-groups/edit-target-groups.ts';
import { bulkChangeTargets } from './bulk-targets.ts';
import { createTarget, updateTarget } from './edit-targets.ts';
import { effectiveSettings } from './effective-settings.ts';
import { getTarget } from './list-targets.ts';
import { previewSelection } from './selection/preview-selection.ts';

let t: TestRuns;
const credentials: Record<string, string> = {};
let made = 0;
beforeAll(async () => {
  t = await setupRuns();
  for (const name of ['of-target', 'of-group', 'of-other-group', 'of-segment', 'of-job', 'of-step']) {
    const sealed = await sealedCredentialRequest(t, t.segmentId, name);
    credentials[name] = (await createCredential(t.sql, sealed, t.caller)).id;
  }
});
afterAll(() => t[Symbol.asyncDispose]());

const credential = (name: string) => credentials[name] ?? '';
const giveSegment = (settings: object, credentialName?: string) =>
  putSegmentSettings(
    t.sql,
    t.segmentId,
    { settings, credentialId: credentialName === undefined ? null : credential(credentialName) },
    t.caller,
  );

async function makeTarget(more: object = {}): Promise<number> {
  made += 1;
  const fields = { segmentId: t.segmentId, name: `target-${made}`, host: '10.0.0.1', ...more };
  return (await createTarget(t.sql, fields, t.caller)).id;
}

async function makeGroup(targetId: number, name: string, more: object): Promise<void> {
  await createTargetGroup(t.sql, { name: `${name}-${targetId}`, targetIds: [targetId], ...more }, t.caller);
}

async function makeJob(connection?: JobConnection, ofStep?: JobConnection): Promise<number> {
  made += 1;
  const config = { command: 'true' };
  const definition = {
    name: `job ${made}`,
    ...(connection && { connection }),
    steps: [
      { name: 'first', type: 'ssh.exec', config, ...(ofStep && { connection: ofStep }) },
      { name: 'second', type: 'ssh.exec', config },
    ],
  };
  return (await createJob(t, definition, t.caller)).id;
}

/** Returns `name: display (source)` for each setting, with what it overrides. */
async function explained(targetId: number, query: { job?: number; step?: number } = {}) {
  const { settings } = await effectiveSettings(t, targetId, query, t.caller.authority);
  const from = ({ source }: Pick<EffectiveSetting, 'source'>) =>
    source.kind === 'group' ? source.name.replace(/-\d+$/, '') : source.kind;
  return Object.fromEntries(
    settings.map((setting) => [
      setting.name,
      [setting, ...setting.overridden].map((one) => `${one.display} (${from(one)})`).join(' < '),
    ]),
  ) as Record<SettingName, string>;
}

/** Returns the lease of the first step of a run of the job on the target. */
async function leaseOf(targetId: number, jobId: number) {
  await startRun(t, { jobId, selection: { targetIds: [targetId] } }, t.caller);
  const steps = await t.claim();
  const { leases, unbuildable } = await new LeaseBuilder(t).build(steps);
  for (const { id } of steps) await t.sql`update job_run_steps set status = 'unknown' where id = ${id}`;
  const [lease] = leases.values();
  return { lease, refused: unbuildable[0]?.message };
}

describe('the effective settings of a target', () => {
  it('are the built-in ones if nothing sets any', async () => {
    await giveSegment({});
    expect(await explained(await makeTarget())).toEqual({
      protocol: 'ssh (default)',
      port: '22 (default)',
      username: 'from the credential (default)',
      connect_timeout: '10 s (default)',
      keepalive_interval: '15 s (default)',
      jump_hosts: 'none (default)',
      ssh_algorithms: 'current (default)',
      max_connections: '8 (default)',
      credential: 'none (default)',
    });
  });

  it('come from the most specific place that sets one, and list the others', async () => {
    await giveSegment({ port: 2200, username: 'segment', connect_timeout: 40 }, 'of-segment');
    const id = await makeTarget({
      port: 2222,
      credentialId: credential('of-target'),
      settings: { username: 'target' },
    });
    const group = { segmentId: t.segmentId, credentialId: credential('of-group') };
    const other = { segmentId: t.segmentId, credentialId: credential('of-other-group') };
    await makeGroup(id, 'b', { settings: { port: 1, keepalive_interval: 60 }, credentials: [other] });
    await makeGroup(id, 'a', { settings: { port: 2, connect_timeout: 20 }, credentials: [group] });
    await makeGroup(id, 'high', { priority: 1, settings: { port: 3, username: 'high' } });
    const job = await makeJob(
      { username: 'job', connect_timeout: 7 },
      { username: 'step', credential: 'of-step' },
    );
    expect(await explained(id, { job })).toEqual({
      protocol: 'ssh (default)',
      port: '2222 (target) < 3 (high) < 2 (a) < 1 (b) < 2200 (segment) < 22 (default)',
      username:
        'step (step) < job (job) < target (target) < high (high) < segment (segment) < from the credential (default)',
      connect_timeout: '7 s (job) < 20 s (a) < 40 s (segment) < 10 s (default)',
      keepalive_interval: '60 s (b) < 15 s (default)',
      jump_hosts: 'none (default)',
      ssh_algorithms: 'current (default)',
      max_connections: '8 (default)',
      credential:
        'of-step (step) < of-target (target) < of-group (a) < of-other-group (b) < of-segment (segment)',
    });
    expect((await explained(id, { job, step: 2 })).username).toMatch(/^job \(job\) < target/);
    expect((await explained(id)).connect_timeout).toBe('20 s (a) < 40 s (segment) < 10 s (default)');
    const { lease } = await leaseOf(id, job);
    expect(lease?.target).toMatchObject({
      port: 2222,
      username: 'step',
      connectTimeoutS: 7,
      keepaliveIntervalS: 60,
    });
    expect(lease?.credential.id).toBe(credential('of-step'));
  });

  it.each([
    ['of a group by priority', { priority: 1 }, 'of-other-group', 2002],
    ['of a group by name, of equal priority', {}, 'of-group', 2001],
  ])('have port and credential %s', async (_, more, expected, port) => {
    await giveSegment({ port: 2200 }, 'of-segment');
    const id = await makeTarget();
    const of = (name: string) => [{ segmentId: t.segmentId, credentialId: credential(name) }];
    await makeGroup(id, 'b', { ...more, settings: { port: 2002 }, credentials: of('of-other-group') });
    await makeGroup(id, 'a', { settings: { port: 2001 }, credentials: of('of-group') });
    const target = await getTarget(t.sql, id, unrestricted);
    expect(target.effective).toEqual({
      protocol: 'ssh',
      port,
      credentialId: credential(expected),
      credentialName: expected,
    });
    expect((await explained(id)).credential).toMatch(new RegExp(`^${expected} `));
    const { lease } = await leaseOf(id, await makeJob());
    expect(lease?.credential.id).toBe(credential(expected));
    expect(lease?.target).toMatchObject({ port });
    expect((await explained(id)).port).toMatch(new RegExp(`^${port} `));
    expect(lease?.target).not.toHaveProperty('username');
  });

  it('include the jump hosts on the way, each with its credential, and those before a jump host on the way to it', async () => {
    const outer = await makeTarget({ credentialId: credential('of-target'), settings: { username: 'hop' } });
    const inner = await makeTarget({ port: 2022 });
    const [outerName, innerName] = [`target-${made - 1}`, `target-${made}`];
    await giveSegment({ jump_hosts: [outerName, innerName], ssh_algorithms: 'legacy' }, 'of-segment');
    const id = await makeTarget({ settings: { max_connections: 2 } });
    expect(await explained(id)).toMatchObject({
      jump_hosts: `${outerName}, then ${innerName} (segment) < none (default)`,
      ssh_algorithms: 'legacy (segment) < current (default)',
    });
    expect((await explained(inner)).jump_hosts).toMatch(`${outerName} (segment)`);
    expect((await explained(outer)).jump_hosts).toMatch('none (segment)');
    const job = await makeJob();
    const { lease } = await leaseOf(id, job);
    expect(lease?.target).toMatchObject({ algorithms: 'legacy', maxConnections: 2 });
    expect(lease?.target.jumps).toMatchObject([
      {
        target: { id: outer, name: outerName, username: 'hop' },
        credential: { id: credential('of-target') },
      },
      { target: { id: inner, name: innerName, port: 2022 }, credential: { id: credential('of-segment') } },
    ]);
    expect((await leaseOf(inner, job)).lease?.target.jumps).toHaveLength(1);
    expect((await leaseOf(outer, job)).lease?.target).not.toHaveProperty('jumps');
    await t.sql`update targets set name = 'renamed' where id = ${inner}`;
    expect((await leaseOf(id, job)).refused).toContain(`no target with the name of jump host “${innerName}”`);
    const { settings } = await effectiveSettings(t, id, {}, t.caller.authority);
    expect(settings.find(({ name }) => name === 'jump_hosts')?.problem).toContain(innerName);
    await giveSegment({}, 'of-segment');
  });

  it('refuse a jump host that does not exist, or whose credential the caller may not use', async () => {
    await giveSegment({});
    await expect(makeTarget({ settings: { jump_hosts: ['nobody'] } })).rejects.toMatchObject({
      details: [{ path: 'settings.jump_hosts[0]' }],
    });
    const hop = await getTarget(t.sql, await makeTarget(), unrestricted);
    const scope = { kind: 'segment', id: t.segmentId } as const;
    const mayEdit = [
      { role: null, permission: 'read', scope },
      { role: null, permission: 'targets.edit', scope },
    ] as const;
    const editor = { ...t.caller, authority: new Authority([...mayEdit]) };
    const fields = { segmentId: t.segmentId, name: 'behind', host: '10.0.0.9' };
    const naming = { ...fields, settings: { jump_hosts: [hop.name] } };
    await expect(createTarget(t.sql, naming, editor)).rejects.toMatchObject({ code: 'forbidden' });
    // A caller who may not see it does not learn that it exists.
    const own = await getTarget(t.sql, await makeTarget(), unrestricted);
    const { id } = await createTargetGroup(t.sql, { name: 'few', targetIds: [own.id] }, t.caller);
    const ofFew = mayEdit.map((grant) => ({ ...grant, scope: { kind: 'target_group', id } as const }));
    const stranger = { ...t.caller, authority: new Authority(ofFew) };
    const change = { name: own.name, host: own.host, settings: { jump_hosts: [hop.name] } };
    await expect(updateTarget(t.sql, own.id, change, stranger)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ message: expect.stringContaining('There is no target named') }],
    });
  });

  it('can name a credential that the segment does not have, but no run is started with it', async () => {
    await giveSegment({}, 'of-segment');
    const id = await makeTarget();
    const job = await makeJob({ credential: 'nowhere' }, { credential: 'of-job' });
    const { settings } = await effectiveSettings(t, id, { job, step: 2 }, t.caller.authority);
    expect(settings.find((setting) => setting.name === 'credential')).toMatchObject({
      value: null,
      display: 'nowhere',
      problem: 'Segment “dmz-1” has no credential named “nowhere”.',
      overridden: [{ display: 'of-segment' }],
    });
    const refused = leaseOf(id, job);
    await expect(refused).rejects.toThrow('has no credential named “nowhere”, which the job asks for');
  });

  it('need no credential of the target if every step names one, and are looked up when a step is leased', async () => {
    await giveSegment({});
    const id = await makeTarget();
    const named = await makeJob({ credential: 'of-job' });
    const { lease } = await leaseOf(id, named);
    expect(lease?.credential.id).toBe(credential('of-job'));
    const half = await makeJob(undefined, { credential: 'of-step' });
    await expect(leaseOf(id, half)).rejects.toThrow('has no credential');
    await startRun(t, { jobId: named, selection: { targetIds: [id] } }, t.caller);
    await t.sql`update credentials set name = 'renamed' where id = ${credential('of-job')}`;
    const { unbuildable } = await new LeaseBuilder(t).build(await t.claim());
    await t.sql`update credentials set name = 'of-job' where id = ${credential('of-job')}`;
    expect(unbuildable.map((one) => one.message)).toEqual([
      expect.stringContaining('no credential named “of-job” any more'),
    ]);
  });

  it('need the right to read target and job, and an existing step', async () => {
    const id = await makeTarget();
    const job = await makeJob();
    const scope = { kind: 'segment', id: t.segmentId } as const;
    const reader = new Authority([{ role: 'viewer', permission: null, scope }]);
    const elsewhere = { kind: 'segment', id: (await makeSegment(t, 'elsewhere')).id } as const;
    const stranger = new Authority([{ role: 'viewer', permission: null, scope: elsewhere }]);
    expect((await effectiveSettings(t, id, {}, reader)).settings).toHaveLength(9);
    await expect(effectiveSettings(t, id, { job }, reader)).rejects.toMatchObject({ code: 'not_found' });
    await expect(effectiveSettings(t, id, {}, stranger)).rejects.toMatchObject({ code: 'not_found' });
    const { authority } = t.caller;
    await expect(effectiveSettings(t, id, { job, step: 3 }, authority)).rejects.toMatchObject({
      code: 'invalid',
    });
    await expect(effectiveSettings(t, id, { step: 1 }, authority)).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('the settings of a segment', () => {
  it('accept only a credential of the segment, and only from callers who may use it', async () => {
    const other = await makeSegment(t, 'other');
    const request = { settings: {}, credentialId: credential('of-segment') };
    await expect(putSegmentSettings(t.sql, other.id, request, t.caller)).rejects.toMatchObject({
      details: [{ path: 'credentialId' }],
    });
    await giveSegment({});
    const scope = { kind: 'segment', id: t.segmentId } as const;
    const editor = {
      ...t.caller,
      authority: new Authority([
        { role: 'viewer', permission: null, scope },
        { role: null, permission: 'segments.edit', scope },
      ]),
    };
    await expect(putSegmentSettings(t.sql, t.segmentId, request, editor)).rejects.toMatchObject({
      permission: 'credentials.use',
    });
    await putSegmentSettings(t.sql, t.segmentId, { settings: { port: 23 }, credentialId: null }, editor);
    await putSegmentSettings(t.sql, t.segmentId, { ...request, settings: { port: 23 } }, t.caller);
    expect(await getSegmentSettings(t.sql, t.segmentId, editor)).toEqual({
      settings: { port: 23 },
      credentialId: credential('of-segment'),
      credentialName: 'of-segment',
    });
  });
});

describe('of two callers who change what a segment gives', () => {
  it('neither undoes the other’s change, and the later change is refused if it is of the same field', async () => {
    const segment = await makeSegment(t, 'two-hands');
    const put = (request: PutSegmentSettingsRequest) =>
      putSegmentSettings(t.sql, segment.id, request, t.caller);
    await put({ settings: { port: 23 }, credentialId: null });
    await put({ settings: { port: 24 }, expected: { settings: { port: 23 } } });
    expect(await put({ credentialId: null, expected: { credentialId: null } })).toMatchObject({
      settings: { port: 24 },
    });
    await expect(put({ settings: { port: 25 }, expected: { settings: { port: 23 } } })).rejects.toMatchObject(
      {
        code: 'conflict',
        details: [{ path: 'expected.settings', message: 'Is {"port":24} by now.' }],
      },
    );
    expect((await getSegmentSettings(t.sql, segment.id, t.caller)).settings).toEqual({ port: 24 });
  });

  it('a caller who may use no credentials can’t restore one that is removed at the same time', async () => {
    const scope = { kind: 'segment', id: t.segmentId } as const;
    const editor = {
      ...t.caller,
      authority: new Authority([
        { role: 'viewer', permission: null, scope },
        { role: null, permission: 'segments.edit', scope },
      ]),
    };
    await giveSegment({}, 'of-segment');
    const asOpened = { settings: { port: 26 }, credentialId: credential('of-segment') };
    const results = await inTransaction(t.sql, async (tx) => {
      await lockSegment(tx, t.segmentId);
      const taken = giveSegment({});
      await blockedBackends(t.sql, 1);
      const put = putSegmentSettings(t.sql, t.segmentId, asOpened, editor);
      await blockedBackends(t.sql, 2);
      return { both: Promise.allSettled([taken, put]) };
    });
    expect(await results.both).toMatchObject([
      { status: 'fulfilled', value: { credentialId: null } },
      { status: 'rejected', reason: { permission: 'credentials.use' } },
    ]);
    await giveSegment({});
  });
});

it('a credential that a group or the segment gives is not deleted', async () => {
  const sealed = await sealedCredentialRequest(t, t.segmentId, 'given');
  const { id } = await createCredential(t.sql, sealed, t.caller);
  await putSegmentSettings(t.sql, t.segmentId, { settings: {}, credentialId: id }, t.caller);
  const credentials = [{ segmentId: t.segmentId, credentialId: id }];
  const group = await createTargetGroup(t.sql, { name: 'gives', credentials }, t.caller);
  const deleting = () => deleteCredential(t.sql, id, t.caller);
  await expect(deleting()).rejects.toThrow('by 1 target group and its segment');
  await updateTargetGroup(t.sql, group.id, { name: 'gives', credentials: [] }, t.caller);
  await expect(deleting()).rejects.toMatchObject({ code: 'conflict' });
  await giveSegment({});
  await deleting();
});

it('one credential is given to many targets of a segment, and removed again', async () => {
  const ids = [await makeTarget(), await makeTarget()];
  const selection = { targetIds: ids };
  const give = { selection, credentialId: credential('of-target') };
  expect(await bulkChangeTargets(t.sql, { ...give, dryRun: true }, t.caller)).toMatchObject({ changed: 2 });
  expect(await bulkChangeTargets(t.sql, give, t.caller)).toMatchObject({ changed: 2 });
  expect(await bulkChangeTargets(t.sql, give, t.caller)).toMatchObject({ changed: 0 });
  const { segmentName } = await getTarget(t.sql, ids[0] ?? 0, unrestricted);
  const preview = await previewSelection(t.sql, selection, t.caller.authority);
  expect(preview.credentials).toEqual([{ name: 'of-target', segmentName, count: 2 }]);
  const jobId = await makeJob({ credential: 'of-job' });
  const ofJob = await previewSelection(t.sql, { ...selection, jobId }, t.caller.authority);
  expect(ofJob.credentials).toEqual([{ name: 'of-job', segmentName, count: 2 }]);
  expect(await bulkChangeTargets(t.sql, { selection, credentialId: null }, t.caller)).toMatchObject({
    changed: 2,
  });

  const other = await makeSegment(t, 'far-away');
  const outside = await createTarget(t.sql, { segmentId: other.id, name: 'x', host: 'x.example' }, t.caller);
  for (const targetIds of [[outside.id], [...ids, outside.id]]) {
    const request = { ...give, selection: { targetIds } };
    await expect(bulkChangeTargets(t.sql, request, t.caller)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'credentialId' }],
    });
  }
});

it('a credential is given only by callers who may use it on each of the targets', async () => {
  const id = await makeTarget();
  const scope = { kind: 'segment', id: t.segmentId } as const;
  const authority = new Authority(
    (['read', 'targets.edit'] as const).map((permission) => ({ role: null, permission, scope })),
  );
  const request = { selection: { targetIds: [id] }, credentialId: credential('of-target') };
  await expect(bulkChangeTargets(t.sql, request, { ...t.caller, authority })).rejects.toMatchObject({
    code: 'forbidden',
  });
});
