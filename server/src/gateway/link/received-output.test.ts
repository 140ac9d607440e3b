// What an agent sends of an attempt's output, and what it says about it at the end.
import { createHash } from 'node:crypto';
import {
  agentCapabilities,
  chainLink,
  closeCodes,
  encodeFrame,
  type Lease,
  type OutputFrame,
} from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import type { ResumedAttempt } from '../../runs/leases/resume-agent.ts';
import { chunksPerIndexPage } from '../../store/runs/run-output.ts';
import { AttemptOutput } from '../leases/attempt-output.ts';
import { chunk, claim, completion, leased } from '../leases/leased-testing.ts';
import { chainOf, setupGateway } from '../testing.ts';
import { ReceivedOutput } from './received-output.ts';

test('output is acknowledged when it is stored, and then the completion, with the next step in the answer', async () => {
  await using t = await leased({ steps: 2 });
  const frames = [chunk(t.lease, 1, 'one\n'), chunk(t.lease, 2, 'two\n')];
  for (const frame of frames) t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, frames));
  await t.agentSocket.acknowledged(2);
  const completed = await t.agentSocket.next('completed');
  expect(completed).toMatchObject({ requestId: 'request-1', result: 'settled', next: { epoch: 1 } });
  expect(await t.steps(t.runId)).toMatchObject([
    { status: 'succeeded', outputState: 'complete', outputBytes: 8 },
    { status: 'running' },
  ]);
  const next = completed.next;
  if (next === undefined) throw new Error('no next step');
  const one = chunk(next, 1, 'three\n');
  t.agentSocket.sendFrame(one);
  t.agentSocket.send(completion(next, [one], { requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.run(t.runId)).toMatchObject({ status: 'succeeded', completedSteps: 2 });
});

test('a completion that claims more than is stored is asked for the rest', async () => {
  await using t = await leased();
  const frames = [chunk(t.lease, 1, 'one\n'), chunk(t.lease, 2, 'two\n'), chunk(t.lease, 3, 'three\n')];
  t.agentSocket.sendFrame(frames[0] as OutputFrame);
  t.agentSocket.send(completion(t.lease, frames));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'resend', fromSeq: 2 });
  for (const frame of frames.slice(1)) t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, frames, { requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ requestId: 'request-2', result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([
    { status: 'succeeded', outputState: 'complete', outputBytes: 14 },
  ]);
});

