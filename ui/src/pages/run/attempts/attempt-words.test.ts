import type { Attempt } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { attemptFacts, attemptText, survivorsOf, wantsAttempts } from './attempt-words.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const at = '2026-11-24T02:20:00.000Z';
const attempt = (fields: Partial<Attempt>): Attempt => ({
  attempt: 1,
  status: 'failed',
  agentName: 'dmz-1-a',
  leasedAt: null,
  startedAt: null,
  endedAt: null,
  executionTimeMs: null,
  exitCode: null,
  signal: null,
  reason: null,
  message: null,
  advice: null,
  survivors: [],
  outputState: 'complete',
  outputBytes: 0,
  late: null,
  decision: null,
  cleanUp: null,
  ...fields,
});

it.each<[Partial<Attempt>, string]>([
  [{ exitCode: 5, reason: 'exit_code' }, 'exit 5'],
  [{ signal: 'KILL', exitCode: 137 }, 'KILL'],
  [{ reason: 'host_key_unknown' }, 'host key unknown'],
  [{ status: 'timed_out', reason: 'timed_out' }, 'timed out'],
  [{ status: 'unknown', reason: 'agent_silent' }, 'agent silent'],
  [{ status: 'succeeded', executionTimeMs: 18_000 }, '18 s'],
  [{ status: 'running' }, 'running'],
])('an attempt with %o is “%s”', (fields, text) => expect(attemptText(attempt(fields))).toBe(text));

it('says what came late, who decided what and why, and what an agent found on the host', () => {
  const survivors = [{ pid: 7, command: 'dpkg' }];
  const facts = attemptFacts(
    attempt({
      status: 'unknown',
      late: { status: 'succeeded', at },
      decision: { decision: 'succeeded', note: 'The package is there.', by: 'ada', at },
      cleanUp: { state: 'done', found: 'survivors', survivors, at },
    }),
    now,
  );
  expect(facts).toEqual([
    'Its agent reported succeeded at 02:20:00, after the attempt had been given up.',
    'ada decided at 02:20:00 that it counts as succeeded: “The package is there.”',
    'An agent could not end what it left on the host at 02:20:00: 1 process is still alive.',
  ]);
  expect(attemptFacts(attempt({}), now)).toEqual([]);
});

it('describes each state of the clean-up', () => {
  const words = (cleanUp: Partial<NonNullable<Attempt['cleanUp']>>) =>
    attemptFacts(
      attempt({ cleanUp: { state: 'done', found: null, survivors: [], at: null, ...cleanUp } }),
      now,
    ).join();
  expect(words({ state: 'waits' })).toMatch(/will look.*when the attempt’s time is up; at once if/);
  expect(words({ state: 'waits', due: '2026-11-24T23:59:00.000Z' })).toMatch(/is up, at 23:59:00; at once/);
  expect(words({ state: 'waits', due: '2026-11-24T00:00:01.000Z' })).toMatch(/as soon as one in the segment/);
  expect(words({ state: 'asked' })).toMatch(/is looking for/);
  expect(words({ found: 'nothing', at })).toMatch(/found nothing left of it on the host at 02:20:00/);
  expect(words({ found: 'ended' })).toMatch(/ended it/);
  expect(words({ found: 'unreachable' })).toMatch(/could not reach/);
});

it('survivors are the processes that were last seen', () => {
  const before = [{ pid: 7, command: 'dpkg' }];
  const done = { state: 'done' as const, survivors: [], at: null };
  expect(survivorsOf(attempt({ survivors: before }))).toEqual(before);
  expect(survivorsOf(attempt({ survivors: before, cleanUp: { ...done, found: 'ended' } }))).toEqual([]);
  expect(survivorsOf(attempt({ survivors: before, cleanUp: { ...done, found: 'unreachable' } }))).toEqual(
    before,
  );
});

it('attempts are loaded if they say more than the step', () => {
  expect(wantsAttempts({ attempt: 1, status: 'succeeded', reason: null })).toBe(false);
  expect(wantsAttempts({ attempt: 2, attempts: 1, status: 'succeeded', reason: null })).toBe(false);
  expect(wantsAttempts({ attempt: 1, status: 'succeeded', reason: 'decided' })).toBe(true);
  expect(wantsAttempts({ attempt: 2, status: 'running', reason: null })).toBe(true);
  expect(wantsAttempts({ attempt: 1, status: 'held', reason: 'agent_silent' })).toBe(true);
  expect(wantsAttempts({ attempt: 0, status: 'cancelled', reason: 'halted' })).toBe(false);
});
