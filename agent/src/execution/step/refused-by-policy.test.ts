import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { closeCodes, type Lease, startOfOutput } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { honestLease, signer } from '../../grants/testing.ts';
import { readPolicy } from '../../policy/agent-policy.ts';
import { readRefusals } from '../../policy/refusal-log.ts';
import { lease, setup, success } from '../../testing/agent-setup.ts';
import { type FakeConnection, installationId } from '../../testing/fake-server.ts';
import type { KnownStepTypes } from './known-step-types.ts';

test('a step that the owner of the machine does not allow is not begun, and both the server and the owner are told why', async () => {
  await using t = await setup();
  let opened = 0;
  const rules = { hours: { timezone: 'UTC', windows: [{ from: '03:00', to: '04:00' }] } };
  const clock = { wallMs: () => Date.parse('2026-03-27T12:00:00Z'), monotonicMs: () => 1_000 };
  const openCredential = async () => {
    opened += 1;
    throw new Error('it is never opened');
  };
  const agent = await t.start({ policy: { fileRoots: [], rules }, clock, openCredential });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1)] });
  const { outcome } = await connection.next('complete');
  expect(outcome).toMatchObject({
    status: 'failed',
    reason: 'policy_refused',
    message: expect.stringContaining('rule hours; it allows 03:00-04:00 (UTC)'),
  });
  expect(opened).toBe(0);
  await agent.stop();
  const kept = await readRefusals(t.directory.data.policyRefusals);
  expect(JSON.parse(kept?.last ?? '')).toMatchObject({
    rule: 'hours',
    attempt: { runId: 1, step: 1, epoch: 1, stepType: 'test.step' },
  });
});

test('a step that waits for its connection until the owner allows none any more is not begun', async () => {
  await using t = await setup();
  const rules = { hours: { timezone: 'UTC', windows: [{ from: '12:00', to: '13:00' }] } };
  const now = { wallMs: Date.parse('2026-03-27T12:59:59Z') };
  const clock = { wallMs: () => now.wallMs, monotonicMs: () => 1_000 };
  let begun = 0;
  const stepTypes: KnownStepTypes = new Map([
    [
      'test.step',
      {
        execute: async (_, { beforeStart }) => {
          now.wallMs += 1_000;
          await beforeStart();
          begun += 1;
          return success;
        },
        configProblem: () => undefined,
      },
    ],
  ]);
  await t.start({ policy: { fileRoots: [], rules }, clock, stepTypes });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1)] });
  const { outcome } = await connection.next('complete');
  expect(outcome).toMatchObject({ reason: 'policy_refused', message: expect.stringContaining('rule hours') });
  expect(begun).toBe(0);
});

test('a wait step runs no script on a host if the owner allows no commands', async () => {
  await using t = await setup();
  await t.start({ hasOwnSteps: true, policy: { fileRoots: [], rules: { step_types: ['wait_for'] } } });
  const { connection } = await t.server.nextSession();
  connection.send({
    type: 'leases',
    leases: [
      lease(1, { stepType: 'wait_for', config: { command: 'id' } }),
      lease(2, { stepType: 'wait_for', config: { seconds: 1 } }),
    ],
  });
  const outcomes = [(await connection.next('complete')).outcome, (await connection.next('complete')).outcome];
  expect(outcomes).toEqual([
    expect.objectContaining({
      reason: 'policy_refused',
      message: expect.stringMatching(/a command of wait_for, .*: rule step_types; it allows wait_for\.$/),
    }),
    expect.objectContaining({ status: 'succeeded' }),
  ]);
});

test('an agent reports no more slots, and runs no more steps at a time, than its owner allows', async () => {
  await using t = await setup();
  await t.start({ slots: 8, policy: { fileRoots: [], rules: { parallelism: 1 } } });
  const { connection, resume } = await t.server.nextSession();
  expect(resume.slots).toBe(1);
  // A server that ignores the limit leases three anyway.
  connection.send({
    type: 'leases',
    leases: [lease(1), lease(2), lease(3, { config: { name: 'third' } })],
  });
  const first = await t.nextStep();
  expect(first.config).toEqual({});
  // A step that waits for a slot ends as soon as it is cancelled.
  connection.send({ type: 'cancel', step: 2, epoch: 1 });
  expect(await connection.next('complete')).toMatchObject({ step: 2, outcome: { reason: 'cancelled' } });
  first.end(success);
  expect((await t.nextStep()).config).toEqual({ name: 'third' });
});

