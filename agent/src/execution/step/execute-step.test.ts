import { pino } from 'pino';
import { expect, test } from 'vitest';
import { PatternSet } from '../../masking/pattern-set.ts';
import { secretPatterns } from '../../masking/secret-patterns.ts';
import type { OpenedCredential } from '../../steps/step-type.ts';
import { lease, setup } from '../../testing/agent-setup.ts';

const password = 'correct-horse-battery';
const credential: OpenedCredential = { kind: 'ssh_password', id: '1', version: 1, user: 'root', password };

test('a step that fails in a way that nobody foresaw is in the log, to which its outcome refers, with secrets masked', async () => {
  await using t = await setup();
  const lines: string[] = [];
  await t.start({
    log: pino({ level: 'error' }, { write: (line) => lines.push(line) }),
    openCredential: async ({ target: { jumps: _, ...target } }) => ({
      ...{ credential, target, checkAddresses: () => undefined },
      secrets: new PatternSet(secretPatterns(credential)),
    }),
  });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  step.fail(new Error(`cannot parse ${password}`));
  const { outcome } = await connection.next('complete');
  expect(outcome).toMatchObject({ reason: 'internal', advice: expect.stringContaining("agent's log") });
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { step: 1, epoch: 1, err: { stack: expect.stringMatching(/^Error: cannot parse \S+\n +at /) } },
  ]);
  expect(lines.join('')).not.toContain(password);
});

test.each([
  [{ timeout: 1 }, 'The step’s timeout is 1 s.'],
  [{}, 'The step’s timeout is 300 s, as it sets none.'],
])('a step that ended by its timeout (%j) names it', async (config, told) => {
  await using t = await setup();
  await t.start();
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1, { config })] });
  const step = await t.nextStep();
  step.end({ status: 'timed_out', reason: 'timed_out', message: 'The command ran out of its time.' });
  const { outcome } = await connection.next('complete');
  expect(outcome.message).toBe(`The command ran out of its time. ${told}`);
});

test('a step that could not be stopped at its timeout names it, and one that was cancelled does not', async () => {
  await using t = await setup();
  await t.start();
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1, { config: { timeout: 1 } })] });
  const first = await t.nextStep();
  await first.context.beforeStart();
  if (!first.context.signal.aborted)
    await new Promise((resolve) => first.context.signal.addEventListener('abort', resolve));
  const unconfirmed = {
    status: 'unknown',
    reason: 'cancel_unconfirmed',
    message: 'It was told to stop.',
  } as const;
  first.end(unconfirmed);
  expect((await connection.next('complete')).outcome.message).toBe(
    'It was told to stop. The step’s timeout is 1 s.',
  );
  connection.send({ type: 'leases', leases: [lease(2, { config: { timeout: 100 } })] });
  const second = await t.nextStep();
  await second.context.beforeStart();
  connection.send({ type: 'cancel', step: 2, epoch: 1 });
  if (!second.context.signal.aborted)
    await new Promise((resolve) => second.context.signal.addEventListener('abort', resolve));
  second.end(unconfirmed);
  expect((await connection.next('complete')).outcome.message).toBe('It was told to stop.');
});
