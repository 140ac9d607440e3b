import { expect, test } from 'vitest';
import { PatternSet } from '../../masking/pattern-set.ts';
import { lease } from '../../testing/agent-setup.ts';
import type { Attempt } from './attempt.ts';
import { removeFromTarget } from './remove-from-target.ts';

test('the reason why files could not be removed holds no secret that the target printed', async () => {
  const { jumps: _, ...target } = lease(1).target;
  const stepType = {
    remove: () => Promise.reject(new Error('said: hunter2', { cause: new Error('hunter2 again') })),
  };
  const attempt = { ...lease(1), lease: lease(1), survivingSinceMs: performance.now() };
  const error: unknown = await removeFromTarget(
    { ...attempt, marker: () => 'm.1.1', directoryName: () => 'm.1.1' } as unknown as Attempt,
    {
      installationId: 'i',
      stepTypes: new Map([['test.step', stepType]]) as never,
      openCredential: async () => ({
        ...{ target, secrets: new PatternSet([Buffer.from('hunter2')]) },
        credential: { kind: 'ssh_password', id: '1', version: 1, user: 'ann', password: 'hunter2' },
        checkAddresses: () => {},
      }),
    },
  ).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ message: 'said: ********', cause: { message: '******** again' } });
  expect((error as Error).stack).not.toContain('hunter2');
});