test('a signed step begins once, whatever a server leases, even after a restart of the agent', async () => {
  await using t = await setup();
  const by = await signer();
  let begun = 0;
  const stepTypes: KnownStepTypes = new Map([
    [
      'ssh.exec',
      {
        execute: async (_, { beforeStart, output }) => {
          await beforeStart();
          begun += 1;
          output.write('stdout', Buffer.from('pid=17\n'));
          return success;
        },
        configProblem: () => undefined,
      },
    ],
  ]);
  const secrets = { open: async () => [], seal: async () => undefined, canSeal: true };
  const policy = { fileRoots: [], rules: { require_grant: by.rule } };
  const agent = await t.start({ policy, stepTypes, secrets });
  const { connection } = await t.server.nextSession();
  const signed = await signedNow(by);
  connection.send({ type: 'leases', leases: [signed] });
  expect((await settle(connection)).outcome).toMatchObject(success);
  // Written together, so that no crash leaves a start whose grant is unused.
  const journal = await readFile(t.directory.data.journal, 'utf8');
  expect(journal.match(/"is":"(granted|starting)"/g)).toEqual(['"is":"granted"', '"is":"starting"']);

  const refused = {
    reason: 'policy_refused',
    message: expect.stringContaining('again under the same grant'),
  };
  connection.send({
    type: 'leases',
    leases: [{ ...signed, epoch: 2, leaseToken: 'token-of-step-1-epoch-2' }],
  });
  expect(await settle(connection)).toMatchObject({ epoch: 2, outcome: refused });
  await agent.drain();
  await agent.stop();
  await t.start({ policy, stepTypes, secrets });
  const next = await t.server.nextSession();
  next.connection.send({
    type: 'leases',
    leases: [{ ...signed, epoch: 3, leaseToken: 'token-of-step-1-epoch-3' }],
  });
  expect(await settle(next.connection)).toMatchObject({ epoch: 3, outcome: refused });
  expect(begun).toBe(1);
});

async function settle(connection: FakeConnection) {
  const complete = await connection.next('complete');
  const { requestId, step, epoch } = complete;
  connection.send({ type: 'completed', requestId, step, epoch, result: 'settled' });
  return complete;
}

/** The first step of a run that is signed for this hour, as an honest server sends it to this agent. */
async function signedNow(by: Awaited<ReturnType<typeof signer>>): Promise<Lease> {
  const given = honestLease();
  const { rendering } = given;
  if (rendering === undefined) throw new Error('It has no values');
  const [now, hourMs] = [Date.now(), 3_600_000];
  const run = { ...rendering.values.run, created_at: new Date(now).toISOString() };
  return by.granted({ ...given, rendering: { ...rendering, values: { ...rendering.values, run } } }, 1, {
    installationId,
    notBefore: new Date(now - hourMs),
    expiresAt: new Date(now + hourMs),
  });
}

test.each([
  ['become', 'runs as a user whom the owner does not allow', 'ssh.exec', { command: 'id', become: {} }],
  ['step_types', 'is of a type that the owner does not allow', 'reboot', {}],
  ['step_types', 'is a script of another type than the owner allows', 'wait_for', { command: 'id' }],
] as const)(
  'by rule %s, a command of another agent is not taken over if it %s',
  async (rule, _, stepType, config) => {
    await using t = await setup();
    const rules = rule === 'become' ? { become: [] } : { step_types: ['wait_for' as const] };
    await t.start({ hasOwnSteps: true, policy: { fileRoots: [], rules } });
    const { connection } = await t.server.nextSession();
    takeOver(connection, { stepType, config });
    expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 1 }], reason: 'output_lost' });
    expect(connection.order).not.toContain('started');
    const lastRefusal = async () => (await readRefusals(t.directory.data.policyRefusals))?.last ?? '{}';
    await expect.poll(async () => JSON.parse(await lastRefusal())).toMatchObject({ rule });
  },
);

test.each([
  ['ssh.exec', { command: 'id', timeout: 'x' }],
  ['ssh.exec', ['id']],
  ['wait_for', { port: 22, interval: 0 }],
  ['wait_for', { seconds: 5, unknown: 1 }],
  ['reboot', { become: { user: ['root'] } }],
  ['wait_for', null],
])(
  'a command of another agent of type %s that no job may have, %j, is not taken over',
  async (stepType, config) => {
    await using t = await setup();
    let opened = 0;
    await t.start({
      hasOwnSteps: true,
      openCredential: () => {
        opened += 1;
        return Promise.reject(new Error('not here'));
      },
    });
    const { connection } = await t.server.nextSession();
    takeOver(connection, { stepType, config });
    expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 1 }], reason: 'output_lost' });
    expect(opened).toBe(0);
  },
);

