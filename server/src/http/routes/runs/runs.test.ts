// Runs over HTTP: canceling, purging, reading output in ranges, following from any position.
import type { ErrorBody, OutputPage, Run, RunDetail, RunSteps, TargetRunPage } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { chunkOf } from '../../../runs/output/output-testing.ts';
import { endOf, failure, givenUp, growRun } from '../../../runs/testing.ts';
import type { ClaimedStep } from '../../../store/queue/claims.ts';
import { UserTurns } from '../../../user-turns.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

const audited = async (action: string) =>
  t.sql`select actor_name, object_id, detail from audit_log where action = ${action} order by id`;

/** Returns a run that printed ten bytes in two chunks and has ended. */
async function endedRun(): Promise<{ runId: number; lease: ClaimedStep }> {
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(lease, chunkOf(lease, 1, 'one\n'), chunkOf(lease, 2, 'three\n'));
  await t.settle(endOf(lease));
  return { runId, lease };
}

test('a run says whether its reader may run its job and cancel the run', async () => {
  const runId = await t.start();
  const told = async (token?: string) => {
    const { body } = await t.ask('GET', `runs/${runId}`, token === undefined ? {} : { token });
    const { mayRun, mayCancel } = body as RunDetail;
    return { mayRun, mayCancel };
  };
  const reader = await t.app.user('eve', ['viewer']);
  const local = await t.app.user('lea', ['viewer']);
  await t.sql`insert into role_grants (user_id, role, segment_id) values (${local.id}, 'operator', ${t.segmentId})`;
  expect(await told()).toEqual({ mayRun: true, mayCancel: true });
  expect(await told(reader.token)).toEqual({ mayRun: false, mayCancel: false });
  expect(await told(local.token)).toEqual({ mayRun: false, mayCancel: true });
  expect((await t.ask('POST', `executor/cancel/${runId}`, reader)).status).toBe(403);
  expect((await t.ask('POST', `executor/cancel/${runId}`, local)).status).toBe(202);
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
    expect(await audited('run.cancel_requested')).toMatchObject([
      { actorName: 'root', objectId: String(waiting) },
      { actorName: 'root', objectId: String(runId) },
    ]);
    await t.settle(endOf(lease, { status: 'cancelled', reason: 'cancelled' }));
    expect(await t.run(runId)).toMatchObject({ status: 'cancelled' });
  });

  test('of a run that has ended, or that does not exist, is refused with the reason', async () => {
    const { runId } = await endedRun();
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
    expect(await audited('run.cancel_requested')).toEqual([]);
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
    expect(await audited('run.target_cancel_requested')).toMatchObject([
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
    const { runId } = await endedRun();
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
    const { runId: kept } = await endedRun();
    const before = await rowsOf();
    expect(Object.values(before).every((n) => n > 0)).toBe(true);
    const { runId } = await endedRun();
    expect((await t.request('DELETE', `runs/${runId}?purge=true`)).status).toBe(204);
    expect(await rowsOf()).toEqual(before);
    expect((await t.ask('GET', `runs/${runId}`)).status).toBe(404);
    expect((await t.ask('GET', `runs/${kept}`)).status).toBe(200);
    expect(await audited('run.purged')).toMatchObject([
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

  test('requested several times at once is done once: one request succeeds, the others find nothing', async () => {
    const { runId } = await endedRun();
    const replies = await Promise.all(
      Array.from({ length: 6 }, () => t.request('DELETE', `runs/${runId}?purge=true`)),
    );
    expect(replies.map((reply) => reply.status).sort()).toEqual([204, 404, 404, 404, 404, 404]);
    expect(await audited('run.purged')).toHaveLength(1);
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

  test('needs its own permission', async () => {
    const { runId } = await endedRun();
    const { token } = await t.app.user('runs', ['operator']);
    const refused = await t.request('DELETE', `runs/${runId}?purge=true`, { token });
    expect(refused.status).toBe(403);
    expect((await t.ask('GET', `runs/${runId}`)).status).toBe(200);
  });
});

describe('the bytes of an output', () => {
  const path = ({ runId, lease }: { runId: number; lease: ClaimedStep }) =>
    `runs/${runId}/steps/${lease.id}/output?format=text`;
  const range = (text: string) => ({ headers: { Range: text } });

  test('are sent whole, or as the requested range', async () => {
    const run = await endedRun();
    const whole = await t.request('GET', path(run));
    expect([whole.status, await whole.text()]).toEqual([200, 'one\nthree\n']);
    const part = await t.request('GET', path(run), range('bytes=2-5'));
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
      206,
      'bytes 2-5/10',
      'e\nth',
    ]);
    const huge = await t.request('GET', path(run), range('bytes=8-99999999999999999999'));
    expect([huge.status, await huge.text()]).toEqual([206, 'e\n']);
  });

  test('are read in turns with other users', async () => {
    const run = await endedRun();
    const { id, token } = await t.app.user('reader', ['viewer']);
    const turns = vi.spyOn(UserTurns.prototype, 'take');
    const whole = await t.request('GET', path(run), { token });
    expect(await whole.text()).toBe('one\nthree\n');
    expect(turns).toHaveBeenCalledWith(String(id));
    turns.mockRestore();
  });

  test('beyond the end are 416 with the length, however far beyond', async () => {
    const run = await endedRun();
    for (const first of ['10', '9007199254740993', '99999999999999999999']) {
      const beyond = await t.request('GET', path(run), range(`bytes=${first}-`));
      expect([beyond.status, beyond.headers.get('content-range'), await beyond.text()]).toEqual([
        416,
        'bytes */10',
        '',
      ]);
    }
  });

  test('of a step that does not exist are refused, naming the wrong part of the address', async () => {
    const { runId, lease } = await endedRun();
    for (const id of ['9007199254740992', '1e3', '-', '%00']) {
      const { status, body } = await t.ask('GET', `runs/${runId}/steps/${id}/output`);
      expect([status, (body as ErrorBody).error.details?.map((detail) => detail.path)]).toEqual([
        400,
        ['step'],
      ]);
    }
    expect((await t.ask('GET', `runs/${runId + 1}/steps/${lease.id}/output`)).status).toBe(404);
    const page = (await t.ask('GET', `runs/${runId}/steps/${lease.id}/output?after=2147483647`)).body;
    expect((page as OutputPage).chunks).toEqual([]);
  });
});

describe('the stream of an ended run', () => {
  const events = async (run: { runId: number }, headers: Record<string, string>, query = 'output=all') => {
    const reply = await t.request('GET', `runs/${run.runId}/events?${query}`, { headers });
    return [...(await reply.text()).matchAll(/^event: (\w+)$/gm)].map((match) => match[1]);
  };

  test('ends for a reader whose Last-Event-ID is beyond what is stored, in events, attempts or output', async () => {
    const run = await endedRun();
    const { eventSeq } = (await t.ask('GET', `runs/${run.runId}`)).body as Run;
    const step = run.lease.id;
    const from = (id: string) => events(run, { 'Last-Event-ID': id });
    expect(await from(`${eventSeq}~${step}.1.2`)).toEqual(['end']);
    expect(await from(`${eventSeq + 1}~${step}.1.3`)).toEqual(['end']);
    expect(await from(`999999999999999~${step}.1.9999999999`)).toEqual(['end']);
    expect(await from(`999999999999999~999999999999999.9999999999.9999999999~${step}.1.2`)).toEqual(['end']);
    expect(await from(`999999999999999~${step}.9999999999.1`)).toEqual(['chunk', 'chunk', 'end']);
    expect(await events(run, {}, `after=9007199254740991&output=${step}`)).toEqual(['chunk', 'chunk', 'end']);
    expect(await events(run, {}, 'output=999999999999999')).toEqual(['change', 'end']);
    const beyond = await t.ask('GET', `runs/${run.runId}/events?output=9223372036854775807`);
    expect(beyond).toMatchObject({ status: 400, body: { error: { details: [{ path: 'query.output' }] } } });
  });
});

describe('the SSH connections of a run', () => {
  const contexts = (runId: number) =>
    t.sql`
      select c.session_id, c.target_id, c.agent_id, c.connection_established_at, c.commands_executed,
        c.total_bytes_transferred
      from ssh_execution_context c where c.job_run_id = ${runId} order by c.session_id`;
  const over = (sessionId: string, establishedAt = '2026-05-01T10:00:00.000Z', reused = false) => ({
    status: 'succeeded' as const,
    exitCode: 0,
    ssh: { sessionId, establishedAt, reused },
  });

  test('are recorded once each, with the commands and bytes that each carried', async () => {
    const runId = await t.start({ steps: 3 });
    const first = await t.claimOne();
    await t.send(first, chunkOf(first, 1, 'one\n'));
    await t.settle(endOf(first, over('ssh-1')));
    const second = await t.claimOne();
    await t.send(second, chunkOf(second, 1, 'three\n'));
    await t.settle(endOf(second, over('ssh-1', undefined, true)));
    const third = await t.claimOne();
    await t.settle(endOf(third, over('ssh-2', '2026-05-01T10:05:00+02:00')));
    const [target] = await t.sql<{ id: number }[]>`
      select target_id as id from job_run_targets where job_run_id = ${runId}`;
    expect(await contexts(runId)).toEqual([
      {
        sessionId: 'ssh-1',
        targetId: target?.id,
        agentId: t.agent.agentId,
        connectionEstablishedAt: new Date('2026-05-01T10:00:00Z'),
        commandsExecuted: 2,
        totalBytesTransferred: 10,
      },
      {
        sessionId: 'ssh-2',
        targetId: target?.id,
        agentId: t.agent.agentId,
        connectionEstablishedAt: new Date('2026-05-01T08:05:00Z'),
        commandsExecuted: 1,
        totalBytesTransferred: 0,
      },
    ]);
  });

  test('count a command once, however often its end is reported', async () => {
    const runId = await t.start();
    const lease = await t.claimOne();
    const end = endOf(lease, over('ssh-1'), { requestId: 'same' });
    await t.settle(end);
    await t.settle(end);
    await t.settle(endOf(lease, over('ssh-1')));
    expect(await contexts(runId)).toMatchObject([{ sessionId: 'ssh-1', commandsExecuted: 1 }]);
  });

  test('belong to the run even if an agent gives the connections to two targets the same name', async () => {
    const runId = await t.start({ targets: 2 });
    const leases = await t.claim();
    await t.settle(...leases.map((lease) => endOf(lease, over('same'))));
    expect(await t.run(runId)).toMatchObject({ status: 'succeeded' });
    expect(await contexts(runId)).toMatchObject([{ sessionId: 'same', commandsExecuted: 2 }]);
  });

  test('do not exist for a step that never got one, and are deleted with their run', async () => {
    const { runId: without } = await endedRun();
    expect(await contexts(without)).toEqual([]);
    const runId = await t.start();
    await t.settle(endOf(await t.claimOne(), over('ssh-1')));
    expect(await contexts(runId)).toHaveLength(1);
    await t.request('DELETE', `runs/${runId}?purge=true`);
    expect(await contexts(runId)).toEqual([]);
  });
});
