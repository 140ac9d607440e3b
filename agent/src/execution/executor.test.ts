import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { chainLink, closeCodes, type Lease, type OutputFrame } from '@opsconductor/protocol';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { StepContext } from '../steps/step-type.ts';
import { type AgentSetup, lease, rendering, setup, success } from '../testing/agent-setup.ts';
import type { FakeConnection } from '../testing/fake-server.ts';
import { Mailbox } from '../testing/mailbox.ts';
import type { KnownStepTypes } from './step/known-step-types.ts';

async function connected(t: AgentSetup, options: Parameters<AgentSetup['start']>[0] = {}) {
  const agent = await t.start(options);
  const { connection } = await t.server.nextSession();
  return { agent, connection };
}

function text(frame: OutputFrame): string {
  return gunzipSync(frame.bytes).toString('utf8');
}

function digestOf(frames: OutputFrame[]): string {
  let digest = Buffer.alloc(32);
  for (const frame of frames) {
    const sha256 = createHash('sha256').update(frame.bytes).digest();
    digest = createHash('sha256')
      .update(digest)
      .update(chainLink({ ...frame, sha256 }))
      .digest();
  }
  return digest.toString('base64');
}

async function settle(connection: FakeConnection) {
  const complete = await connection.next('complete');
  const { requestId, step, epoch } = complete;
  connection.send({ type: 'completed', requestId, step, epoch, result: 'settled' });
  return complete;
}

test('a target that does not answer is reported with for how long, to each session, and that it answers again', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.targetSilence?.(performance.now() - 40_000);
  const { silentMs, leftMs, ...silent } = await connection.next('target_silence');
  const named = { step: 1, epoch: 1, leaseToken: lease(1).leaseToken };
  expect(silent).toEqual({ type: 'target_silence', ...named });
  expect(silentMs).toBeGreaterThanOrEqual(40_000);
  expect(leftMs).toBeGreaterThan(0);
  // What the server was told may have been lost with the connection.
  connection.close(1012);
  const { connection: next } = await t.server.nextSession({
    verdict: ({ step: id, epoch }) => ({ step: id, epoch, verdict: 'continue', ackedSeq: 0 }),
  });
  expect(await next.next('target_silence')).toMatchObject(silent);
  step.context.targetSilence?.(undefined);
  expect(await next.next('target_silence')).toEqual(silent);
  step.end(success);
  await settle(next);
});

test('a leased step is begun, its output sent, and its outcome reported after the output', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  expect(await connection.next('started')).toMatchObject({
    step: 1,
    epoch: 1,
    leaseToken: lease(1).leaseToken,
  });
  step.context.output.write('stdout', Buffer.from('hello\n'));
  const first = await connection.nextFrame();
  expect({ seq: first.seq, stream: first.stream, text: text(first) }).toEqual({
    seq: 1,
    stream: 'stdout',
    text: 'hello\n',
  });
  step.context.output.write('stderr', Buffer.from('oh'));
  step.end(success);
  const complete = await connection.next('complete');
  const second = await connection.nextFrame();
  expect(complete.outcome).toEqual(success);
  expect(complete.output).toEqual({
    lastSeq: 2,
    rawBytes: 8,
    digest: digestOf([first, second]),
    truncated: false,
    gaps: [],
  });
  expect(connection.order.filter((type) => type !== 'heartbeat')).toEqual([
    'authenticate',
    'resume',
    'started',
    'chunk',
    'chunk',
    'complete',
  ]);
});

test('an agent that is to stop first removes what a settled attempt kept on its target', async () => {
  await using t = await setup();
  let tellBegun: () => void = () => undefined;
  const removalBegan = new Promise<void>((resolve) => {
    tellBegun = resolve;
  });
  let endRemoval: () => void = () => undefined;
  const removal = new Promise<void>((resolve) => {
    endRemoval = resolve;
  });
  const stepTypes: KnownStepTypes = new Map([
    [
      'test.step',
      {
        async execute(_: unknown, context: StepContext) {
          await context.beforeStart({ survivesWith: {} });
          return success;
        },
        remove() {
          tellBegun();
          return removal;
        },
        configProblem: () => undefined,
      },
    ],
  ]);
  const { agent, connection } = await connected(t, { stepTypes });
  connection.send({ type: 'leases', leases: [lease(1)] });
  await settle(connection);
  await removalBegan;
  let isDrained = false;
  const drained = agent.drain().then(() => {
    isDrained = true;
  });
  await connection.next('agent_drain');
  expect(isDrained).toBe(false);
  endRemoval();
  await drained;
});

