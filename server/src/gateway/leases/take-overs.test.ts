import type { Lease } from '@opsconductor/protocol';
import { expect, test, vi } from 'vitest';
import { createLog } from '../../log.ts';
import type { LeaseBuilder } from '../../runs/leases/lease-builder.ts';
import { markLeased } from '../../runs/leases/mark-leased.ts';
import { RunKeys } from '../../runs/run-keys.ts';
import { refuseToWrite, setupRuns, testServerId } from '../../runs/testing.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { AgentLink } from '../link/agent-link.ts';
import { Settler } from './settler.ts';
import { TakeOvers } from './take-overs.ts';

/** A command whose agent is gone, and another agent, connected here or not, to which this builder's lease is to go. */
async function setup(
  build: LeaseBuilder['build'],
  { isConnected = true, collector = 0, lostAnswers = 0, refusals = 0, bad = false } = {},
) {
  const t = await setupRuns();
  const capabilities = ['take_over'];
  const runId = await t.start();
  if (bad) await t.start();
  const [lease, second = lease] = await t.claim();
  if (lease === undefined || second === undefined) throw new Error('no lease');
  const { agentId, sessionNumber } = lease;
  for (const { id: step, epoch } of new Set([lease, second]))
    await markLeased(t.sql, [lease, second], [{ step, epoch, agentId, sessionNumber, survives: true }]);
  const taker = await t.connect(await t.addAgent('agent-b'), { capabilities });
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp() where agent_id = ${agentId}`;
  await t.sql`update job_run_steps set session_number = 0`;
  await t.sql`update detached_attempts set orphaned_at = clock_timestamp(), collector = ${collector}`;
  // The first that waits.
  const allow = bad ? await refuseToWrite(t.sql, lease.id) : undefined;
  const terminate = vi.fn();
  const takeOver = vi.fn();
  const holds = ({ stepId }: { stepId: number }) =>
    takeOver.mock.calls.some(([given]) => given.id === stepId);
  const link = {
    ...taker,
    isReady: true,
    can: () => true,
    terminate,
    takeOver,
    holds,
  } as unknown as AgentLink;
  const takeOvers = new TakeOvers({
    ...{
      sql: losing(losing(t.sql, 'orphan as materialized', lostAnswers), 'held_by_none', refusals, {
        isDone: false,
      }),
      serverId: testServerId,
      keys: new RunKeys(t.masterKey),
      builder: { build },
    },
    log: createLog({ level: 'silent', plain: false }),
    settler: new Settler({ sql: t.sql, onNews: () => undefined }),
    links: () => [link],
    linkOf: () => (isConnected ? link : undefined),
    onNews: () => undefined,
    roundMs: 10,
  });
  takeOvers.start();
  const close = t[Symbol.asyncDispose];
  return Object.assign(t, {
    ...{ runId, lease, second, allow },
    taker,
    link,
    takeOver,
    terminate,
    [Symbol.asyncDispose]: async () => {
      await takeOvers.stop();
      await close();
    },
  });
}

/** Loses the answers to the first requests with these words, `times` times. They are carried out all the same, or not. */
function losing(sql: Sql, words: string, times: number, { isDone } = { isDone: true }): Sql {
  let left = times;
  return new Proxy(sql, {
    apply(target, self, args: [TemplateStringsArray]) {
      const query = Reflect.apply(target, self, args);
      if (left === 0 || !args[0].raw?.join('').includes(words)) return query;
      left -= 1;
      return Promise.resolve(isDone ? query : undefined).then(() => {
        throw new Error('CONNECTION_CLOSED');
      });
    },
  });
}

const leasesOf = (steps: readonly { id: number }[]) => ({
  leases: new Map(steps.map((step) => [step.id, { stepId: step.id } as unknown as Lease])),
  unbuildable: [],
  elsewhere: [],
});

test('a command given to an agent that never heard of it, because the answer was lost, is given out again', async () => {
  await using t = await setup(async (steps) => leasesOf(steps), { lostAnswers: 2 });
  await expect.poll(() => t.takeOver.mock.calls.length).toBe(1);
  expect(t.takeOver.mock.calls[0]).toMatchObject([{ id: t.lease.id }, { collector: 3 }]);
  const { agentId, sessionNumber } = t.taker;
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', agentId, sessionNumber }]);
});

test('a command that could not be given back, because the database was lost just then, is given out again', async () => {
  const asked: number[] = [];
  const build: LeaseBuilder['build'] = async (steps) => {
    asked.push(...steps.map(({ id }) => id));
    // The first time, this server can't open it.
    return asked.length === 1
      ? { leases: new Map(), unbuildable: [], elsewhere: [...steps] }
      : leasesOf(steps);
  };
  await using t = await setup(build, { refusals: 1 });
  await expect.poll(() => t.takeOver.mock.calls.length).toBe(1);
  expect(asked).toEqual([t.lease.id, t.lease.id]);
});

test('a command whose step can’t be written keeps no other from being given out', async () => {
  await using t = await setup(async (steps) => leasesOf(steps), { bad: true });
  await expect.poll(() => t.takeOver.mock.calls.map(([{ id }]) => id)).toEqual([t.second.id]);
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', sessionNumber: 0 }]);
  await t.allow?.();
  await expect.poll(() => t.takeOver.mock.calls.map(([{ id }]) => id)).toEqual([t.second.id, t.lease.id]);
});

test('a command whose target is gone becomes unknown at once, with the reason', async () => {
  await using t = await setup(async ([step]) => ({
    leases: new Map(),
    unbuildable: step === undefined ? [] : [{ step, message: 'Target “a” was deleted.' }],
    elsewhere: [],
  }));
  await expect.poll(() => t.steps(t.runId)).toMatchObject([{ status: 'unknown' }]);
  expect(await t.steps(t.runId)).toMatchObject([
    { errorMessage: expect.stringContaining('Target “a” was deleted.') },
  ]);
});

test('a command whose output was altered in the database becomes unknown at once, with the reason, and no connection is ended', async () => {
  const build: LeaseBuilder['build'] = async ([step]) => {
    if (step === undefined) throw new Error('nothing to build');
    await t.sql`
      insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
      values (${step.attemptDay}, ${step.id}, ${step.epoch}, 1, 1, 0, 1, '\\x00', '\\x00')`;
    return leasesOf([step]);
  };
  await using t = await setup((steps) => build(steps));
  await expect.poll(() => t.steps(t.runId)).toMatchObject([{ status: 'unknown' }]);
  expect(await t.steps(t.runId)).toMatchObject([
    { errorMessage: expect.stringContaining('Its output can’t be read') },
  ]);
  expect(t.terminate).not.toHaveBeenCalled();
});

test('a command under a master key that this server does not hold is left to others, and no connection is ended', async () => {
  const asked: number[] = [];
  await using t = await setup(async (steps) => {
    asked.push(...steps.map(({ id }) => id));
    return asked.length === 1
      ? { leases: new Map(), unbuildable: [], elsewhere: [...steps] }
      : leasesOf(steps);
  });
  await expect.poll(() => t.takeOver.mock.calls.length).toBe(1);
  expect(asked).toEqual([t.lease.id, t.lease.id]);
  expect(t.terminate).not.toHaveBeenCalled();
});

test('a command whose output is under such a key is left to others up to the limit, and no connection is ended', async () => {
  const build: LeaseBuilder['build'] = async (steps) => {
    for (const { id, epoch, attemptDay, jobRunId } of steps) {
      await t.sql`
        insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
        values (${attemptDay}, ${id}, ${epoch}, 1, 1, 0, 1, '\\x00', '\\x00') on conflict do nothing`;
      await t.sql`update job_runs set data_key = overlay(data_key placing 'xx' from 5 for 2) where id = ${jobRunId}`;
    }
    return leasesOf(steps);
  };
  await using t = await setup((steps) => build(steps));
  await expect.poll(() => t.steps(t.runId), { timeout: 10_000 }).toMatchObject([{ status: 'unknown' }]);
  expect(await t.steps(t.runId)).toMatchObject([
    { errorMessage: expect.stringContaining('does not hold the master key') },
  ]);
  expect(t.terminate).not.toHaveBeenCalled();
});

test('an agent that is shut out while a command is prepared for it is not given the command', async () => {
  await using t = await setup(async (steps) => {
    t.link.isEnding = true;
    return leasesOf(steps);
  });
  // Tried up to the limit, because this agent still counts as one that could have it.
  await expect.poll(() => t.steps(t.runId)).toMatchObject([{ status: 'unknown' }]);
  expect(t.takeOver).not.toHaveBeenCalled();
});

test('a command that can’t be given to anybody any more becomes unknown, and is not left to an agent that never heard of it', async () => {
  const build = async () => ({ leases: new Map(), unbuildable: [], elsewhere: [] });
  await using t = await setup(build, { isConnected: false, collector: 4 });
  await expect.poll(() => t.steps(t.runId)).toMatchObject([{ status: 'unknown' }]);
});

test('an agent that could not be told of a command has to reconnect: its resume shows that it doesn’t have it', async () => {
  await using t = await setup(async () => {
    throw new Error('the database is away');
  });
  await expect.poll(() => t.terminate.mock.calls.length).toBe(1);
  const { agentId, sessionNumber } = t.taker;
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', agentId, sessionNumber }]);
});
