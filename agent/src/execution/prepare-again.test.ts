import { Type } from 'typebox';
import { expect, test, vi } from 'vitest';
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

test('what was prepared for a step that is cancelled before it is begun is dropped', async () => {
  await using t = await setup();
  const known: string[] = [];
  let open = (_: typeof success) => {};
  const execute = vi.fn(
    () =>
      new Promise<typeof success>((resolve) => {
        open = resolve;
      }),
  );
  const type = { type: 'ssh.exec', execute, prepare: ({ marker }: { marker: string }) => known.push(marker) };
  const forgo = (marker: string) => known.splice(known.indexOf(marker), known.includes(marker) ? 1 : 0);
  await t.start({
    stepTypes: new Map([['ssh.exec', knownStepType({ ...type, forgo }, Type.Object({}))]]),
    slots: 1,
  });
  const { connection } = await t.server.nextSession();
  const leases = [1, 2].map((step) => lease(step, { stepType: 'ssh.exec' }));
  connection.send({ type: 'prepare', steps: [{ step: 2, epoch: 1, target: 1 }] });
  connection.send({ type: 'leases', leases });
  await vi.waitFor(() => expect(execute).toHaveBeenCalledTimes(1), { timeout: 10_000 });
  connection.send({ type: 'cancel', step: 2, epoch: 1 });
  const { outcome } = await connection.next('complete');
  expect(outcome).toMatchObject({ status: 'cancelled' });
  expect([execute.mock.calls.length, known]).toEqual([1, []]);
  open(success);
});
