// Reading runs over HTTP: their target runs, steps, stream and connections.
import type { Run, RunDetail, RunSteps, SshConnectionPage, TargetRunPage } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { deleteJob } from '../../../jobs/life/delete-job.ts';
import { chunkOf } from '../../../runs/output/output-testing.ts';
import { endOf, growRun } from '../../../runs/testing.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

test('a run says whether its reader may run and edit its job, and cancel and purge the run', async () => {
  const runId = await t.start();
  const told = async (token?: string) => {
    const { body } = await t.ask('GET', `runs/${runId}`, token === undefined ? {} : { token });
    const { mayRun, mayCancel, mayPurge, mayEdit } = body as RunDetail;
    return { mayRun, mayCancel, mayPurge, mayEdit };
  };
  const reader = await t.app.user('eve', ['viewer']);
  const local = await t.app.user('lea', ['viewer']);
  await t.sql`insert into role_grants (user_id, role, segment_id) values (${local.id}, 'operator', ${t.segmentId})`;
  expect(await told()).toEqual({ mayRun: true, mayCancel: true, mayPurge: true, mayEdit: true });
  const none = { mayPurge: false, mayEdit: false };
  expect(await told(reader.token)).toEqual({ mayRun: false, mayCancel: false, ...none });
  expect(await told(local.token)).toEqual({ mayRun: false, mayCancel: true, ...none });
  expect((await t.ask('POST', `executor/cancel/${runId}`, reader)).status).toBe(403);
  expect((await t.ask('POST', `executor/cancel/${runId}`, local)).status).toBe(202);
});

test('a run of a deleted job says so, and can’t be run again', async () => {
  const { runId } = await t.endedRun();
  const { body } = await t.ask('GET', `runs/${runId}`);
  expect(body).toMatchObject({ mayRun: true });
  expect(body).not.toHaveProperty('isJobDeleted');
  await deleteJob(t.sql, (body as RunDetail).jobId, t.caller);
  expect((await t.ask('GET', `runs/${runId}`)).body).toMatchObject({
    mayRun: false,
    mayEdit: false,
    isJobDeleted: true,
  });
});

describe('the hosts of a large run', () => {
  test('are listed without their steps, many per page', async () => {
    const runId = await t.start({ steps: 3 });
    await growRun(t.sql, runId, 1_500);
    const page = async (query: string) =>
      (await t.ask('GET', `runs/${runId}/target-runs${query}`)).body as TargetRunPage;
    const first = await page('?limit=1000');
    expect(first.items).toHaveLength(1_000);
    expect(first.items[0]).toMatchObject({ targetName: 'host-1', status: 'queued', startedAt: null });
    const rest = await page(`?limit=1000&cursor=${first.nextCursor}`);
    expect(rest).toMatchObject({ nextCursor: null });
    const ids = [...first.items, ...rest.items].map(({ id }) => id);
    expect([new Set(ids).size, ids]).toEqual([1_500, [...ids].sort((a, b) => a - b)]);
    expect((await page('')).items).toHaveLength(50);
    expect(await t.ask('GET', `runs/${runId}/target-runs?limit=1001`)).toMatchObject({ status: 400 });
  });

  test('are listed without those that the caller may not run the job on, if asked', async () => {
    const runId = await t.start({ targets: 3 });
    const targets = await t.sql<{ id: number; name: string }[]>`
      select target_id as id, target_name as name from job_run_targets where job_run_id = ${runId} order by id`;
    const [mine, seen, other] = targets;
    const reader = await t.app.user('eve', ['viewer']);
    const page = async (query: string, who: { token?: string } = {}) => {
      const { items, nextCursor } = (await t.ask('GET', `runs/${runId}/target-runs${query}`, who))
        .body as TargetRunPage;
      return { names: items.map(({ targetName }) => targetName), more: nextCursor !== null };
    };
    const all = { names: [mine?.name, seen?.name, other?.name], more: false };
    expect(await page('?mayRun=true')).toEqual(all);
    expect(await page('?mayRun=true', reader)).toEqual({ names: [], more: false });
    const [group] = await t.sql<
      { id: number }[]
    >`insert into target_groups (name) values ('mine') returning id`;
    await t.sql`insert into target_group_members (target_group_id, target_id) values (${group?.id ?? 0}, ${mine?.id ?? 0})`;
    await t.sql`insert into role_grants (user_id, role, target_group_id) values (${reader.id}, 'operator', ${group?.id ?? 0})`;
    t.app.authenticator.forgetUser(reader.id);
    expect(await page('?mayRun=true', reader)).toEqual({ names: [mine?.name], more: false });
    expect(await page('?mayRun=false', reader)).toEqual(all);
    // Pages go on behind those that are left out.
    expect(await page('?mayRun=true&limit=1', reader)).toEqual({ names: [mine?.name], more: true });
    // Why else it could not be run on is said elsewhere; that a target is gone, by leaving it out.
    await t.sql`update targets set is_active = false where id = ${mine?.id ?? 0}`;
    expect(await page('?mayRun=true', reader)).toEqual({ names: [mine?.name], more: false });
  });

  test('can be read with their steps for some of them, and no answer has more than a few thousand', async () => {
    const runId = await t.start({ steps: 50 });
    await growRun(t.sql, runId, 120);
    const read = async (query: string) =>
      (await t.ask('GET', `runs/${runId}/steps${query}`)).body as RunSteps;
    const page = await read('?limit=200');
    expect([page.targetRuns.length, page.steps.length]).toEqual([40, 2_000]);
    const [first, second] = page.targetRuns.map(({ id }) => id);
    const some = await read(`?targetRunIds=${second},${first},999999`);
    expect(some.targetRuns.map(({ id }) => id)).toEqual([first, second]);
    expect(some.steps).toHaveLength(100);
    expect(some.nextCursor).toBeNull();
    const one = await read(`?targetRunIds=${second},${first}&targetRunId=${first}`);
    expect(one.targetRuns.map(({ id }) => id)).toEqual([first]);
    // Target runs of another run are not found through this one.
    const other = await t.start();
    expect((await t.ask('GET', `runs/${other}/steps?targetRunIds=${first}`)).body).toMatchObject({
      steps: [],
    });
    for (const wrong of ['', '1,', 'all', Array.from({ length: 101 }, (_, n) => n + 1).join()])
      expect(await t.ask('GET', `runs/${runId}/steps?targetRunIds=${wrong}`)).toMatchObject({ status: 400 });
  });
});

