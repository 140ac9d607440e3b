import type { AgentMessage } from '@opsconductor/protocol';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { NoSegmentKey } from '../execution/secrets/credential-opener.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import { emptyPolicy } from '../policy/agent-policy.ts';
import { PolicyGuard } from '../policy/policy-guard.ts';
import { SshPool } from '../ssh/pool/pool.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { lease } from '../testing/agent-setup.ts';
import { Mailbox } from '../testing/mailbox.ts';
import { AttemptCleaner, type AttemptCleanerOptions } from './attempt-cleaner.ts';

function setup(more: Partial<AttemptCleanerOptions> = {}) {
  const pool = new SshPool();
  onTestFinished(() => pool.close());
  const told = new Mailbox<AgentMessage>();
  const opened: (() => void)[] = [];
  const cleaner = new AttemptCleaner({
    installationId: 'i',
    pool,
    policy: new PolicyGuard({ policy: emptyPolicy }),
    open: () =>
      new Promise((_, reject) => {
        opened.push(() => reject(new NoSegmentKey('no key')));
      }),
    stopOwn: () => false,
    log: pino({ level: 'silent' }),
    ...more,
  });
  const ask = (...steps: number[]) => askAs('r1', ...steps);
  const askAs = (requestId: string, ...steps: number[]) => {
    const { target, credential } = lease(1);
    const attempts = steps.map((step) => ({ step, epoch: 1, target, credential }));
    cleaner.onCleanUp({ type: 'clean_up', requestId, attempts });
  };
  cleaner.began((message) => told.put(message));
  return { cleaner, told, opened, ask, askAs };
}

test('an unreachable target is reported as such, and the next one has its turn', async () => {
  const t = setup({ atATime: 1 });
  t.ask(1, 2);
  t.ask(1, 2);
  expect(t.opened).toHaveLength(1);
  t.opened[0]?.();
  expect(await t.told.take(() => true)).toEqual({
    type: 'cleaned_up',
    requestId: 'r1',
    results: [{ step: 1, epoch: 1, found: 'unreachable' }],
  });
  expect(t.opened).toHaveLength(2);
  t.opened[1]?.();
  expect(await t.told.take(() => true)).toMatchObject({ results: [{ step: 2 }] });
});

test('an attempt that runs on this agent is stopped and reports its end itself', async () => {
  const stopped: number[] = [];
  const t = setup({ stopOwn: ({ step }) => step === 1 && stopped.push(step) > 0 });
  t.ask(1, 2);
  expect(stopped).toEqual([1]);
  expect(t.opened).toHaveLength(1);
  t.opened[0]?.();
  expect(await t.told.take(() => true)).toMatchObject({ results: [{ step: 2 }] });
});

test('attempts that wait when a session ends are dropped: the server asks again', async () => {
  const t = setup({ atATime: 1 });
  t.ask(1, 2);
  t.cleaner.ended();
  t.cleaner.began((message) => t.told.put(message));
  t.askAs('r2', 3);
  t.opened[0]?.();
  // What was in progress is reported in the new session, followed by what was asked for there.
  expect(await t.told.take(() => true)).toMatchObject({ requestId: 'r1', results: [{ step: 1 }] });
  t.opened[1]?.();
  expect(await t.told.take(() => true)).toMatchObject({ requestId: 'r2', results: [{ step: 3 }] });
  expect(t.opened).toHaveLength(2);
});

test('the log of a failed clean-up shows no secret that the target printed', async () => {
  const lines: string[] = [];
  const { jumps: _, ...target } = lease(1).target;
  const cause = new Error('the host said: hunter2');
  const failed = new SshError({ reason: 'unreachable', message: 'sudo: hunter2?', advice: 'Look.', cause });
  const t = setup({
    open: async () => ({
      ...{ target, secrets: new PatternSet([Buffer.from('hunter2')]) },
      credential: { kind: 'ssh_password', id: '1', version: 1, user: 'ann', password: 'hunter2' },
      checkAddresses: () => {},
    }),
    pool: { open: () => Promise.reject(failed) } as unknown as SshPool,
    log: pino({}, { write: (line: string) => lines.push(line) }),
  });
  t.ask(1);
  expect(await t.told.take(() => true)).toMatchObject({ results: [{ found: 'unreachable' }] });
  expect(lines.join('')).toContain('sudo: ********?');
  expect(lines.join('')).toContain('the host said: ********');
  expect(lines.join('')).not.toContain('hunter2');
});

test('a login that was refused is not tried again for each attempt, which would lock the account', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { jumps: _, ...target } = lease(1).target;
  const refused = new SshError({ reason: 'auth_failed', message: 'No.', advice: 'Check the user.' });
  const away = new SshError({ reason: 'unreachable', message: 'No.', advice: 'Check the network.' });
  let error = refused;
  const login = vi.fn(() => Promise.reject(error));
  const t = setup({
    pool: { open: login } as never,
    giveUpAfterMs: 0,
    open: async () => ({
      ...{ target, secrets: new PatternSet([]) },
      credential: { kind: 'ssh_password', id: '1', version: 1, user: 'ann', password: 'x' },
      checkAddresses: () => {},
    }),
  });
  const ask = async (...steps: number[]) => {
    t.ask(...steps);
    for (const _ of steps)
      expect(await t.told.take(() => true)).toMatchObject({ results: [{ found: 'unreachable' }] });
    return login.mock.calls.length;
  };
  expect(await ask(1)).toBe(1);
  expect(await ask(1, 2, 3)).toBe(1);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await ask(1)).toBe(2);
  await vi.advanceTimersByTimeAsync(14 * 60_000);
  expect(await ask(2)).toBe(2);
  await vi.advanceTimersByTimeAsync(60_000);
  error = away;
  expect(await ask(2)).toBe(3);
  expect(await ask(2)).toBe(4);
});
