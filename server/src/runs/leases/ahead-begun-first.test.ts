// An agent that says it began a step ahead of its turn, and hands back the one before.
import { expect, test } from 'vitest';
import { endOf, setupRuns, success } from '../testing.ts';
import { markLeased } from './mark-leased.ts';
import { resumeAgent } from './resume-agent.ts';
import { returnLeases } from './return-leases.ts';

test('a step that is handed back after its agent began the next one is not run beside that, or after the run', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 3 });
  const [{ next, ahead: [third] = [] } = {}] = (
    await t.settle(endOf(await t.claimOne(), success, { wantsNext: true, ahead: 1 }))
  ).results;
  if (next === undefined || third === undefined) throw new Error('nothing was leased');
  const { agentId, sessionNumber } = t.agent;
  await markLeased(t.sql, [], [{ step: third.id, epoch: 1, agentId, sessionNumber }]);
  const { id: stepId, epoch, leaseToken } = next;
  await returnLeases(t.sql, [{ stepId, epoch, leaseToken, agentId }]);
  await t.settle(endOf(third));
  expect(await t.claim()).toEqual([]);
  expect((await t.steps(runId)).map(({ status }) => status)).not.toContain('ready');
});

test('a step that is missing from a journal in which the next one has begun is unknown, and not run again', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ steps: 4 });
  const [{ next, ahead: [third] = [] } = {}] = (
    await t.settle(endOf(await t.claimOne(), success, { wantsNext: true, ahead: 1 }))
  ).results;
  if (next === undefined || third === undefined) throw new Error('nothing was leased');
  const again = await t.connect(t.agent, { ready: false });
  const resumed = await resumeAgent(t.sql, {
    ...{ agentId: again.agentId, sessionNumber: again.sessionNumber, slots: 8, draining: false },
    ...{ version: '0.1.0', platform: 'linux-x64', hostname: null, journalIntact: true },
    attempts: [{ step: third.id, epoch: 1, leaseToken: third.leaseToken, state: 'finished', lastSeq: 0 }],
  });
  await t.settle(...(resumed?.ends ?? []));
  expect(await t.claim()).toEqual([]);
  expect(await t.steps(runId)).toMatchObject([
    { status: 'succeeded' },
    { status: 'unknown', errorMessage: expect.stringContaining('no longer knows of it') },
    { status: 'unknown' },
    { status: 'skipped' },
  ]);
});
