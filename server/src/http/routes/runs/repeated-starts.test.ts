// A start that is repeated with its Idempotency-Key.
import { createHmac } from 'node:crypto';
import type { Run } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { unwrapDataKey } from '../../../credentials/at-rest/data-key.ts';
import { AppError } from '../../../errors.ts';
import { runKeyContext } from '../../../runs/run-keys.ts';
import { requestKeyOf, startOnce } from '../../../runs/start/start-once.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

describe('a start with an Idempotency-Key', () => {
  const key = '5f0c9a34-0000-4000-8000-000000000001';
  const keyed = (json: unknown, given = key) => ({ json, headers: { 'idempotency-key': given } });

  /** Returns a job that has run once, on its target. */
  async function startable(): Promise<{ path: string; body: { targetIds: number[] }; firstRun: number }> {
    const firstRun = await t.start();
    const [row] = await t.sql<{ jobId: number; targetId: number }[]>`
      select r.job_id, t.target_id from job_runs r join job_run_targets t on t.job_run_id = r.id where r.id = ${firstRun}`;
    return { path: `jobs/${row?.jobId}/run`, body: { targetIds: [row?.targetId ?? 0] }, firstRun };
  }
  const runsThere = async () => (await t.sql<{ n: number }[]>`select count(*)::int as n from job_runs`)[0]?.n;

  test('that is repeated makes no second run: the answer is the first one, and says so', async () => {
    const { path, body } = await startable();
    const first = await t.request('POST', path, keyed(body));
    const run = (await first.json()) as Run;
    const again = await t.request('POST', path, keyed(body, `"${key}"`));
    expect(await again.json()).toMatchObject({ id: run.id });
    expect([first, again].map(({ status }) => status)).toEqual([201, 201]);
    expect([first, again].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true']);
    expect(await runsThere()).toBe(2);
    expect(await t.audited('run.started')).toHaveLength(2);
  });

  test('gets the stream of the first run if it asks for a stream, which says so too', async () => {
    const { path, body } = await startable();
    const { id } = (await t.ask('POST', path, keyed(body))).body as Run;
    const { json, headers } = keyed(body);
    const again = await t.request('POST', path, {
      json,
      headers: { ...headers, accept: 'text/event-stream' },
    });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(again.headers.get('location')).toBe(`/api/v1/runs/${id}`);
    await again.body?.cancel();
  });

  test('that is sent many times at once makes one run', async () => {
    const { path, body } = await startable();
    const replies = await Promise.all(Array.from({ length: 8 }, () => t.ask('POST', path, keyed(body))));
    expect(replies.map(({ status }) => status)).toEqual(Array(8).fill(201));
    expect(new Set(replies.map((reply) => (reply.body as Run).id)).size).toBe(1);
    expect(await runsThere()).toBe(2);
  });

  test('is answered with the run of a faster one, whatever that one made this one fail on', async () => {
    const { path, body } = await startable();
    const [root] = await t.sql<{ userId: number }[]>`select id as user_id from users where name = 'root'`;
    const asker = { ...t.caller, ...root };
    const requested = requestKeyOf(key, asker, [`/api/v1/${path}`, body]);
    let first = 0;
    // The other request gets in between the look-up of the run and the check of what was given, such as a grant, which
    // is good for only one run.
    const started = await startOnce(t, requested, asker, async () => {
      first = ((await t.ask('POST', path, keyed(body))).body as Run).id;
      throw new AppError('invalid', 'Was used.');
    });
    expect(started).toMatchObject({ runId: first, isRepeated: true });
    const other = requestKeyOf(`${key}-other`, asker, []);
    const failing = startOnce(t, other, asker, () => Promise.reject(new AppError('invalid', 'Was used.')));
    await expect(failing).rejects.toThrow('Was used.');
  });

  test('is the same request with its properties in another order, and another one with its targets in another order', async () => {
    const { path, body } = await startable();
    const second = await t.addTarget();
    const [first = 0] = body.targetIds;
    const asked = { targetIds: [first, second], reason: 'once', priority: 1 };
    const { id } = (await t.ask('POST', path, keyed(asked))).body as Run;
    const turned = { priority: 1, reason: 'once', targetIds: [first, second] };
    expect(await t.ask('POST', path, keyed(turned))).toMatchObject({ status: 201, body: { id } });
    const others = [
      { ...turned, targetIds: [second, first] },
      { ...turned, priority: 2 },
    ];
    for (const other of others)
      expect(await t.ask('POST', path, keyed(other))).toMatchObject({ status: 409 });
    expect(await runsThere()).toBe(2);
  });

  test('that a server of the version before has carried out is found by the same request as it was sent', async () => {
    const { path, body } = await startable();
    const asked = { ...body, reason: 'once' };
    const { id } = (await t.ask('POST', path, keyed(asked))).body as Run;
    await t.sql`update job_runs set request_content_digest = null where id = ${id}`;
    expect(await t.ask('POST', path, keyed(asked))).toMatchObject({ status: 201, body: { id } });
    const other = await t.ask('POST', path, keyed({ ...asked, reason: 'once more' }));
    expect(other).toMatchObject({ status: 409 });
  });

  test('leaves a digest that a server of the version before can compare', async () => {
    const { path, body } = await startable();
    const asked = { ...body, reason: 'once' };
    const { id } = (await t.ask('POST', path, keyed(asked))).body as Run;
    const [row] = await t.sql<[{ jobId: number; dataKey: string; requestDigest: Buffer }]>`
      select job_id, data_key, request_digest from job_runs where id = ${id}`;
    const dataKey = unwrapDataKey(t.masterKey, row.dataKey, runKeyContext(row.jobId));
    const sent = JSON.stringify([`/api/v1/${path}`, asked]);
    const expected = createHmac('sha256', dataKey).update('request ').update(sent).digest();
    expect(row.requestDigest.equals(expected)).toBe(true);
  });

  test('is refused with a different request, and belongs to its user alone', async () => {
    const { path, body } = await startable();
    const { id } = (await t.ask('POST', path, keyed(body))).body as Run;
    expect(await t.ask('POST', path, keyed({ ...body, reason: 'once more' }))).toMatchObject({
      status: 409,
      body: {
        error: {
          message: `This Idempotency-Key was used to start run ${id}, with another request: give each start a key of its own.`,
        },
      },
    });
    const { token } = await t.app.user('other', ['admin']);
    const others = await t.ask('POST', path, { ...keyed(body), token });
    expect((others.body as Run).id).not.toBe(id);
    expect(await runsThere()).toBe(3);
  });

  test('reveals nothing about its run to a caller who may no longer see it', async () => {
    const { path, body } = await startable();
    const { id, token } = await t.app.user('was-operator', ['operator']);
    expect(await t.ask('POST', path, { ...keyed(body), token })).toMatchObject({ status: 201 });
    await t.sql`insert into categories (name) values ('elsewhere')`;
    await t.sql`update role_grants set category_id = (select max(id) from categories) where user_id = ${id}`;
    t.app.clock.advance(10_000);
    expect((await t.ask('POST', path, { ...keyed(body), token })).status).toBe(404);
  });

  test('is not answered with a part of its run', async () => {
    const { path, body } = await startable();
    const both = { targetIds: [...body.targetIds, await t.addTarget()] };
    const { id, token } = await t.app.user('was-operator', ['operator']);
    expect(await t.ask('POST', path, { ...keyed(both), token })).toMatchObject({ status: 201 });
    await t.sql`
      with made as (insert into target_groups (name) values ('one of them') returning id),
        member as (insert into target_group_members select id, ${body.targetIds[0] ?? 0} from made)
      update role_grants set target_group_id = made.id from made where user_id = ${id}`;
    t.app.clock.advance(10_000);
    expect((await t.ask('POST', path, { ...keyed(both), token })).status).toBe(404);
  });

  test('may start the run again after it was purged', async () => {
    const { path, body } = await startable();
    const { id } = (await t.ask('POST', path, keyed(body))).body as Run;
    await t.ask('DELETE', `runs/${id}`);
    await t.ask('DELETE', `runs/${id}?purge=true`);
    expect((await t.ask('POST', path, keyed(body))).body).not.toMatchObject({ id });
  });

  test('works for running again too', async () => {
    const { firstRun } = await startable();
    await t.ask('DELETE', `runs/${firstRun}`);
    const rerun = () => t.ask('POST', `runs/${firstRun}/rerun`, keyed({ which: 'not_succeeded' }));
    const { id } = (await rerun()).body as Run;
    expect(await rerun()).toMatchObject({ status: 201, body: { id, rerunOf: firstRun } });
  });

  test.each(['too-short', 'with blanks in it, but long enough', 'with"quotes"within-it'])(
    'that is not a valid key is refused: %s',
    async (given) => {
      const { path, body } = await startable();
      expect(await t.ask('POST', path, keyed(body, given))).toMatchObject({
        status: 400,
        body: { error: { details: [{ path: 'Idempotency-Key' }] } },
      });
      expect(await runsThere()).toBe(1);
    },
  );
});
