// A target says that another agent collects a command that was begun here. It may be true or a lie; the server knows.
import type { ServerMessageOf } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { type StepContext, TakenOverElsewhere } from '../steps/step-type.ts';
import { lease, setup, success } from '../testing/agent-setup.ts';
import { Mailbox } from '../testing/mailbox.ts';
import type { KnownStepTypes } from './step/known-step-types.ts';

const { step, epoch, leaseToken } = lease(1);
const handedBack = { type: 'return', reason: 'output_lost', attempts: [{ step, epoch, leaseToken }] };

/** An agent with a command that survives it, begun on a target that says `taken` when the test wants it to. */
async function begun() {
  const t = await setup();
  let targetSaysTaken: () => void = () => undefined;
  const said = new Promise<never>((_, reject) => {
    targetSaysTaken = () => reject(new TakenOverElsewhere('another agent collects this command'));
  });
  const contexts = new Mailbox<StepContext>();
  const removed: number[] = [];
  const stepTypes: KnownStepTypes = new Map([
    [
      'test.step',
      {
        async execute(_: unknown, context: StepContext) {
          await context.beforeStart({ survivesWith: {} });
          contexts.put(context);
          return said;
        },
        remove: async () => void removed.push(step),
        configProblem: () => undefined,
      },
    ],
    [
      'other.step',
      {
        async execute(_: unknown, context: StepContext) {
          await context.beforeStart();
          return success;
        },
        configProblem: () => undefined,
      },
    ],
  ]);
  await t.start({ stepTypes });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1)] });
  await contexts.take(() => true);
  return {
    connection,
    removed,
    server: t.server,
    targetSaysTaken,
    [Symbol.asyncDispose]: () => t[Symbol.asyncDispose](),
  };
}

/** Resolves when the agent has handled everything before: a later step was run and reported. */
async function laterStep(connection: Awaited<ReturnType<typeof begun>>['connection']): Promise<void> {
  connection.send({ type: 'leases', leases: [lease(2, { stepType: 'other.step' })] });
  expect(await connection.next('complete')).toMatchObject({ step: 2 });
}

test('a command that its target says another agent collects is handed back, and nothing of it is reported or removed', async () => {
  await using t = await begun();
  t.targetSaysTaken();
  expect(await t.connection.next('return')).toEqual(handedBack);
  await laterStep(t.connection);
  expect(t.connection.untaken('complete')).toBe(0);
  expect(t.removed).toEqual([]);
});

test('if the target says so while there is no connection, the command is handed back if the server still gives it to this agent', async () => {
  await using t = await begun();
  t.connection.cut();
  const next = await t.server.nextConnection();
  await next.welcome();
  expect(await next.next('resume')).toMatchObject({ attempts: [{ step, survives: true }] });
  // Between the resume, which names it, and the answer.
  t.targetSaysTaken();
  next.send({ type: 'resumed', attempts: [{ step, epoch, verdict: 'continue', ackedSeq: 0 }] });
  expect(await next.next('return')).toEqual(handedBack);
  await laterStep(next);
  expect(t.removed).toEqual([]);
});

test.each<Partial<ServerMessageOf<'resumed'>['attempts'][number]>>([{ taken: true }, {}])(
  'if the server no longer gives it to this agent (%o), it is dropped, and nothing of it is handed back, reported or removed',
  async (more) => {
    await using t = await begun();
    t.connection.cut();
    const next = await t.server.nextConnection();
    t.targetSaysTaken();
    await next.welcome();
    await next.next('resume');
    next.send({ type: 'resumed', attempts: [{ step, epoch, verdict: 'forget', ackedSeq: 0, ...more }] });
    await laterStep(next);
    expect(next.untaken('return')).toBe(0);
    expect(next.untaken('complete')).toBe(0);
    expect(t.removed).toEqual([]);
    next.cut();
    expect((await t.server.nextSession()).resume.attempts).toMatchObject([{ step: 2 }]);
  },
);