test.each<[string, Partial<Lease>, { survivesWith: object } | undefined, { command: boolean }]>([
  ['a command that outlives its agent', {}, { survivesWith: { kept: 1 } }, { command: true }],
  [
    'the file of a command’s outputs',
    {
      config: { become: { method: 'sudo', user: 'app' }, command: 'secret' },
      rendering: rendering({ outputs: { id: { file: true } } }),
    },
    undefined,
    { command: false },
  ],
])(
  'of an agent that is killed before it has removed it, the next process removes what was kept on the target: %s',
  async (_, more, how, { command }) => {
    await using t = await setup();
    const removals = new Mailbox<{ kept: unknown; config: unknown; become: unknown }>();
    const stepTypesOf = (removal: Promise<void>): KnownStepTypes =>
      new Map([
        [
          'test.step',
          {
            async execute(__: unknown, context: StepContext) {
              await context.beforeStart(how as never);
              return success;
            },
            remove(onTarget: { become?: unknown }, kept: unknown, config: unknown) {
              removals.put({ kept, config, become: onTarget.become });
              return removal;
            },
            configProblem: () => undefined,
          },
        ],
      ]) as never;
    const first = await connected(t, { stepTypes: stepTypesOf(new Promise(() => {})) });
    first.connection.send({ type: 'leases', leases: [lease(1, more)] });
    await settle(first.connection);
    const asked = await removals.take(() => true);
    expect(asked.kept).toMatchObject({ command, outputFile: !command });
    await first.agent.stop();

    const settled = ({ step, epoch }: { step: number; epoch: number }) =>
      ({ step, epoch, verdict: 'forget', ackedSeq: 0, settled: true }) as const;
    const second = await t.start({ stepTypes: stepTypesOf(Promise.resolve()) });
    const { resume } = await t.server.nextSession({ verdict: settled });
    expect(resume.attempts).toMatchObject([{ step: 1, state: 'finished' }]);
    const again = await removals.take(() => true);
    expect(again).toMatchObject({ kept: asked.kept, become: asked.become });
    expect(JSON.stringify(again.config)).not.toContain('secret');
    await second.drain();
    await second.stop();
    await t.start({ stepTypes: stepTypesOf(Promise.resolve()) });
    expect((await t.server.nextSession()).resume).toMatchObject({ attempts: [], journalIntact: true });
  },
);

test('a settled attempt leaves neither spool nor journal entry', async () => {
  await using t = await setup();
  const { agent, connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', Buffer.from('x'));
  step.end(success);
  await settle(connection);
  await agent.drain();
  await agent.stop();
  expect(await readdir(t.directory.data.spool)).toEqual([]);
  expect(await readdir(t.directory.data.root)).not.toContain('spool.spare');
  await t.start();
  const { resume } = await t.server.nextSession();
  expect(resume).toMatchObject({
    attempts: [],
    journalIntact: true,
    capabilities: expect.arrayContaining(['username_setting']),
  });
});

test('the next step in the reply to a completion starts at once', async () => {
  await using t = await setup();
  const { connection } = await connected(t, { slots: 1 });
  connection.send({ type: 'leases', leases: [lease(1)] });
  (await t.nextStep()).end(success);
  const { requestId } = await connection.next('complete');
  const next = lease(2, { config: { name: 'second' } });
  connection.send({ type: 'completed', requestId, step: 1, epoch: 1, result: 'settled', next });
  expect((await t.nextStep()).config).toEqual({ name: 'second' });
});

test('a lease that arrives again after the end of its attempt was confirmed is not begun again', async () => {
  await using t = await setup();
  const { connection } = await connected(t, { slots: 1 });
  const first = lease(1, { config: { name: 'first' } });
  const second = lease(2, { config: { name: 'second' } });
  connection.send({ type: 'leases', leases: [first, first] });
  (await t.nextStep()).end(success);
  await settle(connection);
  connection.send({ type: 'leases', leases: [first, second] });
  expect((await t.nextStep()).config).toEqual({ name: 'second' });
});

test('no more steps execute than there are slots', async () => {
  await using t = await setup();
  const { connection } = await connected(t, { slots: 1 });
  connection.send({
    type: 'leases',
    leases: [lease(1, { config: { name: 'a' } }), lease(2, { config: { name: 'b' } }), lease(3)],
  });
  const first = await t.nextStep();
  expect(first.config.name).toBe('a');
  // A step that waits for a slot ends as soon as it is cancelled.
  connection.send({ type: 'cancel', step: 3, epoch: 1 });
  expect(await connection.next('complete')).toMatchObject({ step: 3, outcome: { reason: 'cancelled' } });
  first.end(success);
  await connection.next('complete');
  expect((await t.nextStep()).config.name).toBe('b');
});

test('a cancel reaches the step with its kill grace', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  const aborted = new Promise((resolve) => step.context.signal.addEventListener('abort', resolve));
  connection.send({ type: 'cancel', step: 1, epoch: 1 });
  await aborted;
  expect(step.context.signal.reason).toEqual({ cause: 'cancelled', killGraceMs: 10_000 });
});

