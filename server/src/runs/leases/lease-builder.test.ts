import { agentCapabilities } from '@opsconductor/protocol';
import { signGrant } from '@opsconductor/protocol/grants';
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { createJob } from '../../jobs/create-job.ts';
import { prepareGrant } from '../grants/prepare-grant.ts';
import { startRun } from '../start/start-run.ts';
import { endOf, setupRuns, type TestRuns } from '../testing.ts';
import { LeaseBuilder } from './lease-builder.ts';

interface Started {
  jobId: number;
  runId: number;
}

const definitionOf = (name: string) => ({
  name,
  parameters: { word: { type: 'string' as const, default: 'hello' } },
  steps: [
    {
      ...{ id: 'ask', name: 'ask', type: 'ssh.exec' as const, config: { command: 'id' } },
      outputs: { id: { pattern: '(.*)' } },
    },
    {
      ...{ name: 'use', type: 'ssh.exec' as const },
      config: { command: 'echo "${{ steps.ask.outputs.id }}" "${{ parameters.word }}"' },
    },
  ],
});

/** Starts two runs whose second steps can be leased; these use what the first have handed on. */
async function startTwo(t: TestRuns): Promise<[Started, Started]> {
  const start = async (name: string) => {
    const { id: jobId } = await createJob(t, definitionOf(name), t.caller);
    const selection = { targetIds: [await t.addTarget()] };
    return { jobId, runId: (await startRun(t, { jobId, selection }, t.caller)).runId };
  };
  const started: [Started, Started] = [await start('bad'), await start('good')];
  const handsOn = { outputs: null, secrets: null };
  await t.settle(...(await t.claim()).map((step) => ({ ...endOf(step), handsOn })));
  return started;
}

async function setup(): Promise<TestRuns> {
  const t = await setupRuns();
  await t.connect(t.agent, { capabilities: agentCapabilities });
  return t;
}

/** Returns a builder as of a server that has just started and has opened nothing yet. */
const builderOf = (t: TestRuns) => new LeaseBuilder({ ...t, masterKey: { ...t.masterKey } });

test.each<[string, (t: TestRuns, started: Started) => Promise<unknown>, string]>([
  [
    'a version of a job',
    async (t, { jobId }) => {
      await t.sql`alter table job_versions disable trigger user`;
      await t.sql`update job_versions set definition = '\\x00' where job_id = ${jobId}`;
    },
    'Version 1 of the job can’t be read: what the database has of it was altered or moved.',
  ],
  [
    'the data key of a job',
    (t, { jobId }) => t.sql`update jobs set data_key = 'dk1' where id = ${jobId}`,
    'Version 1 of the job can’t be read: what the database has of it was altered or moved.',
  ],
  [
    'the data key of a run',
    (t, { runId }) => t.sql`update job_runs set data_key = left(data_key, -4) || 'AAAA' where id = ${runId}`,
    'What the run was given can’t be read: what the database has of it was altered or moved.',
  ],
  [
    'the parameters of a run',
    (t, { runId }) => t.sql`update job_runs set parameters = '\\x00' where id = ${runId}`,
    'What the run was given can’t be read: what the database has of it was altered or moved.',
  ],
  [
    'what a step has handed on',
    (t, { runId }) => t.sql`
      update job_run_step_outputs o set outputs = '\\x00'
      from job_run_steps st where st.id = o.job_run_step_id and st.job_run_id = ${runId}`,
    'What step 1 handed on can’t be read: what the database has of it was altered or moved.',
  ],
])('%s that was altered keeps no other step from its lease', async (_, alter, message) => {
  await using t = await setup();
  const [bad, good] = await startTwo(t);
  await alter(t, bad);
  const { leases, unbuildable } = await builderOf(t).build(await t.claim());
  expect([...leases.values()].map(({ runId }) => runId)).toEqual([good.runId]);
  expect(unbuildable).toMatchObject([{ step: { jobRunId: bad.runId }, message }]);
});

test('an altered grant keeps no other step from its lease', async () => {
  await using t = await setup();
  await t.connect(t.agent, { capabilities: [...agentCapabilities, 'signed_runs_only'] });
  const step = { name: 'restart', type: 'ssh.exec' as const, config: { command: 'true' } };
  const { id: jobId } = await createJob(t, { name: 'Restart', steps: [step] }, t.caller);
  const { privateKey } = await generateSigningKeyPair();
  const startSigned = async () => {
    const request = { jobId, selection: { targetIds: [await t.addTarget()] } };
    const grant = await signGrant(await prepareGrant(t, request, t.caller), {
      ...{ privateKey, class: 'cli' as const },
      ...{ notBefore: new Date(Date.now() - 60_000), expiresAt: new Date(Date.now() + 3_600_000) },
    });
    return (await startRun(t, { ...request, grant }, t.caller)).runId;
  };
  const bad = await startSigned();
  const good = await startSigned();
  await t.sql`update job_runs set signed_grant = '\\x00' where id = ${bad}`;
  const { leases, unbuildable } = await builderOf(t).build(await t.claim());
  expect([...leases.values()]).toMatchObject([{ runId: good, grant: { step: 1 } }]);
  expect(unbuildable).toMatchObject([
    { step: { jobRunId: bad }, message: expect.stringMatching(/^The grant of the run can’t be read: /) },
  ]);
});

test('steps that another server may be able to open are not given up', async () => {
  await using t = await setup();
  await startTwo(t);
  const other = new LeaseBuilder({ ...t, masterKey: { ...t.masterKey, id: 'mk-0000000000000000' } });
  const claimed = await t.claim();
  const { leases, unbuildable, elsewhere } = await other.build(claimed);
  expect([leases.size, unbuildable]).toEqual([0, []]);
  expect(new Set(elsewhere)).toEqual(new Set(claimed));
});

test.each<[string, (t: TestRuns, started: Started) => Promise<unknown>]>([
  [
    'a job',
    (t, { jobId }) => t.sql`
      update jobs set data_key = overlay(data_key placing 'xx' from 5 for 2) where id = ${jobId}`,
  ],
  [
    'a run',
    (t, { runId }) => t.sql`
      update job_runs set data_key = overlay(data_key placing 'xx' from 5 for 2) where id = ${runId}`,
  ],
])(
  '%s under a master key that this server does not hold keeps no other run from its leases',
  async (_, alter) => {
    await using t = await setup();
    const [bad, good] = await startTwo(t);
    await alter(t, bad);
    const { leases, unbuildable, elsewhere } = await builderOf(t).build(await t.claim());
    expect([...leases.values()].map(({ runId }) => runId)).toEqual([good.runId]);
    expect(unbuildable).toEqual([]);
    expect(elsewhere.map(({ jobRunId }) => jobRunId)).toEqual([bad.runId]);
  },
);

test('a job that can’t be opened doesn’t keep agents from cleaning up after other jobs', async () => {
  await using t = await setup();
  const [bad, good] = await startTwo(t);
  const steps = await t.claim();
  await t.sql`update jobs set data_key = overlay(data_key placing 'xx' from 5 for 2) where id = ${bad.jobId}`;
  const reached = await builderOf(t).waysBack(steps.map(({ id }) => id));
  const ofGood = steps.filter(({ jobRunId }) => jobRunId === good.runId).map(({ id }) => id);
  expect([...reached.keys()]).toEqual(ofGood);
});
