// Ending runs over HTTP: canceling a run or one target run of it, and purging.
import type { ErrorBody, TargetRunPage } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { endOf, failure, givenUp } from '../../../runs/testing.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

describe.each([
  ['POST', (id: number | string) => `executor/cancel/${id}`],
  ['DELETE', (id: number | string) => `runs/${id}`],
])('a cancel by %s', (method, path) => {
  test('ends what waits at once and tells what runs to stop; a second cancel changes nothing', async () => {
    const waiting = await t.start();
    expect(await t.ask(method, path(waiting))).toMatchObject({
      status: 202,
      body: { id: waiting, status: 'cancelled', cancelRequestedBy: 'root', targetsCancelled: 1 },
    });
    const runId = await t.start({ steps: 2 });
    const lease = await t.claimOne();
    const first = await t.ask(method, path(runId));
    expect(first).toMatchObject({ status: 202, body: { status: 'cancelling', cancelRequestedBy: 'root' } });
    expect(await t.ask(method, path(runId))).toEqual(first);
    expect(await t.audited('run.cancel_requested')).toMatchObject([
      { actorName: 'root', objectId: String(waiting) },
      { actorName: 'root', objectId: String(runId) },
    ]);
    await t.settle(endOf(lease, { status: 'cancelled', reason: 'cancelled' }));
    expect(await t.run(runId)).toMatchObject({ status: 'cancelled' });
  });

  test('of a run that has ended, or that does not exist, is refused with the reason', async () => {
    const { runId } = await t.endedRun();
    const ended = await t.ask(method, path(runId));
    expect(ended).toMatchObject({
      status: 409,
      body: { error: { code: 'conflict', message: `Run ${runId} has already ended: it is succeeded.` } },
    });
    expect((await t.ask(method, path(999_999))).status).toBe(404);
    const malformed = (await t.ask(method, path('9007199254740993'))).body as ErrorBody;
    expect(malformed.error.message).toBe(
      'id: Must be a whole number from 1 to 9007199254740991 in plain digits.',
    );
    expect(await t.audited('run.cancel_requested')).toEqual([]);
  });

  test('needs the permission to run', async () => {
    const runId = await t.start();
    const { token } = await t.app.user('looks', ['viewer']);
    expect((await t.request(method, path(runId), { token })).status).toBe(403);
    expect(await t.run(runId)).toMatchObject({ status: 'queued' });
  });
});

describe('a cancel of one target run', () => {
  const targetRunsOf = async (runId: number) =>
    ((await t.ask('GET', `runs/${runId}/target-runs`)).body as TargetRunPage).items;
  const path = (runId: number, targetRunId: number) => `runs/${runId}/target-runs/${targetRunId}/cancel`;

  test('answers with what became of it, and says at the target run who asked for it', async () => {
    const runId = await t.start({ targets: 2 });
    const [first, second] = await targetRunsOf(runId);
    const answer = await t.ask('POST', path(runId, first?.id ?? 0));
    expect(answer).toMatchObject({
      status: 202,
      body: { id: first?.id, status: 'cancelled', cancelRequestedBy: 'root' },
    });
    expect(answer.body).toMatchObject({ endReason: 'Cancelled by root before it began.' });
    expect(await t.ask('POST', path(runId, first?.id ?? 0))).toEqual(answer);
    expect(await targetRunsOf(runId)).toEqual([answer.body, second]);
    expect(await t.audited('run.target_cancel_requested')).toMatchObject([
      { actorName: 'root', objectId: String(runId), detail: { targetRunId: first?.id, target: 'host-1' } },
    ]);
    const lease = await t.claimOne();
    expect(await t.ask('POST', `${path(runId, second?.id ?? 0)}?force=true`)).toMatchObject({
      body: { status: 'unknown' },
    });
    await t.settle(endOf(lease, { status: 'cancelled', reason: 'cancelled' }));
    expect(await t.run(runId)).toMatchObject({ status: 'unknown' });
  });

  test('is refused if it has ended by itself, does not exist, or is in another run', async () => {
    const { runId } = await t.endedRun();
    const [ended] = await targetRunsOf(runId);
    expect(await t.ask('POST', path(runId, ended?.id ?? 0))).toMatchObject({
      status: 409,
      body: { error: { message: `“host-1” has already ended in run ${runId}: it is succeeded.` } },
    });
    const other = await t.start();
    expect((await t.ask('POST', path(other, ended?.id ?? 0))).status).toBe(404);
    expect((await t.ask('POST', path(runId, 999_999))).status).toBe(404);
    expect((await t.ask('POST', path(999_999, ended?.id ?? 0))).status).toBe(404);
  });

  test('needs the permission to run', async () => {
    const runId = await t.start();
    const [target] = await targetRunsOf(runId);
    const { token } = await t.app.user('looks', ['viewer']);
    expect((await t.request('POST', path(runId, target?.id ?? 0), { token })).status).toBe(403);
    expect(await t.run(runId)).toMatchObject({ status: 'queued' });
  });
});