test('a step that waits for a slot is cancelled without being begun', async () => {
  await using t = await setup();
  const { connection } = await connected(t, { slots: 1 });
  connection.send({ type: 'leases', leases: [lease(1), lease(2)] });
  await t.nextStep();
  connection.send({ type: 'cancel', step: 2, epoch: 1 });
  const complete = await connection.next('complete');
  expect(complete).toMatchObject({ step: 2, outcome: { status: 'cancelled', reason: 'cancelled' } });
  expect(connection.untaken('started')).toBe(0);
});

test('a step type that this agent does not know fails, and the message lists those that it knows', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1, { stepType: 'winrm.exec' })] });
  const { outcome } = await connection.next('complete');
  expect(outcome).toMatchObject({ status: 'failed', reason: 'invalid_config' });
  expect(outcome.message).toContain('winrm.exec; it knows test.step');
});

test('a configuration that its schema refuses fails without reaching the step type', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1, { config: { timeout: 'soon' } })] });
  const { outcome } = await connection.next('complete');
  expect(outcome).toMatchObject({ status: 'failed', reason: 'invalid_config' });
  expect(outcome.message).toContain('config.timeout');
});

test('chunks that the server lacks are sent again, followed by the completion with a new request id', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', Buffer.from('one'));
  const first = await connection.nextFrame();
  step.context.output.write('stderr', Buffer.from('two'));
  step.end(success);
  const second = await connection.nextFrame();
  connection.send({ type: 'output_ack', acks: [{ step: 1, epoch: 1, seq: 2 }] });
  const complete = await connection.next('complete');
  const { requestId, step: id, epoch } = complete;
  connection.send({ type: 'completed', requestId, step: id, epoch, result: 'resend', fromSeq: 1 });
  expect(await connection.nextFrame()).toEqual(first);
  expect(await connection.nextFrame()).toEqual(second);
  const again = await connection.next('complete');
  expect(again.requestId).not.toBe(requestId);
  expect({ ...again, requestId }).toEqual(complete);
});

test('after a cut the step goes on, and its output is sent from where the copy of the server ends', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  await connection.next('started');
  step.context.output.write('stdout', Buffer.from('one'));
  await connection.nextFrame();
  step.context.output.write('stderr', Buffer.from('two'));
  await connection.nextFrame();
  connection.cut();
  const second = await t.server.nextSession({
    verdict: ({ step: id, epoch }) => ({ step: id, epoch, verdict: 'continue', ackedSeq: 1 }),
  });
  expect(second.resume.attempts).toEqual([
    { step: 1, epoch: 1, leaseToken: lease(1).leaseToken, state: 'running', lastSeq: 2 },
  ]);
  expect(await second.connection.nextFrame()).toMatchObject({ seq: 2, stream: 'stderr' });
  step.context.output.write('stdout', Buffer.from('three'));
  expect(await second.connection.nextFrame()).toMatchObject({ seq: 3 });
  step.end(success);
  expect((await second.connection.next('complete')).output.lastSeq).toBe(3);
});

