// A live stream lasts no longer than the right to it.
import type { RunDetail } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { endOf } from '../../../runs/testing.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
afterEach(() => t[Symbol.asyncDispose]());

interface Open {
  /** Returns the next piece of text; undefined once the stream has ended. */
  next(): Promise<string | undefined>;
  /** Returns everything up to the end of the stream. */
  rest(): Promise<string>;
}

/** Opens the stream of a run; returns once its first line has arrived. */
async function open(runId: number, token: string): Promise<Open> {
  const response = await t.request('GET', `runs/${runId}/events?output=all`, { token });
  expect(response.status).toBe(200);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) throw new Error('no body');
  const next = async () => (await reader.read()).value;
  expect(await next()).toBe('retry: 1000\n\n');
  return {
    next,
    async rest() {
      let text = '';
      for (let piece = await next(); piece !== undefined; piece = await next()) text += piece;
      return text;
    },
  };
}

/** Returns a run on two targets, one of which has begun. */
async function going(): Promise<{ runId: number; targetIds: number[] }> {
  const runId = await t.start({ targets: 2 });
  const rows = await t.sql<{ targetId: number }[]>`
    select target_id from job_run_targets where job_run_id = ${runId} order by id`;
  return { runId, targetIds: rows.map((row) => row.targetId) };
}

describe('when the change is announced', () => {
  beforeEach(async () => {
    // A stream that noticed only at its next keep-alive would go on until the test is given up.
    t = await setupRunsApp({ keepAliveMs: 3_600_000 });
  });

  test('a stream ends with the API token that it was opened with', async () => {
    const { runId } = await going();
    const { id, token } = await t.app.user('eve', ['viewer']);
    const stream = await open(runId, token);
    const [row] = await t.sql<{ id: number }[]>`delete from api_tokens where user_id = ${id} returning id`;
    t.app.authenticator.forget('api_token', row?.id ?? 0);
    expect(await stream.rest()).not.toContain('event: end');
  });

  test('a stream ends with its reader’s last grant, and can not be opened again', async () => {
    const { runId } = await going();
    const { id, token } = await t.app.user('eve', ['viewer']);
    const stream = await open(runId, token);
    await t.sql`delete from role_grants where user_id = ${id}`;
    t.app.authenticator.forgetUser(id);
    expect(await stream.rest()).not.toContain('event: end');
    expect((await t.request('GET', `runs/${runId}/events`, { token })).status).toBe(403);
  });

  test('a stream ends when its reader may see less of the run, and starts over with that part', async () => {
    const { runId, targetIds } = await going();
    const { id, token } = await t.app.user('eve', ['viewer']);
    const stream = await open(runId, token);
    await restrictTo(id, targetIds.slice(0, 1));
    t.app.authenticator.forgetUser(id);
    expect(await stream.rest()).not.toContain('event: end');
    for (const lease of await t.claim()) await t.settle(endOf(lease));
    const seen = await (await open(runId, token)).rest();
    expect(seen).toContain('"targetsSucceeded":1');
    expect(seen).not.toContain('"targetsSucceeded":2');
    expect(seen).toContain('event: end');
  });

  test('a stream that starts at the id its run was read with repeats nothing, even for a reader of only a part', async () => {
    const { runId, targetIds } = await going();
    const { id, token } = await t.app.user('eve', []);
    await restrictTo(id, targetIds.slice(0, 1));
    for (const lease of await t.claim()) await t.settle(endOf(lease));
    for (const reader of [{}, { token }]) {
      const { eventId } = (await t.ask('GET', `runs/${runId}`, reader)).body as RunDetail;
      const headers = { 'Last-Event-ID': `${eventId}~1.1.1` };
      const stream = await t.request('GET', `runs/${runId}/events?output=all`, { ...reader, headers });
      expect(await stream.text()).toBe('retry: 1000\n\nevent: end\ndata: {}\n\n');
    }
  });

  test('a stream goes on when the rights of others change', async () => {
    const { runId } = await going();
    const { token } = await t.app.user('eve', ['viewer']);
    const other = await t.app.user('bob', ['viewer']);
    const stream = await open(runId, token);
    await t.sql`delete from role_grants where user_id = ${other.id}`;
    t.app.authenticator.forgetUser(other.id);
    for (const lease of await t.claim()) {
      const { news } = await t.settle(endOf(lease));
      t.hub.publishRuns(news.runs);
    }
    expect(await stream.rest()).toContain('event: end');
  });
});

test('a request for the headers of a stream alone leaves no reader behind', async () => {
  t = await setupRunsApp();
  const { runId } = await going();
  const [step] = await t.steps(runId);
  const response = await t.request('HEAD', `runs/${runId}/events?output=all`);
  expect(response.headers.get('content-type')).toMatch('text/event-stream');
  expect(t.hub.isFollowed(step?.id ?? 0)).toBe(false);
});

describe('when another server made the change, which is not announced', () => {
  beforeEach(async () => {
    t = await setupRunsApp({ keepAliveMs: 20 });
  });

  test.each([
    ['the right', 'delete from role_grants'],
    ['the API token', 'delete from api_tokens'],
  ])('a stream ends without %s at a keep-alive', async (_, statement) => {
    const { runId } = await going();
    const { token } = await t.app.user('eve', ['viewer']);
    const stream = await open(runId, token);
    expect(await stream.next()).toBe(': still here\n\n');
    await t.sql.unsafe(statement);
    // The authenticator caches for a few seconds.
    t.app.clock.advance(10_000);
    expect(await stream.rest()).not.toContain('event: end');
  });

  test('a stream ends when a target that its reader sees leaves the group', async () => {
    const { runId, targetIds } = await going();
    const { id, token } = await t.app.user('eve', []);
    const groupId = await restrictTo(id, targetIds.slice(0, 1));
    const stream = await open(runId, token);
    expect(await stream.next()).toBe(': still here\n\n');
    await t.sql`delete from target_group_members where target_group_id = ${groupId}`;
    expect(await stream.rest()).not.toContain('event: end');
  });
});

/** Leaves the user only the right to read these targets. */
async function restrictTo(userId: number, targetIds: readonly number[]): Promise<number> {
  await t.sql`delete from role_grants where user_id = ${userId}`;
  const [group] = await t.sql<{ id: number }[]>`
    insert into target_groups (name) values (${`of user ${userId}`}) returning id`;
  const groupId = group?.id ?? 0;
  for (const targetId of targetIds)
    await t.sql`insert into target_group_members (target_group_id, target_id) values (${groupId}, ${targetId})`;
  await t.sql`insert into role_grants (user_id, role, target_group_id) values (${userId}, 'viewer', ${groupId})`;
  return groupId;
}