describe('the stream of an ended run', () => {
  const events = async (run: { runId: number }, headers: Record<string, string>, query = 'output=all') => {
    const reply = await t.request('GET', `runs/${run.runId}/events?${query}`, { headers });
    return [...(await reply.text()).matchAll(/^event: (\w+)$/gm)].map((match) => match[1]);
  };

  test('ends for a reader whose Last-Event-ID is beyond what is stored, in attempts or output', async () => {
    const run = await t.endedRun();
    const { eventSeq } = (await t.ask('GET', `runs/${run.runId}`)).body as Run;
    const step = run.lease.id;
    const from = (id: string) => events(run, { 'Last-Event-ID': id });
    expect(await from(`${eventSeq}~${step}.1.2`)).toEqual(['end']);
    expect(await from(`${eventSeq}~${step}.1.3`)).toEqual(['end']);
    expect(await from(`${eventSeq}~${step}.1.9999999999`)).toEqual(['end']);
    expect(await from(`${eventSeq}~999999999999999.9999999999.9999999999~${step}.1.2`)).toEqual(['end']);
    expect(await from(`${eventSeq}~${step}.9999999999.1`)).toEqual(['chunk', 'chunk', 'end']);
    expect(await events(run, {}, `after=9007199254740991&output=${step}`)).toEqual(['chunk', 'chunk', 'end']);
    expect(await events(run, {}, 'output=999999999999999')).toEqual(['change', 'end']);
    const beyond = await t.ask('GET', `runs/${run.runId}/events?output=9223372036854775807`);
    expect(beyond).toMatchObject({ status: 400, body: { error: { details: [{ path: 'query.output' }] } } });
  });

  test('starts over for a reader whose Last-Event-ID is beyond the last event, as after a restore', async () => {
    const run = await t.endedRun();
    const { eventSeq } = (await t.ask('GET', `runs/${run.runId}`)).body as Run;
    const all = await events(run, {});
    expect(all).toEqual(['chunk', 'chunk', 'change', 'end']);
    for (const id of [`${eventSeq + 1}~${run.lease.id}.1.2`, '999999999999999'])
      expect(await events(run, { 'Last-Event-ID': id })).toEqual(all);
  });
});

