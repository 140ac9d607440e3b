import { expect, test } from 'vitest';
import type { SettleResult } from '../../runs/progress/attempt-end.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { Settler } from '../leases/settler.ts';
import { Completions } from './completions.ts';
import { DeliveredAttempts } from './delivered-attempts.ts';

test('the output of an attempt is compared once at a time and only as often as it is asked for, however often its end is reported', async () => {
  const attempts = new DeliveredAttempts();
  const attempt = { stepId: 1, epoch: 1, leaseToken: 'token', runId: 1, targetRunId: 1, stepNumber: 1 };
  attempts.add([{ ...attempt, attemptDay: '2026-01-01', ackedSeq: 0, outputBytes: 0 }]);
  const reads = { now: 0, most: 0, all: 0 };
  const answers: string[] = [];
  const read = async () => {
    reads.now += 1;
    reads.all += 1;
    reads.most = Math.max(reads.most, reads.now);
    await new Promise(setImmediate);
    reads.now -= 1;
    return [];
  };
  const completions = new Completions({
    sql: read as unknown as Sql,
    agent: { agentId: 1, sessionNumber: 1 },
    attempts,
    settler: { settle: async () => ({ result: 'settled' }) as SettleResult } as unknown as Settler,
    startedMsAgo: () => undefined,
    isOpen: () => true,
    takesMore: () => false,
    stepsAhead: () => 0,
    settled: async () => ({ ahead: [] }),
    lease: () => undefined,
    send: ({ result }) => void answers.push(result),
    reconnect: () => undefined,
    log: { error: () => undefined },
  });
  const { stepId: step, epoch, leaseToken } = attempt;
  const reported = Array.from({ length: 20 }, (_, n) =>
    completions.take({
      type: 'complete',
      requestId: `request-${n}`,
      ...{ step, epoch, leaseToken },
      outcome: { status: 'succeeded', exitCode: 0 },
      output: { lastSeq: 3, rawBytes: 3, digest: '', truncated: false, gaps: [] },
      wantsNext: false,
    }),
  );
  await Promise.all(reported);
  expect(reads).toMatchObject({ most: 1, all: 4 });
  expect(answers.slice(0, 4)).toEqual(['resend', 'resend', 'resend', 'settled']);
  expect(answers).toHaveLength(20);
});
