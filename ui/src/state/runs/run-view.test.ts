import type { ServerResponse } from 'node:http';
import type { RunChange, RunDetail, RunSteps, Step, TargetRun } from '@opsconductor/protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Answer, eventually, json, load, serveApi, stubFrames } from '../testing.ts';
import type { OutputListener } from './run-view.svelte.ts';

const { RunView } = await load<typeof import('./run-view.svelte.ts')>('state/runs/run-view.svelte.ts');
const { connection } = await load<typeof import('../connection.svelte.ts')>('state/connection.svelte.ts');

const run = (fields: Partial<RunDetail> = {}) =>
  ({
    id: 7,
    status: 'running',
    eventId: '40',
    strategy: null,
    timeoutS: null,
    cancelRequestedAt: null,
    ...fields,
  }) as RunDetail;
/** What a server of an earlier version answers, during an upgrade. */
const beforeEventId = { eventId: undefined, eventSeq: 40 } as unknown as Partial<RunDetail>;
const targetRun = (id: number) =>
  ({ id, targetName: `host-${id}`, status: 'running', startedAt: null }) as TargetRun;
const step = (id: number, targetRunId: number, stepNumber: number, fields: Partial<Step> = {}) =>
  ({ id, targetRunId, stepNumber, status: 'pending', attempt: 0, startedAt: null, ...fields }) as Step;

interface Script {
  run?: Partial<RunDetail>;
  pages?: Omit<RunSteps, 'nextCursor'>[];
  /** How often reading the steps fails at first. */
  failures?: number;
  /** The page from which on it fails. */
  failsAt?: number;
}

/** Sets up a run, by default of two hosts with two steps, and its stream, which the test controls. */
async function setup(script: Script = {}) {
  const pages = script.pages ?? [
    {
      targetRuns: [targetRun(1), targetRun(2)],
      steps: [step(11, 1, 1), step(12, 1, 2), step(21, 2, 1), step(22, 2, 2)],
    },
  ];
  let failures = script.failures ?? 0;
  let said = script.run;
  let steps = pages;
  const unavailable = { error: { code: 'unavailable', message: 'Not now.', requestId: 'r' } };
  let down = false;
  const streams: { url: URL; lastEventId: string | undefined; response: ServerResponse }[] = [];
  const stream: Answer = (request, response, url) => {
    if (down) return json(response, unavailable, 503);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('retry: 1\n\n');
    streams.push({ url, lastEventId: request.headers['last-event-id'] as string | undefined, response });
  };
  const { asked } = await serveApi({
    '/api/v1/runs/7': (_request, response) => json(response, run(said)),
    '/api/v1/runs/7/steps': (_request, response, url) => {
      const at = Number(url.searchParams.get('cursor') ?? 0);
      if (at >= (script.failsAt ?? 0)) failures -= 1;
      if (failures >= 0 && at >= (script.failsAt ?? 0)) return json(response, unavailable, 503);
      json(response, { ...steps[at], nextCursor: at + 1 < steps.length ? String(at + 1) : null });
    },
    '/api/v1/runs/7/events': stream,
  });
  const frames = stubFrames();
  const view = new RunView(7);
  onTestFinished(() => view.stop());
  const connected = (times: number) => eventually(() => streams.length).toBe(times);
  const send = (change: Partial<RunChange> & { seq: number }, id = String(change.seq)) =>
    streams
      .at(-1)
      ?.response.write(`event: change\nid: ${id}\ndata: ${JSON.stringify({ at: '', ...change })}\n\n`);
  /** Draws frames until it holds. */
  const seen = (holds: () => unknown) =>
    eventually(() => {
      frames.draw();
      return holds();
    }).toBeTruthy();
  const cut = () => {
    down = true;
    streams.at(-1)?.response.destroy();
  };
  const restore = () => {
    down = false;
  };
  const answers = (fields: Partial<RunDetail>, seen?: Omit<RunSteps, 'nextCursor'>) => {
    said = fields;
    if (seen !== undefined) steps = [seen];
  };
  return { view, answers, cut, restore, asked, streams, frames, connected, send, seen };
}

