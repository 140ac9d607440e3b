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
