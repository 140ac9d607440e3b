// How the agent handles the values in a lease: conditions, secrets, outputs. Protocol's tests cover the filling in.
import type { Lease } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { textPatterns } from '../../masking/secret-patterns.ts';
import { type AgentSetup, lease, rendering, setup, success } from '../../testing/agent-setup.ts';
import { NoSegmentKey } from '../secrets/credential-opener.ts';
import type { RunSecrets } from '../secrets/run-secrets.ts';

/** Secrets that need no key. */
const plainSecrets = (value = 'open-sesame'): Pick<RunSecrets, 'open' | 'seal' | 'canSeal'> => ({
  canSeal: true,
  open: async ({ secrets }) =>
    secrets.map(({ step, name }) => ({ step, name, value, patterns: textPatterns(value) })),
  seal: async (_, name) => ({ id: `seal of ${name}` }),
});
const sealed = { v: 1, generation: 1, enc: '', wrappedKey: '', nonce: '', ciphertext: '' } as const;
const secret = { name: 'token', id: 'a', sealed };

async function leased(t: AgentSetup, more: Partial<Lease>, options: Parameters<AgentSetup['start']>[0] = {}) {
  const agent = await t.start({ secrets: plainSecrets(), ...options });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1, more)] });
  return { agent, connection };
}

test('a step whose condition is not met is skipped and never begun', async () => {
  await using t = await setup();
  const { connection } = await leased(t, { rendering: rendering({ when: 'target.name == "db-1"' }) });
  const complete = await connection.next('complete');
  expect(complete.outcome).toMatchObject({ status: 'skipped', reason: 'condition_false' });
  expect(complete.output.lastSeq).toBe(0);
  expect(connection.untaken('started')).toBe(0);
});

test('what a step hands on is reported again after a restart, under the same request id', async () => {
  await using t = await setup();
  const outputs = { v: { pattern: 'v=(.*)' }, key: { json: '/key', secret: true } };
  const { agent, connection } = await leased(t, { rendering: rendering({ outputs, step: 'one' }) });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', Buffer.from('{"key": "new-secret",\n"x": "v=1\\nnew-secret"}'));
  step.end(success);
  const first = await connection.next('complete');
  expect(first.outcome).toEqual(success);
  expect(first.handsOn).toEqual({ v: { value: '1\\n********"}' }, key: { id: 'seal of key' } });
  await agent.stop();
  await t.start({ secrets: plainSecrets() });
  const { connection: second } = await t.server.nextSession();
  expect(await second.next('complete')).toMatchObject({
    requestId: first.requestId,
    handsOn: first.handsOn,
  });
});

test('a failed step hands nothing on, and a step fails if its output is missing', async () => {
  await using t = await setup();
  const outputs = { v: { pattern: 'v=(.*)' } };
  const { connection } = await leased(t, { rendering: rendering({ outputs }) });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', Buffer.from('v=1\n'));
  step.end({ status: 'failed', reason: 'exit_code', exitCode: 1 });
  const failed = await connection.next('complete');
  expect(failed).not.toHaveProperty('handsOn');
  expect(failed.outcome.reason).toBe('exit_code');
  connection.send({ type: 'leases', leases: [lease(2, { rendering: rendering({ outputs }) })] });
  (await t.nextStep()).end(success);
  const { outcome } = await connection.next('complete');
  expect(outcome).toMatchObject({ status: 'failed', reason: 'output_missing', exitCode: 0 });
});

test('a secret is masked in the output and in the texts of the outcome', async () => {
  await using t = await setup();
  const { connection } = await leased(t, { rendering: rendering({ secrets: [secret] }) });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', Buffer.from('it is open-ses'));
  step.context.output.write('stdout', Buffer.from('ame\n'));
  step.end({
    status: 'unknown',
    reason: 'cancel_unconfirmed',
    message: 'no open-sesame',
    advice: 'end open-sesame',
    survivors: [{ pid: 7, command: 'open-sesame' }],
  });
  const { outcome, output } = await connection.next('complete');
  expect(JSON.stringify(outcome)).not.toContain('open-sesame');
  expect(outcome).toMatchObject({ message: 'no ********', survivors: [{ pid: 7, command: '********' }] });
  expect(output.rawBytes).toBe('it is ********\n'.length);
});

test('a lease whose secrets only another agent may be able to open goes back before anything is begun', async () => {
  await using t = await setup();
  const secrets = {
    ...plainSecrets(),
    open: async () => {
      throw new NoSegmentKey('not here');
    },
  };
  const { connection } = await leased(t, { rendering: rendering({ secrets: [secret] }) }, { secrets });
  expect(await connection.next('return')).toMatchObject({ reason: 'no_key', attempts: [{ step: 1 }] });
});

test('a step whose secret output could not be sealed afterwards is not begun either', async () => {
  await using t = await setup();
  const secrets = { ...plainSecrets(), canSeal: false };
  const outputs = { key: { json: '/key', secret: true } };
  const { connection } = await leased(t, { rendering: rendering({ outputs }) }, { secrets });
  expect(await connection.next('return')).toMatchObject({ reason: 'no_key' });
});
