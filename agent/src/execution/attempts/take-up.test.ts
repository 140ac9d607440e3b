// Messages keep arriving while the agent finds out whether it may continue another agent's command; none may overtake
// that.
import { type Lease, type StepOutcome, startOfOutput } from '@opsconductor/protocol';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Journal } from '../../journal/journal.ts';
import { PatternSet } from '../../masking/pattern-set.ts';
import { lease } from '../../testing/agent-setup.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { Executor } from '../executor.ts';
import { LeaseDeadline, systemClock } from '../lease-deadline.ts';
import type { Session } from '../session.ts';

type Verdict = 'continue' | 'forget' | 'cancel';

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const journal = await Journal.open(`${path}/journal`, { expected: false });
  const done: string[] = [];
  const answers: { allow(): void; refuse(): void }[] = [];
  const deadline = new LeaseDeadline(systemClock);
  deadline.begin(deadline.now(), 600_000);
  const executor = new Executor({
    installationId: 'i',
    slots: 1,
    spoolFolder: path,
    spareSpool: `${path}.spare`,
    journal,
    disk: { refuses: false, outputRefused: () => undefined, measure: async () => undefined },
    deadline,
    stepTypes: new Map([
      [
        'test.step',
        {
          execute: async (config, { beforeStart }) => {
            await beforeStart({ survivesWith: config });
            // It goes on by itself.
            return new Promise<StepOutcome>(() => undefined);
          },
          reattach: () => {
            done.push('reattached');
            return new Promise<StepOutcome>(() => undefined);
          },
          remove: async () => void done.push('removed'),
          configProblem: () => undefined,
        },
      ],
    ]),
    openCredential: async ({ target: { jumps: _, ...target } }) => {
      done.push('opened');
      const credential = { kind: 'ssh_password', id: '1', version: 1, user: 'root', password: 'x' } as const;
      return { credential, target, secrets: new PatternSet([]), checkAddresses: () => undefined };
    },
    secrets: { open: async () => [], seal: async () => undefined, canSeal: true },
    contents: { ask: () => Promise.reject(new Error('there is no server')) },
    onHostKeyRefused: () => undefined,
    onLoginRefused: () => undefined,
    onPathRefused: () => undefined,
    policy: {
      checkStep: () => undefined,
      checkStepType: () => undefined,
      checkHours: () => undefined,
      checkScript: () => undefined,
      checkConfig: () => undefined,
      maySurvive: true,
      detectsSecrets: false,
    },
    grants: {
      check: async (given: Lease) => ({ ...given, detectSecrets: true }),
      begin: () => () => undefined,
      // The lease as it was signed; the server's says nothing about detection.
      checkTakeOver: () =>
        new Promise<Lease>((resolve, reject) => {
          answers.push({
            allow: () => resolve({ ...lease(1), detectSecrets: true }),
            refuse: () => reject(new Error('it was not signed')),
          });
        }),
    },
    monotonicMs: () => 0,
    log: pino({ level: 'silent' }),
  });
  const session = {
    send: () => undefined,
    output: { offer: () => undefined, release: () => undefined, forget: () => undefined },
    server: { can: () => true, readable: (outcome: StepOutcome) => outcome },
  } as unknown as Session;
  const resume = (verdict?: Verdict) =>
    executor.sessionBegan(session, {
      type: 'resumed',
      attempts: verdict === undefined ? [] : [{ step: 1, epoch: 1, verdict, ackedSeq: 0 }],
    });
  resume();
  const digest = Buffer.alloc(32).toString('base64');
  const output = { seq: 0, rawBytes: 0, digest, position: startOfOutput };
  executor.onTakeOver({
    type: 'take_over',
    attempts: [{ lease: lease(1), begunMsAgo: 0, collector: 1, output }],
  });
  await expect.poll(() => answers.length).toBe(1);
  return {
    executor,
    journal,
    done,
    resume,
    answer: answers[0] as { allow(): void; refuse(): void },
    /** Resolves when everything requested so far is on disk and its waiters have been told. */
    async written() {
      for (const _ of ['with it', 'behind it']) await journal.durable({ is: 'settled', step: 9, epoch: 1 });
    },
    async [Symbol.asyncDispose]() {
      await executor.stop();
      await journal.close();
      await remove();
    },
  };
}

test.each(['continue', 'forget', 'cancel'] as const)(
  'if the server answers %s before it is known whether the command was signed, nothing is done on its target',
  async (verdict) => {
    await using t = await setup();
    t.resume(verdict);
    t.answer.refuse();
    await t.executor.idle();
    expect(t.done).toEqual([]);
    expect(t.executor.heldPairs()).toEqual([]);
  },
);

test('a signed command is continued exactly once, even if the connection was lost meanwhile', async () => {
  await using t = await setup();
  t.executor.sessionEnded();
  t.resume('continue');
  t.answer.allow();
  await expect.poll(() => t.done).toEqual(['opened', 'reattached']);
  t.executor.sessionEnded();
  t.resume('continue');
  t.resume('continue');
  await t.written();
  expect(t.done).toEqual(['opened', 'reattached']);
});

test('a command that the server has forgotten meanwhile is not continued', async () => {
  await using t = await setup();
  t.resume('forget');
  t.answer.allow();
  await t.written();
  expect([...t.journal.attempts.keys()]).toEqual([]);
  await t.executor.stop();
  expect(t.done).toEqual([]);
});

test('the signed masking setting is on disk for whoever continues a command that was taken over or begun here', async () => {
  await using t = await setup();
  t.executor.onLeases([lease(2)]);
  t.answer.allow();
  await expect
    .poll(() => [...t.journal.attempts.values()].map(({ survives }) => survives?.detectSecrets))
    .toEqual([true, true]);
});
