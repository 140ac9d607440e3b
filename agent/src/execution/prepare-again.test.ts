import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { lease, setup, success } from '../testing/agent-setup.ts';
import { type KnownStepTypes, knownStepType } from './step/known-step-types.ts';

test('nothing is prepared for a step that has ended, although it is announced again', async () => {
  await using t = await setup();
  const prepared: string[] = [];
  const stepTypes: KnownStepTypes = new Map([
    [
      'ssh.exec',
      knownStepType(
        {
          type: 'ssh.exec',
          execute: async () => success,
          prepare: ({ marker }) => prepared.push(marker),
        },
        Type.Object({}),
      ),
    ],
  ]);
  await t.start({ stepTypes });
  const { connection } = await t.server.nextSession();
  const run = async (step: number) => {
    connection.send({ type: 'leases', leases: [lease(step, { stepType: 'ssh.exec' })] });
    const { requestId, epoch } = await connection.next('complete');
    connection.send({ type: 'completed', requestId, step, epoch, result: 'settled' });
  };
  const announce = () => connection.send({ type: 'prepare', steps: [{ step: 1, epoch: 1, target: 1 }] });
  announce();
  await run(1);
  announce();
  // Its end came after that.
  await run(2);
  expect(prepared).toHaveLength(1);
});