test.each([
  [
    'ssh.exec',
    {
      command: 'echo $' + '{{ parameters.what }}',
      environment: { A: '$' + '{{ parameters.what }}' },
      timeout: 600,
    },
  ],
  ['wait_for', { command: 'echo $' + '{{ parameters.what }}' }],
  ['wait_for', { port: 8443 }],
  ['reboot', { become: {}, timeout: 1_200 }],
])(
  'a command of another agent of type %s with placeholders in its texts is taken over',
  async (stepType, config) => {
    await using t = await setup();
    let onOpened: (lease: Lease) => void = () => undefined;
    const opened = new Promise<Lease>((resolve) => {
      onOpened = resolve;
    });
    await t.start({
      hasOwnSteps: true,
      openCredential: (of) => {
        onOpened(of);
        return Promise.reject(new Error('not here'));
      },
    });
    const { connection } = await t.server.nextSession();
    takeOver(connection, { stepType, config });
    expect(await opened).toMatchObject({ stepType });
  },
);

function takeOver(connection: FakeConnection, what: Pick<Lease, 'stepType' | 'config'>): void {
  const digest = Buffer.alloc(32).toString('base64');
  const output = { seq: 0, rawBytes: 0, digest, position: startOfOutput };
  const attempts = [{ lease: lease(1, what), begunMsAgo: 0, collector: 1, output }];
  connection.send({ type: 'take_over', attempts });
}

test('a policy that is read again applies to what has not begun, and an invalid one changes nothing', async () => {
  await using t = await setup();
  const { root } = t.directory.data;
  const file = join(root, '..', 'policy.yaml');
  const write = (text: string) => writeFile(file, text, { mode: 0o644 });
  await write('raw_splices: false\n');
  const agent = await t.start({ policy: await readPolicy(file, root) });
  const first = await t.server.nextSession();
  first.connection.send({ type: 'leases', leases: [lease(1)] });
  const running = await t.nextStep();

  await write('step_types: [ssh.exec]\n');
  await agent.readPolicyAgain(file);
  expect(await first.connection.next('policy_read')).toEqual({ type: 'policy_read', accepted: true });
  first.connection.send({ type: 'leases', leases: [lease(2)] });
  expect((await first.connection.next('complete')).outcome).toMatchObject({
    reason: 'policy_refused',
    message: expect.stringContaining(`rule step_types; it allows ssh.exec (${file}, line 1)`),
  });
  running.end(success);
  expect((await first.connection.next('complete')).outcome).toEqual(success);

  await write('step_types: []\n');
  await agent.readPolicyAgain(file);
  const { accepted, problem } = await first.connection.next('policy_read');
  expect([accepted, problem]).toEqual([false, expect.stringContaining('line 1, step_types')]);
  first.connection.send({ type: 'leases', leases: [lease(3)] });
  expect((await first.connection.next('complete')).outcome).toMatchObject({ reason: 'policy_refused' });

  // What servers are told about the policy at connect reaches them by a new connection.
  await write('parallelism: 1\n');
  await agent.readPolicyAgain(file);
  expect(await first.connection.closed).toMatchObject({ code: closeCodes.policyRead });
  const next = await t.server.nextSession();
  expect(next.resume.slots).toBe(1);
  expect(await next.connection.next('policy_read')).toMatchObject({ accepted: true });
});

test('an agent that reconnects to report its policy does not wait for a server that answers nothing', async () => {
  await using t = await setup();
  const { root } = t.directory.data;
  const file = join(root, '..', 'policy.yaml');
  await writeFile(file, 'parallelism: 2\n', { mode: 0o644 });
  const agent = await t.start({ policy: await readPolicy(file, root) });
  const first = await t.server.nextSession();
  first.connection.pauseReading();
  await writeFile(file, 'parallelism: 1\n', { mode: 0o644 });
  await agent.readPolicyAgain(file);
  expect((await t.server.nextSession()).resume.slots).toBe(1);
  // A close that has to be answered is given up after 30 s.
}, 25_000);