describe('a purge', () => {
  const tables = [
    'job_runs',
    'job_run_targets',
    'job_run_steps',
    'job_run_step_attempts',
    'run_events',
    'run_output',
  ];
  const rowsOf = async () => {
    const counts: Record<string, number> = {};
    for (const table of tables) {
      const [row] = await t.sql<{ n: number }[]>`select count(*) as n from ${t.sql(table)}`;
      counts[table] = row?.n ?? -1;
    }
    return counts;
  };

  test('deletes an ended run with everything that belongs to it, leaves others, and is audited', async () => {
    const { runId: kept } = await t.endedRun();
    const before = await rowsOf();
    expect(Object.values(before).every((n) => n > 0)).toBe(true);
    const { runId } = await t.endedRun();
    expect((await t.request('DELETE', `runs/${runId}?purge=true`)).status).toBe(204);
    expect(await rowsOf()).toEqual(before);
    expect((await t.ask('GET', `runs/${runId}`)).status).toBe(404);
    expect((await t.ask('GET', `runs/${kept}`)).status).toBe(200);
    expect(await t.audited('run.purged')).toMatchObject([
      { actorName: 'root', objectId: String(runId), detail: { status: 'succeeded' } },
    ]);
  });

  test('of an open run is refused, and deletes nothing', async () => {
    const runId = await t.start();
    const before = await rowsOf();
    const refused = await t.ask('DELETE', `runs/${runId}?purge=true`);
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { message: `Run ${runId} is still queued: cancel it first, then purge it.` } },
    });
    expect(await rowsOf()).toEqual(before);
  });

  test('of a run that is being cancelled says to wait or to force that, not to cancel it', async () => {
    const runId = await t.start();
    await t.claimOne();
    expect((await t.request('DELETE', `runs/${runId}`)).status).toBe(202);
    expect(await t.ask('DELETE', `runs/${runId}?purge=true`)).toMatchObject({
      status: 409,
      body: {
        error: {
          message: `Run ${runId} is being cancelled: wait for its end, or force the cancel, then purge it.`,
        },
      },
    });
  });

  test('requested several times at once is done once: one request succeeds, the others find nothing', async () => {
    const { runId } = await t.endedRun();
    const replies = await Promise.all(
      Array.from({ length: 6 }, () => t.request('DELETE', `runs/${runId}?purge=true`)),
    );
    expect(replies.map((reply) => reply.status).sort()).toEqual([204, 404, 404, 404, 404, 404]);
    expect(await t.audited('run.purged')).toHaveLength(1);
  });

  test('at the same time as a late result leaves nothing half done', async () => {
    const runId = await t.start();
    const lease = await t.claimOne();
    await t.settle(givenUp(lease));
    const [reply] = await Promise.all([
      t.request('DELETE', `runs/${runId}?purge=true`),
      t.settle(endOf(lease, failure)),
    ]);
    expect(reply.status).toBe(204);
    expect(Object.values(await rowsOf())).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test('needs the permission to run too, on the run and not only elsewhere', async () => {
    const { runId } = await t.endedRun();
    const { id, token } = await t.app.user('cleans', ['viewer']);
    await t.sql`
      insert into role_grants (user_id, permission, category_id)
      select distinct ${id}::bigint, 'runs.purge', category_id from jobs`;
    const [elsewhere] = await t.sql<{ id: number }[]>`
      insert into target_groups (name) values ('elsewhere') returning id`;
    await t.sql`
      insert into role_grants (user_id, permission, target_group_id)
      values (${id}, 'run', ${elsewhere?.id ?? 0})`;
    const purge = () => t.request('DELETE', `runs/${runId}?purge=true`, { token });
    expect((await purge()).status).toBe(403);
    await t.sql`
      insert into role_grants (user_id, permission, segment_id) values (${id}, 'run', ${t.segmentId})`;
    t.app.authenticator.forgetUser(id);
    expect((await purge()).status).toBe(204);
  });

  test('needs its own permission', async () => {
    const { runId } = await t.endedRun();
    const { token } = await t.app.user('runs', ['operator']);
    const refused = await t.request('DELETE', `runs/${runId}?purge=true`, { token });
    expect(refused.status).toBe(403);
    expect((await t.ask('GET', `runs/${runId}`)).status).toBe(200);
  });
});