test('a completion whose answer was lost is sent again under the same request id', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.end(success);
  const complete = await connection.next('complete');
  connection.cut();
  const second = await t.server.nextSession();
  expect(second.resume.attempts).toMatchObject([{ step: 1, state: 'finished' }]);
  expect(await second.connection.next('complete')).toEqual(complete);
});

test('an attempt that the server forgot goes on, and its end is not reported', async () => {
  await using t = await setup();
  const { connection } = await connected(t, { slots: 1 });
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  connection.cut();
  const second = await t.server.nextSession({
    verdict: ({ step: id, epoch }) => ({ step: id, epoch, verdict: 'forget', ackedSeq: 0 }),
  });
  await second.connection.next('heartbeat'); // the agent has handled the verdict
  second.connection.send({ type: 'leases', leases: [lease(2)] });
  step.context.output.write('stdout', Buffer.from('for nobody'));
  step.end(success);
  (await t.nextStep()).end(success);
  expect(await second.connection.next('complete')).toMatchObject({ step: 2 });
  expect(second.connection.order).not.toContain('chunk');
  expect(second.connection.untaken('complete')).toBe(0);
});

test('a lease that was superseded before it began is not begun', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  connection.cut();
  const next = await t.server.nextSession({
    verdict: ({ step: id, epoch }) => ({ step: id, epoch, verdict: 'superseded', ackedSeq: 0 }),
  });
  // The agent has read the verdict.
  await next.connection.next('heartbeat');
  await expect(step.context.beforeStart()).rejects.toThrow('revoked');
});

test('a step that began while there was no connection is said to have started afterwards', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  connection.cut();
  const next = await t.server.nextConnection();
  await step.context.beforeStart();
  await next.welcome();
  await next.next('resume');
  next.send({ type: 'resumed', attempts: [{ step: 1, epoch: 1, verdict: 'continue', ackedSeq: 0 }] });
  expect(await next.next('started')).toMatchObject({ step: 1 });
});

test('a draining agent hands back new leases and asks for no next step', async () => {
  await using t = await setup();
  const { agent, connection } = await connected(t, { slots: 1 });
  await agent.connected;
  connection.send({ type: 'leases', leases: [lease(1), lease(2)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  const drained = agent.drain();
  await connection.next('agent_drain');
  expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 2 }], reason: 'draining' });
  connection.send({ type: 'leases', leases: [lease(3)] });
  expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 3 }], reason: 'draining' });
  step.end(success);
  expect((await settle(connection)).wantsNext).toBe(false);
  await drained;
});

test('an agent that the server does not accept is stopped without waiting for it to confirm ends, which are kept', async () => {
  await using t = await setup();
  const { agent, connection } = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  await connection.next('started');
  connection.close(closeCodes.unauthenticated, 'agent is revoked');
  let isDrained = false;
  const drained = agent.drain().then(() => {
    isDrained = true;
  });
  (await t.server.nextConnection()).close(closeCodes.unauthenticated);
  await t.server.nextConnection();
  expect(isDrained).toBe(false);
  step.end(success);
  await drained;
  await agent.stop();
  await t.start();
  const { resume, connection: back } = await t.server.nextSession();
  expect(resume.attempts).toMatchObject([{ step: 1, state: 'finished' }]);
  expect(await settle(back)).toMatchObject({ outcome: success });
});

test('a heartbeat lists what is held', async () => {
  await using t = await setup();
  await t.start();
  const { connection } = await t.server.nextSession({ heartbeatIntervalMs: 100 });
  connection.send({ type: 'leases', leases: [lease(1)] });
  await t.nextStep();
  for (;;) {
    const { held } = await connection.next('heartbeat');
    if (held.length === 0) continue;
    expect(held).toEqual([[1, 1]]);
    break;
  }
});

