// Secrets that nobody named, recognized by their form: they are masked in everything that leaves the agent, if that is
// requested.
import type { Lease } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { type Signed, signedLease } from '../../grants/unsigned-part.ts';
import { emptyPolicy } from '../../policy/agent-policy.ts';
import { lease, rendering, setup, success } from '../../testing/agent-setup.ts';

const token = `ghp_${'a1B2'.repeat(9)}`;
const mask = '********';

/** Runs a step that prints the token to both streams, hands it on, and ends with a message that contains it. */
async function printing(more: Partial<Lease>, policy = emptyPolicy) {
  await using t = await setup();
  await t.start({ policy });
  const { connection } = await t.server.nextSession();
  const outputs = { printed: { pattern: 'token=(.*)' } };
  const values = rendering({ outputs, step: 'one' });
  connection.send({ type: 'leases', leases: [lease(1, { rendering: values, ...more })] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', Buffer.from(`token=${token.slice(0, 9)}`));
  step.context.output.write('stdout', Buffer.from(`${token.slice(9)}\n`));
  step.context.output.write('stderr', Buffer.from(`${token} ${token}\n`));
  step.end({ ...success, message: `used ${token}` });
  const { outcome, handsOn, output } = await connection.next('complete');
  return { outcome, handed: handsOn?.printed, bytes: output.rawBytes };
}

const shown = (text: string) => ({
  handed: { value: text },
  bytes: `token=${text}\n${text} ${text}\n`.length,
});

test('a secret that nobody named is masked in output, messages and handed-on outputs, and its kind, place and count are reported', async () => {
  expect(await printing({ detectSecrets: true })).toEqual({
    outcome: {
      ...success,
      message: `used ${mask}`,
      detections: [
        { kind: 'github_token', place: 'stdout', count: 1 },
        { kind: 'github_token', place: 'stderr', count: 2 },
        { kind: 'github_token', place: 'text', count: 1 },
      ],
    },
    ...shown(mask),
  });
});

test('a secret that is recognized only at the end of the output is reported as well', async () => {
  await using t = await setup();
  await t.start();
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1, { detectSecrets: true })] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', Buffer.from(token));
  step.end(success);
  const { outcome } = await connection.next('complete');
  expect(outcome.detections).toEqual([{ kind: 'github_token', place: 'stdout', count: 1 }]);
});

test('a secret that nobody named is shown if nobody asks for detection', async () => {
  expect(await printing({})).toEqual({
    outcome: { ...success, message: `used ${token}` },
    ...shown(token),
  });
});

test('the policy of this machine can ask for detection whatever the server says', async () => {
  const { outcome, ...rest } = await printing(
    { detectSecrets: false },
    { fileRoots: [], rules: { detect_secrets: true } },
  );
  expect(rest).toEqual(shown(mask));
  expect(outcome.detections).toHaveLength(3);
});

test('a signed run asks for detection if its definition does, whatever the server says', () => {
  const signed = (detect_secrets?: boolean) =>
    ({ definition: { steps: [], detect_secrets } }) as unknown as Signed;
  expect(signedLease(lease(1), signed(true)).detectSecrets).toBe(true);
  expect(signedLease(lease(1, { detectSecrets: false }), signed(true)).detectSecrets).toBe(true);
  expect(signedLease(lease(1, { detectSecrets: true }), signed()).detectSecrets).toBe(true);
});