describe('a run as it progresses', () => {
  it('has all hosts with their steps, in order, as soon as it says that it is complete', async () => {
    const t = await setup({
      pages: [
        { targetRuns: [targetRun(1)], steps: [step(12, 1, 2), step(11, 1, 1)] },
        { targetRuns: [targetRun(2)], steps: [step(21, 2, 1), step(22, 2, 2)] },
      ],
    });
    expect(t.view.hosts).toEqual([]);
    await t.view.start();
    // No frame has been drawn yet.
    expect(t.view.complete).toBe(true);
    expect(t.view.hosts.map((host) => host.steps.map((one) => one.id))).toEqual([
      [11, 12],
      [21, 22],
    ]);
  });

  it('is followed from the last event that its reading included', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    expect(t.streams[0]?.lastEventId).toBe('40');
    expect(t.streams[0]?.url.searchParams.has('output')).toBe(false);
  });

  it('takes from a change what it contains and leaves the rest: a leased step that begins gets its start time', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    t.send({ seq: 41, steps: [{ id: 12, status: 'running', attempt: 1, agentName: 'a' }] });
    await t.seen(() => t.view.host(1)?.steps[1]?.status === 'running');
    expect(t.view.host(1)?.steps[1]).toMatchObject({ status: 'running', startedAt: null });
    const before = t.view.host(2);
    t.send({ seq: 42, steps: [{ id: 12, startedAt: '2026-11-24T02:27:12.000Z' }] });
    await t.seen(() => t.view.host(1)?.steps[1]?.startedAt !== null);
    expect(t.view.host(1)?.steps[1]).toMatchObject({
      status: 'running',
      attempt: 1,
      agentName: 'a',
      startedAt: '2026-11-24T02:27:12.000Z',
    });
    expect(t.view.host(2)).toBe(before);
  });

  it('is redrawn once per frame, however many changes came', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    t.frames.draw();
    const before = t.view.hosts;
    for (let seq = 41; seq <= 60; seq += 1) t.send({ seq, steps: [{ id: 11, outputSeq: seq }] });
    t.send({ seq: 61, run: { status: 'failed' } });
    await eventually(() => t.view.run?.status).toBe('failed');
    expect(t.view.hosts).toBe(before);
    expect(t.frames.waiting()).toBe(1);
    t.frames.draw();
    expect(t.view.hosts).not.toBe(before);
    expect(t.view.host(1)?.steps[0]?.outputSeq).toBe(60);
  });

  it('ignores what it does not know', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    t.send({
      seq: 41,
      steps: [{ id: 99, status: 'failed' }],
      targetRuns: [{ ...targetRun(9), status: 'failed' }],
    });
    t.send({ seq: 42, targetRuns: [{ ...targetRun(2), status: 'failed' }] });
    await t.seen(() => t.view.host(2)?.targetRun.status === 'failed');
    expect(t.view.hosts).toHaveLength(2);
    expect(t.view.host(1)?.targetRun.status).toBe('running');
  });

  it('resumes after a cut from the last change, and says meanwhile that it may be out of date', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    t.send({ seq: 41, steps: [{ id: 11, status: 'running' }] });
    await t.seen(() => t.view.host(1)?.steps[0]?.status === 'running');
    expect(connection.state).toBe('live');
    t.cut();
    await eventually(() => connection.state).toBe('reconnecting');
    expect(t.view.hosts).toHaveLength(2);
    t.restore();
    await t.connected(2);
    expect(t.streams[1]?.lastEventId).toBe('41');
    await eventually(() => connection.state).toBe('live');
  });

  it('leaves nothing behind when it is stopped while waiting', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    t.cut();
    await eventually(() => connection.state).toBe('reconnecting');
    t.view.stop();
    expect(connection.state).toBe('live');
    expect(t.frames.waiting()).toBe(0);
  });

  it('requests the output of the step in view, from where its reader is', async () => {
    const t = await setup();
    const events: string[] = [];
    const listener: OutputListener = {
      stepId: 12,
      position: () => '12.1.30',
      take: (event) => void events.push(event.event),
    };
    await t.view.start();
    await t.connected(1);
    t.send({ seq: 41, steps: [{ id: 12, status: 'running' }] });
    await t.seen(() => t.view.host(1)?.steps[1]?.status === 'running');
    t.view.listen(listener);
    await t.connected(2);
    expect(t.streams[1]?.url.searchParams.get('output')).toBe('12');
    expect(t.streams[1]?.lastEventId).toBe('41~12.1.30');
    t.streams[1]?.response.write('event: chunk\nid: 41~12.1.31\ndata: {}\n\n');
    await eventually(() => events).toEqual(['chunk']);
    t.view.listen(listener);
    t.view.listen(undefined);
    await t.connected(3);
    expect(t.streams[2]?.url.searchParams.has('output')).toBe(false);
  });

  it('skips no change that came with output which the reader turns away from', async () => {
    const t = await setup();
    let taken = 0;
    let goOn = () => {};
    const listener: OutputListener = {
      stepId: 12,
      position: () => '12.1.30',
      take: () => {
        taken += 1;
        return new Promise<void>((resolve) => {
          goOn = resolve;
        });
      },
    };
    await t.view.start();
    await t.connected(1);
    t.view.listen(listener);
    await t.connected(2);
    const chunk = 'event: chunk\nid: 41~12.1.31\ndata: {}\n\n';
    const change = JSON.stringify({ at: '', seq: 42, steps: [{ id: 11, status: 'running' }] });
    t.streams[1]?.response.write(`${chunk}event: change\nid: 42\ndata: ${change}\n\n`);
    await eventually(() => taken).toBe(1);
    t.view.listen(undefined);
    goOn();
    await t.connected(3);
    expect(t.streams[2]?.lastEventId).toBe('41');
  });

  it('names the reader’s part of the run whenever it resumes, so that nothing is sent twice', async () => {
    const t = await setup({ run: { eventId: '0badcafe.3' } });
    const listener: OutputListener = { stepId: 12, position: () => '12.1.30', take: () => {} };
    await t.view.start();
    await t.connected(1);
    expect(t.streams[0]?.lastEventId).toBe('0badcafe.3');
    t.view.listen(listener);
    await t.connected(2);
    expect(t.streams[1]?.lastEventId).toBe('0badcafe.3~12.1.30');
    t.streams[1]?.response.write('event: chunk\nid: 0badcafe.7~12.1.31\ndata: {}\n\n');
    t.send({ seq: 8, steps: [{ id: 11, status: 'running' }] }, '0badcafe.8~12.1.31');
    await t.seen(() => t.view.host(1)?.steps[0]?.status === 'running');
    t.view.listen(undefined);
    await t.connected(3);
    expect(t.streams[2]?.lastEventId).toBe('0badcafe.8');
  });

  it('is read again when the reader’s part changes: hosts outside of it go, and the numbers are those of the new part', async () => {
    const t = await setup({ run: { eventId: '5000', targetsTotal: 2 } });
    await t.view.start();
    await t.connected(1);
    // A right was revoked: the server cuts the stream, and sends the new part from its first event.
    t.answers(
      { eventId: '0badcafe.300', targetsTotal: 1 },
      { targetRuns: [targetRun(2)], steps: [step(21, 2, 1, { status: 'running' }), step(22, 2, 2)] },
    );
    t.cut();
    await eventually(() => connection.state).toBe('reconnecting');
    t.restore();
    await t.connected(2);
    t.send({ seq: 1, run: { status: 'queued' }, steps: [{ id: 21, status: 'ready' }] }, '0badcafe.1');
    await t.connected(3);
    expect(t.streams[2]?.lastEventId).toBe('0badcafe.300');
    await t.seen(() => t.view.host(1) === undefined);
    expect(t.view.hosts.map((host) => host.targetRun.id)).toEqual([2]);
    expect([t.view.run?.targetsTotal, t.view.run?.status, t.view.complete]).toEqual([1, 'running', true]);
    expect(t.view.host(2)?.steps[0]?.status).toBe('running');
    t.send({ seq: 301, steps: [{ id: 21, status: 'succeeded' }] }, '0badcafe.301');
    await t.seen(() => t.view.host(2)?.steps[0]?.status === 'succeeded');
  });

  it('is followed by event number if a server of an earlier version does not name the event that its answer includes', async () => {
    const t = await setup({ run: beforeEventId });
    await t.view.start();
    await t.connected(1);
    expect(t.streams[0]?.lastEventId).toBe('40');
    t.send({ seq: 41, steps: [{ id: 12, status: 'running' }] });
    await t.seen(() => t.view.host(1)?.steps[1]?.status === 'running');
    t.view.listen({ stepId: 12, position: () => '12.1.30', take: () => {} });
    await t.connected(2);
    expect(t.streams[1]?.lastEventId).toBe('41~12.1.30');
  });

  it('is kept up to date even if such a server did not name the part when it was read', async () => {
    const t = await setup({ run: beforeEventId });
    await t.view.start();
    await t.connected(1);
    t.send({ seq: 1, steps: [{ id: 21, status: 'running' }] }, '0badcafe.1');
    await t.seen(() => t.view.host(2)?.steps[0]?.status === 'running');
    t.cut();
    await eventually(() => connection.state).toBe('reconnecting');
    t.restore();
    await t.connected(2);
    expect(t.streams[1]?.lastEventId).toBe('0badcafe.1');
    expect(t.asked.filter((line) => line === 'GET /api/v1/runs/7')).toHaveLength(1);
  });

  it('is not followed if it has already ended', async () => {
    const t = await setup({ run: { status: 'succeeded' } });
    await t.view.start();
    expect(t.view.stream).toBe('ended');
    expect(t.streams).toEqual([]);
  });

  it('continues reading where it failed until it is complete, and meanwhile says why and that it is not live', async () => {
    const t = await setup({
      pages: [
        { targetRuns: [targetRun(1)], steps: [step(11, 1, 1)] },
        { targetRuns: [targetRun(2)], steps: [step(21, 2, 1)] },
      ],
      failures: 1,
      failsAt: 1,
    });
    const started = t.view.start();
    await eventually(() => t.view.error?.code).toBe('unavailable');
    expect([t.view.error?.asksAgain, t.view.complete, t.streams.length]).toEqual([true, false, 0]);
    expect(connection.state).toBe('reconnecting');
    await started;
    expect([t.view.error, t.view.complete, connection.state]).toEqual([undefined, true, 'live']);
    expect(t.view.hosts.map((host) => host.targetRun.id)).toEqual([1, 2]);
    await t.connected(1);
    expect(t.asked.filter((line) => !line.includes('events'))).toEqual([
      'GET /api/v1/runs/7',
      'GET /api/v1/runs/7/steps?limit=200',
      'GET /api/v1/runs/7/steps?limit=200&cursor=1',
      'GET /api/v1/runs/7/steps?limit=200&cursor=1',
    ]);
  });

  it('reads who cancelled it when an event only says that it is cancelling, and stops once it knows', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    t.send({ seq: 41, run: { status: 'running' } });
    await t.seen(() => t.view.run?.status === 'running');
    const reads = () => t.asked.filter((line) => line === 'GET /api/v1/runs/7').length;
    expect(reads()).toBe(1);
    t.answers({ status: 'running', cancelRequestedAt: '2026-11-24T02:27:12.000Z', cancelRequestedBy: 'ada' });
    t.send({ seq: 42, run: { status: 'cancelling' } });
    await t.seen(() => t.view.run?.cancelRequestedBy === 'ada');
    // What the stream said stays, whether the run was read before or after.
    expect(t.view.run?.status).toBe('cancelling');
    expect(reads()).toBe(2);
  });

  it('is checked for what the person may do with it when their rights have changed, even if it has ended', async () => {
    const t = await setup({ run: { status: 'succeeded', mayRun: false, mayCancel: true } });
    await t.view.start();
    t.answers({ status: 'succeeded', mayRun: true, mayCancel: false });
    t.view.readDetailSoon();
    await t.seen(() => t.view.run?.mayRun === true);
    expect(t.view.run?.mayCancel).toBe(false);
  });

  it('reads what may still run once it has ended with hosts in an unknown state', async () => {
    const t = await setup();
    await t.view.start();
    await t.connected(1);
    t.answers({ status: 'unknown', targetsUnknown: 1, untoldAttempts: 1 });
    t.send({ seq: 41, run: { status: 'unknown', targetsUnknown: 1 } });
    await t.seen(() => t.view.run?.untoldAttempts === 1);
  });
});
