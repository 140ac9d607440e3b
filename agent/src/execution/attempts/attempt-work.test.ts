// What a server is told of the work on an attempt, and what is kept from it.
import type { AgentMessage, StepOutcome } from '@opsconductor/protocol';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { abilitiesOf } from '../../connection/server-abilities.ts';
import { PatternSet } from '../../masking/pattern-set.ts';
import type { StepContext } from '../../steps/step-type.ts';
import { lease, success } from '../../testing/agent-setup.ts';
import { Attempt } from './attempt.ts';
import { AttemptWork, type AttemptWorkOptions } from './attempt-work.ts';

const knowsAll = ['transfers', 'target_silence'] as const;
const credential = { kind: 'ssh_password', id: '1', version: 1, user: 'root', password: 'x' } as const;

function setup(
  capabilities: readonly (typeof knowsAll)[number][],
  execute: (context: StepContext) => StepOutcome,
) {
  const t = { sent: [] as AgentMessage[], ended: [] as unknown[], isStopped: false };
  const attempt = new Attempt({
    step: 1,
    epoch: 1,
    leaseToken: 'token',
    output: { maskSecrets: () => undefined } as never,
    lease: lease(1),
  });
  const server = abilitiesOf({ capabilities: [...capabilities], stepReasons: [] });
  const session = { send: (message: AgentMessage) => t.sent.push(message), output: {} as never, server };
  const allowed = () => undefined;
  const work = new AttemptWork({
    installationId: 'here',
    stepTypes: new Map([
      ['test.step', { execute: async (_, context) => execute(context), configProblem: () => undefined }],
    ]),
    policy: {
      checkStep: allowed,
      checkHours: allowed,
      checkScript: allowed,
      checkConfig: allowed,
      detectsSecrets: false,
      maySurvive: false,
    },
    grants: { check: async (signed) => signed },
    openCredential: async ({ target: { jumps: _, ...target } }) => ({
      credential,
      target,
      secrets: new PatternSet([]),
      checkAddresses: allowed,
    }),
    secrets: {} as AttemptWorkOptions['secrets'],
    contents: { ask: async () => ({}) as never },
    starts: { begin: async () => undefined },
    ends: { ended: async (_, execution) => void t.ended.push(execution) },
    followers: { of: () => undefined },
    isStopped: () => t.isStopped,
    session: () => session,
    server: () => server,
    log: pino({ level: 'silent' }),
  });
  return { ...t, t, attempt, work };
}

const progress = { files: 1, bytes: 3, filesTotal: 2, bytesTotal: 4, isCounted: true, bytesPerSecond: 1 };

test.each<[string, readonly (typeof knowsAll)[number][], boolean, string[]]>([
  ['a server that knows both', knowsAll, false, ['progress', 'target_silence']],
  ['a server that knows nothing of transfers', ['target_silence'], false, ['target_silence']],
  ['a server that knows nothing of silent targets', ['transfers'], false, ['progress']],
  ['a server that wants no more reports of the attempt', knowsAll, true, []],
])('%s is told of progress and of a silent target accordingly', async (_, capabilities, forgotten, told) => {
  const { work, attempt, sent, ended } = setup(capabilities, (context) => {
    attempt.forgotten = forgotten;
    context.transfers.progress(progress);
    context.targetSilence?.(performance.now());
    return success;
  });
  await work.run(attempt);
  expect(sent.map(({ type }) => type)).toEqual(told);
  expect(ended).toMatchObject([{ outcome: success }]);
});

test('an end that comes after its agent was stopped is not recorded: the next process is told of the attempt', async () => {
  const { t, work, attempt, ended } = setup(knowsAll, () => {
    t.isStopped = true;
    return success;
  });
  await work.run(attempt);
  expect(ended).toEqual([]);
});