test('output whose digest differs is asked for once more, and then said to have a gap', async () => {
  await using t = await leased();
  const frame = chunk(t.lease, 1, 'one\n');
  t.agentSocket.sendFrame(frame);
  const output = { ...claim([frame]), digest: chainOf([]), truncated: false, gaps: [] as [number, number][] };
  t.agentSocket.send(completion(t.lease, [frame], { output }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'resend', fromSeq: 1 });
  t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, [frame], { output, requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([
    { status: 'succeeded', outputState: 'gapped', outputBytes: 4 },
  ]);
});

test('output that was cut, or lost with a disk, is marked so', async () => {
  await using t = await leased({ steps: 2 });
  const frame = chunk(t.lease, 1, 'one\n');
  t.agentSocket.sendFrame(frame);
  const output = { ...claim([frame]), truncated: true, gaps: [] as [number, number][] };
  t.agentSocket.send(completion(t.lease, [frame], { output }));
  const { next } = await t.agentSocket.next('completed');
  if (next === undefined) throw new Error('no next step');
  const lost = { ...claim([]), lastSeq: 4, truncated: false, gaps: [[1, 4]] as [number, number][] };
  t.agentSocket.send(completion(next, [], { output: lost, requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
  expect((await t.steps(t.runId)).map((step) => step.outputState)).toEqual(['truncated', 'gapped']);
  expect(await t.run(t.runId)).toMatchObject({ outputState: 'gapped' });
});

test('output with a hole in it is not taken, and the connection is ended', async () => {
  await using t = await leased();
  t.agentSocket.sendFrame(chunk(t.lease, 2, 'two\n'));
  expect(await t.agentSocket.closed).toBe(closeCodes.serverRestart);
  const again = await t.connectAgent({
    attempts: [
      { step: t.lease.step, epoch: 1, leaseToken: t.lease.leaseToken, state: 'running', lastSeq: 2 },
    ],
  });
  expect(again.resumed.attempts).toEqual([
    { step: t.lease.step, epoch: 1, verdict: 'continue', ackedSeq: 0 },
  ]);
});

test('after a resume, output continues where it was, and its digest is that of the whole', async () => {
  await using t = await leased();
  const frames = [chunk(t.lease, 1, 'one\n'), chunk(t.lease, 2, 'two\n')];
  t.agentSocket.sendFrame(frames[0] as OutputFrame);
  await t.agentSocket.acknowledged(1);
  t.agentSocket.terminate();
  const { step, leaseToken } = t.lease;
  const again = await t.connectAgent({
    attempts: [{ step, epoch: 1, leaseToken, state: 'running', lastSeq: 2 }],
  });
  expect(again.resumed.attempts).toMatchObject([{ verdict: 'continue', ackedSeq: 1 }]);
  again.sendFrame(frames[1] as OutputFrame);
  again.send(completion(t.lease, frames));
  expect(await again.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([{ outputState: 'complete', outputBytes: 8 }]);
});

test('output of more chunks than are read at a time is compared as a whole, and what is missing of it is asked for', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  const chunks = 2 * chunksPerIndexPage + 1;
  const raw = Buffer.from('x');
  await t.sql`
    with step as (
      update job_run_steps set output_seq = ${chunks}, output_bytes = ${chunks} where id = ${step}
      returning attempt_day
    )
    insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
    select attempt_day, ${step}, ${epoch}, seq, 1, 0, 1, sha256(${raw}), ${raw}
    from step, generate_series(1, ${chunks}) as seq`;
  t.agentSocket.terminate();
  const again = await t.connectAgent({
    attempts: [{ step, epoch, leaseToken, state: 'running', lastSeq: chunks }],
  });
  const sha256 = createHash('sha256').update(raw).digest();
  let digest = Buffer.alloc(32);
  for (let seq = 1; seq <= chunks; seq++)
    digest = createHash('sha256')
      .update(digest)
      .update(chainLink({ seq, stream: 'stdout', rawLength: 1, sha256 }))
      .digest();
  const output = { lastSeq: chunks, rawBytes: chunks, digest: digest.toString('base64'), truncated: false };
  const longer = { ...output, lastSeq: chunks + 9, gaps: [[chunks + 1, chunks + 4]] as [number, number][] };
  again.send(completion(t.lease, [], { output: longer }));
  expect(await again.next('completed')).toMatchObject({ result: 'resend', fromSeq: chunks + 5 });
  again.send(completion(t.lease, [], { output: { ...output, gaps: [] }, requestId: 'request-2' }));
  expect(await again.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([{ outputState: 'complete' }]);
});

test.each([true, false])(
  'output that comes when another agent has the step is acknowledged, unless its command survives: %s',
  async (survives) => {
    await using t = await leased();
    const { step, epoch, leaseToken } = t.lease;
    t.agentSocket.send({ type: 'started', step, epoch, leaseToken, survives });
    t.agentSocket.sendFrame(chunk(t.lease, 1, 'one\n'));
    await t.agentSocket.acknowledged(1);
    await t.sql`update job_run_steps set session_number = session_number + 1 where id = ${step}`;
    t.agentSocket.sendFrame(chunk(t.lease, 2, 'two\n'));
    if (survives) {
      expect(await t.agentSocket.closed).toBe(closeCodes.serverRestart);
      expect(t.agentSocket.untaken).not.toContain('output_ack');
    } else await t.agentSocket.acknowledged(2);
    expect(await t.steps(t.runId)).toMatchObject([{ outputBytes: 4 }]);
  },
);

test('output of an attempt that the agent does not hold is ignored', async () => {
  await using t = await leased();
  t.agentSocket.sendFrame(chunk({ ...t.lease, step: 4711 }, 1, 'x'));
  t.agentSocket.sendFrame(chunk({ ...t.lease, epoch: 9 }, 1, 'x'));
  const frame = chunk(t.lease, 1, 'one\n');
  t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, [frame]));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
});

const unopened = [
  [
    'was altered',
    "left(data_key, -4) || 'AAAA'",
    'can’t be read: what the database has of it was altered or moved.',
  ],
  [
    'is under a master key that this server does not hold',
    "overlay(data_key placing 'xx' from 5 for 2)",
    'can’t be read on this server. A data key is wrapped under master key xx-',
  ],
] as const;

test.each(unopened)(
  'what a run whose key %s prints and hands on is not kept, which holds up nothing else of its agent',
  async (_, key, why) => {
    await using t = await setupGateway();
    const agent = await t.connectAgent({ capabilities: [...agentCapabilities] });
    const bad = await t.start({ rules: [{ outputs: { id: { pattern: '(.*)' } } }] });
    const good = await t.start();
    const leases: Lease[] = [];
    while (leases.length < 2) leases.push(...(await agent.next('leases')).leases);
    const [ofBad, ofGood] = [bad, good].map((id) => leases.find(({ runId }) => runId === id));
    if (ofBad === undefined || ofGood === undefined) throw new Error('not leased');
    await t.sql`update job_runs set data_key = ${t.sql.unsafe(key)} where id = ${bad}`;
    const [lost, kept] = [chunk(ofBad, 1, 'one\n'), chunk(ofGood, 1, 'one\n')];
    agent.sendFrame(lost);
    agent.sendFrame(kept);
    agent.send(completion(ofGood, [kept]));
    expect(await agent.next('completed')).toMatchObject({ step: ofGood.step, result: 'settled' });
    // All of it is asked for again, in vain.
    const handsOn = { id: { value: 'deploy' } };
    let result = 'resend';
    for (let tries = 1; result === 'resend' && tries <= 5; tries += 1) {
      if (tries > 1) agent.sendFrame(lost);
      agent.send(completion(ofBad, [lost], { requestId: `request-${tries + 1}`, handsOn }));
      result = (await agent.next('completed')).result;
    }
    expect(result).toBe('settled');
    expect(await t.steps(good)).toMatchObject([{ status: 'succeeded', outputState: 'complete' }]);
    const [step] = await t.steps(bad);
    expect(step).toMatchObject({ status: 'failed', reason: 'output_missing', outputState: 'gapped' });
    expect(step?.errorMessage).toContain(`What the step hands on is not kept. Its run or job ${why}`);
    expect(step?.advice).toContain(`Its output is not kept. The data key of its run ${why}`);
  },
);

test.each(unopened)(
  'an agent that comes back with a step of a run whose key %s is kept connected, and the step says why it has no output',
  async (_, key, why) => {
    await using t = await leased();
    await t.sql`update job_runs set data_key = ${t.sql.unsafe(key)}`;
    t.agentSocket.terminate();
    const { step, leaseToken } = t.lease;
    const frames = [chunk(t.lease, 1, 'one\n'), chunk(t.lease, 2, 'two\n')];
    const again = await t.connectAgent({
      attempts: [{ step, epoch: 1, leaseToken, state: 'running', lastSeq: 2 }],
    });
    let result = 'resend';
    for (let tries = 1; result === 'resend' && tries <= 5; tries += 1) {
      for (const frame of frames) again.sendFrame(frame);
      again.send(completion(t.lease, frames, { requestId: `request-${tries}` }));
      result = (await again.next('completed')).result;
    }
    expect(result).toBe('settled');
    const [settled] = await t.steps(t.runId);
    expect(settled).toMatchObject({ status: 'succeeded', outputState: 'gapped' });
    expect(settled?.advice).toContain(`Its output is not kept. The data key of its run ${why}`);
  },
);

test('output that could not be kept is kept once the server holds the master key again, and nothing is said about it', async () => {
  await using t = await leased();
  const [before] = await t.sql<{ dataKey: string }[]>`select data_key from job_runs`;
  await t.sql`update job_runs set data_key = overlay(data_key placing 'xx' from 5 for 2)`;
  const frame = chunk(t.lease, 1, 'one\n');
  t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, [frame]));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'resend', fromSeq: 1 });
  await t.sql`update job_runs set data_key = ${before?.dataKey ?? ''}`;
  t.agentSocket.sendFrame(frame);
  t.agentSocket.send(completion(t.lease, [frame], { requestId: 'request-2' }));
  expect(await t.agentSocket.next('completed')).toMatchObject({ result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([{ outputState: 'complete', outputBytes: 4, advice: null }]);
});

test('output that can not be stored is logged once for a connection, which it ends, however much had been sent', () => {
  const results: ((error: Error) => void)[] = [];
  const logged: string[] = [];
  const closed: number[] = [];
  const lease = { step: 1, epoch: 1 } as Lease;
  const attempt = new AttemptOutput({ step: 1, epoch: 1, ackedSeq: 0 } as unknown as ResumedAttempt);
  const received = new ReceivedOutput({
    agent: { agentId: 1, name: 'agent-a', sessionNumber: 1 },
    attempts: { get: () => attempt },
    writer: { push: (_, _frame, _digest, done) => results.push(done), queuedBytes: 0 },
    pace: { outputIsBehind: () => {} },
    send: () => {},
    close: (code) => closed.push(code),
    log: createLog({ level: 'info', plain: false, destination: { write: (line) => logged.push(line) } }),
  });
  for (const seq of [1, 2, 3]) received.take(Buffer.from(encodeFrame(chunk(lease, seq, 'x\n'))));
  for (const done of results) done(new Error('no room'));
  expect(results).toHaveLength(3);
  expect(logged).toEqual([expect.stringContaining('output could not be stored')]);
  expect(closed).toContain(closeCodes.serverRestart);
});