describe('the SSH connections of a run', () => {
  const connections = async (runId: number, query = '') =>
    (await t.ask('GET', `runs/${runId}/ssh-connections${query}`)).body as SshConnectionPage;
  const over = (sessionId: string, establishedAt = '2026-05-01T10:00:00.000Z', reused = false) => ({
    status: 'succeeded' as const,
    exitCode: 0,
    ssh: { sessionId, establishedAt, reused },
  });

  test('are listed, with the commands and bytes that each carried', async () => {
    const runId = await t.start({ steps: 4 });
    const first = await t.claimOne();
    await t.send(first, chunkOf(first, 1, 'one\n'));
    await t.settle(endOf(first, over('ssh-1')));
    const second = await t.claimOne();
    await t.send(second, chunkOf(second, 1, 'three\n'));
    await t.settle(endOf(second, over('ssh-1', undefined, true)));
    await t.settle(endOf(await t.claimOne(), over('ssh-2', '2026-05-01T10:05:00+02:00')));
    const { ssh } = over('ssh-2');
    const notBegun = { status: 'failed' as const, reason: 'working_directory' as const, ssh };
    await t.settle(endOf(await t.claimOne(), notBegun));
    const [target] = await t.sql<{ id: number; targetName: string }[]>`
      select id, target_name from job_run_targets where job_run_id = ${runId}`;
    const on = { id: expect.any(Number), targetRunId: target?.id, targetName: target?.targetName };
    const by = { agentName: t.agent.name, filesTransferred: 0 };
    const all = await connections(runId);
    expect(all).toEqual({
      items: [
        {
          ...on,
          ...by,
          sessionId: 'ssh-1',
          establishedAt: '2026-05-01T10:00:00.000Z',
          commandsExecuted: 2,
          totalBytesTransferred: 10,
        },
        {
          ...on,
          ...by,
          sessionId: 'ssh-2',
          establishedAt: '2026-05-01T08:05:00.000Z',
          commandsExecuted: 1,
          totalBytesTransferred: 0,
        },
      ],
      nextCursor: null,
    });
    const { items, nextCursor } = await connections(runId, '?limit=1');
    const rest = await connections(runId, `?limit=1&cursor=${nextCursor}&targetRunId=${target?.id}`);
    expect([...items, ...rest.items]).toEqual(all.items);
    expect(rest.nextCursor).toBeNull();
    expect((await connections(runId, '?targetRunId=999999')).items).toEqual([]);
    expect(await t.ask('GET', 'runs/999999/ssh-connections')).toMatchObject({ status: 404 });
  });

  test('count a command once, however often its end is reported', async () => {
    const runId = await t.start();
    const lease = await t.claimOne();
    const end = endOf(lease, over('ssh-1'), { requestId: 'same' });
    await t.settle(end);
    await t.settle(end);
    await t.settle(endOf(lease, over('ssh-1')));
    expect((await connections(runId)).items).toMatchObject([{ sessionId: 'ssh-1', commandsExecuted: 1 }]);
  });

  test('belong to the run even if an agent gives the connections to two targets the same name', async () => {
    const runId = await t.start({ targets: 2 });
    const leases = await t.claim();
    await t.settle(...leases.map((lease) => endOf(lease, over('same'))));
    expect(await t.run(runId)).toMatchObject({ status: 'succeeded' });
    expect((await connections(runId)).items).toMatchObject([{ sessionId: 'same', commandsExecuted: 2 }]);
  });

  test('are listed to a reader of a part as far as they carried that part', async () => {
    const runId = await t.start({ targets: 2 });
    const leases = await t.claim();
    await t.settle(...leases.map((lease) => endOf(lease, over(`ssh-${lease.id}`))));
    const [mine] = await t.sql<{ id: number; targetId: number }[]>`
      select id, target_id from job_run_targets where job_run_id = ${runId} order by id`;
    const [group] = await t.sql<{ id: number }[]>`
      insert into target_groups (name) values ('mine') returning id`;
    await t.sql`
      insert into target_group_members (target_group_id, target_id) values (${group?.id ?? 0}, ${mine?.targetId ?? 0})`;
    const reader = await t.app.user('eve', []);
    const path = `runs/${runId}/ssh-connections`;
    await t.sql`
      insert into role_grants (user_id, role, target_group_id) values (${reader.id}, 'viewer', ${group?.id ?? 0})`;
    t.app.authenticator.forgetUser(reader.id);
    expect(await t.ask('GET', path, reader)).toMatchObject({ body: { items: [{ targetRunId: mine?.id }] } });
    expect((await connections(runId)).items).toHaveLength(2);
  });

  test('do not exist for a step that never got one, and are deleted with their run', async () => {
    const { runId: without } = await t.endedRun();
    expect(await connections(without)).toEqual({ items: [], nextCursor: null });
    const runId = await t.start();
    await t.settle(endOf(await t.claimOne(), over('ssh-1')));
    expect((await connections(runId)).items).toHaveLength(1);
    await t.request('DELETE', `runs/${runId}?purge=true`);
    expect(await t.sql`select from ssh_execution_context where job_run_id = ${runId}`).toHaveLength(0);
  });
});
