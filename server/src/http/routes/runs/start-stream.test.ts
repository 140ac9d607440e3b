// A start that is answered with the run's stream: both in one request.
import type { ErrorBody, RunStarted } from '@opsconductor/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createJob } from '../../../jobs/create-job.ts';
import { chunkOf, textOf } from '../../../runs/output/output-testing.ts';
import { endOf } from '../../../runs/testing.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
let jobId: number;
let targetIds: number[];
beforeEach(async () => {
  // What has to end at once doesn't end in time by a keep-alive.
  t = await setupRunsApp({ keepAliveMs: 3_600_000 });
  const step = (n: number) => ({ name: `step ${n}`, type: 'ssh.exec', config: { command: 'true' } });
  const definition = { name: 'followed', steps: [step(1), step(2)] };
  jobId = (await createJob(t, definition, t.caller)).id;
  targetIds = [await t.addTarget()];
});
afterEach(() => t[Symbol.asyncDispose]());

const accept = { Accept: 'application/json;q=0.5, text/event-stream' };
const post = (path: string, json: unknown, more = {}) =>
  t.request('POST', path, { json, headers: accept, ...more });

interface Event {
  type: string;
  id: string | undefined;
  data: unknown;
}

function eventsOf(text: string): Event[] {
  return text.split('\n\n').flatMap((frame) => {
    const [, type] = /^event: (\w+)$/m.exec(frame) ?? [];
    const [, data] = /^data: (.*)$/m.exec(frame) ?? [];
    const [, id] = /^id: (.*)$/m.exec(frame) ?? [];
    return type === undefined || data === undefined ? [] : [{ type, id, data: JSON.parse(data) as unknown }];
  });
}

function printed(events: readonly Event[]): string {
  const chunks = events
    .filter(({ type }) => type === 'chunk')
    .map(({ data }) => (data as { data: string }).data);
  return chunks.map(textOf).join('');
}

/** Carries out and announces the next step of the only run; returns false if there is none. */
async function carryOutOne(): Promise<boolean> {
  const [lease] = await t.claim();
  if (lease === undefined) return false;
  await t.send(lease, chunkOf(lease, 1, `printed by ${lease.stepNumber}\n`));
  const { news } = await t.settle(endOf(lease));
  t.hub.publishRuns(news.runs);
  return true;
}

async function carryOut(): Promise<void> {
  while (await carryOutOne());
}

function startedOf(events: readonly Event[]): RunStarted {
  expect(events[0]?.type).toBe('started');
  return events[0]?.data as RunStarted;
}

test('first names the run, then sends everything that happens and is printed, and ends with the run', async () => {
  const reply = await post(`jobs/${jobId}/run`, { targetIds });
  expect(reply.status).toBe(201);
  expect(reply.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const body = reply.text();
  await carryOut();
  const events = eventsOf(await body);
  const { id } = startedOf(events);
  expect(reply.headers.get('location')).toBe(`/api/v1/runs/${id}`);
  expect(events[0]).toMatchObject({
    type: 'started',
    data: { events: `/api/v1/runs/${id}/events`, hasOutput: true },
  });
  expect(printed(events)).toBe('printed by 1\nprinted by 2\n');
  expect(events.at(-1)?.type).toBe('end');
  expect((await t.run(id)).status).toBe('succeeded');
});

test('is continued by GET where it broke, and nothing is missed or repeated', async () => {
  const reply = await post(`jobs/${jobId}/run`, { targetIds });
  const reader = reply.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  await carryOutOne();
  while (!text.includes('event: change')) text += (await reader?.read())?.value ?? '';
  await reader?.cancel();
  const before = eventsOf(text);
  const { events: path } = startedOf(before);
  const lastId = before.findLast(({ id }) => id !== undefined)?.id ?? '';
  const rest = t.app.request('GET', `${path}?output=all`, {
    token: (await t.app.user('ann', ['viewer'])).token,
    headers: { 'Last-Event-ID': lastId },
  });
  await carryOut();
  const after = eventsOf(await (await rest).text());
  expect(printed([...before, ...after])).toBe('printed by 1\nprinted by 2\n');
  const seqs = [...before, ...after]
    .filter(({ type }) => type === 'change')
    .map(({ data }) => (data as { seq: number }).seq);
  expect(seqs).toEqual(seqs.map((_, index) => index + 1));
});

test('also answers running a run again', async () => {
  await post(`jobs/${jobId}/run`, { targetIds }).then((reply) => reply.body?.cancel());
  await carryOut();
  const [run] = await t.sql<{ id: number }[]>`select id from job_runs`;
  const reply = await post(`runs/${run?.id}/rerun`, { which: 'all' });
  const body = reply.text();
  await carryOut();
  expect(eventsOf(await body).at(-1)?.type).toBe('end');
});

test('is refused like any start, with an error and nothing started', async () => {
  const reply = await post(`jobs/${jobId}/run`, { targetIds: [] });
  expect(reply.status).toBe(400);
  expect(((await reply.json()) as ErrorBody).error.code).toBe('invalid');
  const { token } = await t.app.user('vic', ['viewer']);
  expect((await post(`jobs/${jobId}/run`, { targetIds }, { token })).status).toBe(403);
  expect(await t.sql`select id from job_runs`).toEqual([]);
});

test('ends with the API token that started it, while the run goes on', async () => {
  const { token } = await t.app.user('olga', ['operator']);
  const reply = await post(`jobs/${jobId}/run`, { targetIds }, { token });
  expect(reply.status).toBe(201);
  const body = reply.text();
  const [row] = await t.sql<{ id: number }[]>`
    delete from api_tokens where user_id = (select id from users where name = 'olga') returning id`;
  t.app.authenticator.forget('api_token', row?.id ?? 0);
  expect(await body).not.toContain('event: end');
  const [run] = await t.sql<{ id: number }[]>`select id from job_runs`;
  expect((await t.run(run?.id ?? 0)).status).toBe('queued');
});

test('for a run with too many steps comes without their output, and says so', async () => {
  const many = [...targetIds];
  while (many.length < 33) many.push(await t.addTarget());
  const reply = await post(`jobs/${jobId}/run`, { targetIds: many });
  const reader = reply.body?.pipeThrough(new TextDecoderStream()).getReader();
  const first = (await reader?.read())?.value ?? '';
  await reader?.cancel();
  expect(eventsOf(first)[0]?.data).toMatchObject({ hasOutput: false });
});