test('an end that the server has recorded, or another agent reports, is dropped quietly, one that it never heard of with a warning', async () => {
  await using t = await setup();
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line) => lines.push(line) });
  const { connection } = await connected(t, { log });
  connection.send({ type: 'leases', leases: [lease(1), lease(2), lease(3)] });
  for (const step of [await t.nextStep(), await t.nextStep(), await t.nextStep()]) {
    await step.context.beforeStart();
    step.end(success);
  }
  for (let n = 0; n < 3; n += 1) await connection.next('complete');
  connection.cut();
  const second = await t.server.nextSession({
    verdict: ({ step, epoch }) => ({
      step,
      epoch,
      verdict: 'forget',
      ackedSeq: 0,
      ...(step === 1 ? { settled: true } : {}),
      ...(step === 3 ? { taken: true } : {}),
    }),
  });
  await second.connection.next('heartbeat'); // the agent has handled the verdicts
  second.connection.cut();
  expect((await t.server.nextSession()).resume.attempts).toEqual([]);
  const warned = lines.filter((line) => line.includes('does not know this attempt'));
  expect(warned.map((line) => JSON.parse(line).step)).toEqual([2]);
});

test('an agent that is asked to hand back returns what it has not begun, which then never begins; the rest goes on', async () => {
  await using t = await setup();
  const { connection } = await connected(t, { slots: 2 });
  connection.send({ type: 'leases', leases: [lease(1), lease(2), lease(3)] });
  const begun = await t.nextStep();
  await begun.context.beforeStart();
  await connection.next('started');
  const connecting = await t.nextStep();
  connection.send({ type: 'drain', reason: 'agent is disabled', handBack: true });
  const { attempts } = await connection.next('return');
  expect(attempts.map(({ step }) => step)).toEqual([2, 3]);
  await connection.next('agent_drain');
  await expect(connecting.context.beforeStart()).rejects.toThrow('revoked');
  connecting.end(success);
  begun.end(success);
  expect(await settle(connection)).toMatchObject({ step: 1, wantsNext: false });
});

test('a server of an earlier version is sent nothing that it does not know, and no command outlives its agent with it', async () => {
  await using t = await setup();
  await t.start();
  const older = (await t.server.nextSession({ isOlder: true })).connection;
  older.send({ type: 'leases', leases: [lease(1)] });
  const first = await t.nextStep();
  expect(first.context.maySurvive).toBe(false);
  await first.context.beforeStart();
  const lost = { status: 'unknown', reason: 'supervisor_lost', message: 'It was ended.' } as const;
  first.end(lost);
  expect((await older.next('complete')).outcome).toEqual({ ...lost, reason: 'connection_lost' });
  older.cut();
  // The same outcome, sent to a server that has been upgraded meanwhile.
  const { connection } = await t.server.nextSession();
  expect((await connection.next('complete')).outcome).toEqual(lost);
  connection.send({ type: 'leases', leases: [lease(2)] });
  expect((await t.nextStep()).context.maySurvive).toBe(true);
});

test('a step that prints more than its limit is cut, and stopped if it asks for that', async () => {
  await using t = await setup();
  const { connection } = await connected(t);
  const limits = { output_mb: 1 };
  connection.send({
    type: 'leases',
    leases: [lease(1, { config: { limits, on_output_limit: 'stop' } }), lease(2, { config: { limits } })],
  });
  const stops = [await t.nextStep(), await t.nextStep()];
  for (const { context } of stops) {
    await context.beforeStart();
    context.output.write('stdout', Buffer.alloc(1024 * 1024 + 1));
  }
  const reasons = stops.map(({ context }) =>
    context.signal.aborted ? context.signal.reason.cause : 'goes on',
  );
  expect(reasons.sort()).toEqual(['goes on', 'output_limit']);
  for (const step of stops) step.end(success);
  expect((await connection.next('complete')).output.truncated).toBe(true);
});

test('an agent above its limits says so with each heartbeat, and wants no next step', async () => {
  await using t = await setup();
  const { connection } = await connected(t, { busyLimits: { maxRssBytes: 1 } });
  expect(await connection.next('heartbeat')).toMatchObject({ busy: 'memory' });
  connection.send({ type: 'leases', leases: [lease(1)] });
  (await t.nextStep()).end(success);
  expect((await connection.next('complete')).wantsNext).toBe(false);
});
