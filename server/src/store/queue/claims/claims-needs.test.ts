import { agentCapabilities } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { endOf, setupRuns, type TestRuns } from '../../../runs/testing.ts';
import { explainRun } from '../../../runs/view/explain-run.ts';
import { claimSteps } from './claims.ts';

const onSecond = '0b7e1c52-0000-4000-8000-000000000002';
const plain = { config: { command: 'true' } };
const rendered = { config: { command: 'echo "${{ parameters.word }}"' } };
const job = { parameters: { word: { type: 'string' as const, default: 'hello' } } };

const numbersOf = (steps: readonly { jobRunId: number }[]) => steps.map(({ jobRunId }) => jobRunId);

test('a step goes only to an agent that is capable of it; other steps overtake it', async () => {
  await using t = await setupRuns();
  const waiting = await t.start({ rules: [rendered], job });
  const other = await t.start({ rules: [plain] });
  expect(numbersOf(await t.claim())).toEqual([other]);
  await t.connect(t.agent, { capabilities: ['render'] });
  expect(numbersOf(await t.claim())).toEqual([waiting]);
});

test('of two kinds of agents, the less capable ones take steps that any can run, and one claim serves both', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 2 });
  const able = await t.addAgent('able');
  await t.connect(able, { slots: 2, capabilities: agentCapabilities });
  const forAny = await t.start({ rules: [plain], targets: 3 });
  const forAble = await t.start({ rules: [rendered], job, targets: 2 });
  const claimed = await t.claim();
  const taken = claimed.map(({ agentId, jobRunId }) => [agentId === able.agentId, jobRunId]);
  expect(taken.filter(([isAble]) => isAble !== true)).toEqual([
    [false, forAny],
    [false, forAny],
  ]);
  expect(taken.filter(([isAble]) => isAble === true)).toHaveLength(2);
  await t.settle(...claimed.map((step) => endOf(step)));
  for (let left = 1; left > 0; ) {
    const more = await t.claim();
    left = more.length;
    expect(more.every(({ jobRunId, agentId }) => jobRunId === forAny || agentId === able.agentId)).toBe(true);
    await t.settle(...more.map((step) => endOf(step)));
  }
  expect([(await t.run(forAny)).status, (await t.run(forAble)).status]).toEqual(['succeeded', 'succeeded']);
});

test('the next step is leased as one ends only if that agent can take it', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [plain, rendered], job });
  const { results } = await t.settle(endOf(await t.claimOne(), undefined, { wantsNext: true }));
  expect(results[0]?.next).toBeUndefined();
  expect((await t.steps(runId)).map(({ status }) => status)).toEqual(['succeeded', 'ready']);
  const able = await t.connect(t.agent, { capabilities: ['outputs', 'render'] });
  const again = await t.start({ rules: [plain, rendered], job });
  const first = (await t.claim()).find(({ jobRunId, stepNumber }) => jobRunId === again && stepNumber === 1);
  if (first === undefined) throw new Error('the first step was not claimed');
  const { results: next } = await t.settle(endOf(first, undefined, { wantsNext: true }));
  expect(next[0]?.next).toMatchObject({ stepNumber: 2, agentId: able.agentId });
});

/** Leases like a server of the previous version, which knows nothing of needs. */
function leaseBlindly(t: TestRuns, from: 'ready' | 'pending') {
  return t.sql`
    update job_run_steps set status = 'running', epoch = epoch + 1, lease_token = 'of an older server', agent_id = ${t.agent.agentId},
      session_number = ${t.agent.sessionNumber}
    where status = ${from} returning id`;
}

test('a server of the previous version leases no step whose needs it does not know', async () => {
  await using t = await setupRuns();
  await t.start({ rules: [rendered], job });
  expect(await leaseBlindly(t, 'ready')).toEqual([]);
  await t.start({ rules: [plain, rendered], job });
  await expect(leaseBlindly(t, 'pending')).rejects.toThrow('needs {render}');
  expect(await leaseBlindly(t, 'ready')).toHaveLength(1);
});

test('an agent’s capabilities are forgotten with its session', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { capabilities: ['render'] });
  await t.start({ rules: [rendered], job });
  await t.sql`update agent_sessions set session_number = session_number + 1 where agent_id = ${t.agent.agentId}`;
  await t.sql`update agents set session_number = session_number + 1 where id = ${t.agent.agentId}`;
  expect(await t.claim()).toEqual([]);
  expect(await claimSteps(t.sql, onSecond)).toMatchObject({ steps: [], kinds: 1 });
});

test('a step that no agent is capable of says so as the reason why it waits', async () => {
  await using t = await setupRuns();
  const runId = await t.start({ rules: [{ ...rendered, when: 'parameters.word != ""' }], job, targets: 2 });
  expect((await explainRun(t.sql, runId, t.caller.authority)).waits).toMatchObject([
    {
      code: 'no_capable_agent',
      message: `No agent in segment “${await segmentName(t)}” that is connected can look at the conditions of steps, fill in the values of steps.`,
      advice: 'Upgrade the agent of the segment.',
      targets: 2,
    },
  ]);
  await t.connect(t.agent, { capabilities: agentCapabilities });
  const [wait] = (await explainRun(t.sql, runId, t.caller.authority)).waits;
  expect(wait?.code).toBe('starts_now');
});

async function segmentName(t: TestRuns): Promise<string> {
  const [row] = await t.sql<{ name: string }[]>`select name from segments where id = ${t.segmentId}`;
  return row?.name ?? '';
}
