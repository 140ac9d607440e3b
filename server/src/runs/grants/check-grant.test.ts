// What a start says about a grant that isn't for the run that it is given with. Agents check this themselves, too.
import { agentCapabilities } from '@opsconductor/protocol';
import { type GrantDraft, type SignedGrant, signGrant } from '@opsconductor/protocol/grants';
import { generateSigningKeyPair, type KeyPair } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createJob } from '../../jobs/create-job.ts';
import { agentNeed } from '../../store/runs/run-grants.ts';
import { startRun } from '../start/start-run.ts';
import { setupRuns, type TestAgent, type TestRuns } from '../testing.ts';
import { prepareGrant } from './prepare-grant.ts';

const hourMs = 3_600_000;

let t: TestRuns;
let keys: KeyPair;
let other: TestAgent;
let jobId: number;
let targetIds: number[];

beforeAll(async () => {
  t = await setupRuns();
  keys = await generateSigningKeyPair();
  other = await t.addAgent('agent-other');
  for (const agent of [t.agent, other]) {
    const capabilities = [...agentCapabilities, 'signed_runs_only', agentNeed(agent.agentId)];
    await t.connect(agent, { capabilities });
  }
  targetIds = [await t.addTarget(), await t.addTarget()];
  const definition = {
    name: 'Restart',
    parameters: { service: { type: 'string' as const } },
    steps: [{ name: 'restart', type: 'ssh.exec' as const, config: { command: 'true' } }],
  };
  jobId = (await createJob(t, definition, t.caller)).id;
});
afterAll(() => t[Symbol.asyncDispose]());

const request = () => ({ jobId, selection: { targetIds }, parameters: { service: 'nginx' } });
const drafted = (more: object = {}) => prepareGrant(t, { ...request(), ...more }, t.caller);
const signed = (draft: GrantDraft, expiresAt = Date.now() + hourMs) =>
  signGrant(draft, {
    ...{ privateKey: keys.privateKey, class: 'cli' },
    ...{ notBefore: new Date(Date.now() - hourMs), expiresAt: new Date(expiresAt) },
  });
const started = async (grant: SignedGrant, more: object = {}) =>
  startRun(t, { ...request(), grant, ...more }, t.caller);
const refused = (path: string, message: string) =>
  expect.objectContaining({
    code: 'invalid',
    details: [expect.objectContaining({ path, message: expect.stringContaining(message) })],
  });

test('a grant that has expired or is not a grant is refused', async () => {
  const draft = await drafted();
  const expired = await signed(draft, Date.now() - 1);
  await expect(started(expired)).rejects.toEqual(refused('grant.terms', 'has expired'));
  await expect(started({ ...expired, terms: '{}' })).rejects.toEqual(refused('grant.terms', 'not the terms'));
});

test('a grant for another run is refused, naming the difference', async () => {
  const grant = await signed(await drafted());
  const [first, second] = targetIds as [number, number];
  await expect(started(grant, { parameters: { service: 'sshd' } })).rejects.toEqual(
    refused('grant.terms', 'parameters.service differs'),
  );
  await expect(started(grant, { selection: { targetIds: [first] } })).rejects.toEqual(
    refused('grant.targets[1].statement', 'that the run does not have'),
  );
  const ofOne = await signed(await drafted({ selection: { targetIds: [second] } }));
  await expect(started(ofOne)).rejects.toEqual(refused('grant.targets', '“host-1” was not signed'));
});

test('for a job that can’t be signed, the error names the step, the reason and what to do', async () => {
  const steps = [
    {
      id: 'ask',
      name: 'ask',
      type: 'ssh.exec' as const,
      config: { command: 'id' },
      outputs: { id: { pattern: '(.*)' } },
    },
    {
      ...{ name: 'use', type: 'ssh.exec' as const },
      config: { command: 'echo "${{ steps.ask.outputs.id }}"' },
    },
  ];
  const { id } = await createJob(t, { name: 'Hands on', steps }, t.caller);
  await expect(prepareGrant(t, { jobId: id, selection: { targetIds } }, t.caller)).rejects.toEqual(
    refused(
      'steps[1]',
      '(“use”) uses what an earlier step has handed on, which is unknown when signing. Ask for',
    ),
  );
});

test('more targets than can be signed for one run are refused before anybody signs', async () => {
  const rows = await t.sql<{ id: number }[]>`
    insert into targets (segment_id, name, host, credential_id)
    select t.segment_id, 'many-' || n, t.host, t.credential_id
    from targets t, generate_series(1, 1001) n where t.id = ${targetIds[0] as number} returning id`;
  const many = rows.map(({ id }) => id);
  await expect(drafted({ selection: { targetIds: many } })).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining('1001 targets; 1000 at most'),
  });
  await t.sql`delete from targets where id = any(${many}::bigint[])`;
});

test('a grant whose contents are not what was signed is refused', async () => {
  const draft = await drafted();
  const grant = await signed(draft);
  const [one, two] = grant.targets as [SignedGrant['targets'][number], SignedGrant['targets'][number]];
  const crossed = [one, { ...two, signature: one.signature }];
  const not = (path: string) => refused(path, 'not the signature');
  await expect(started({ ...grant, targets: crossed })).rejects.toEqual(not('grant.targets[1].signature'));
  const later = await signed(draft, Date.now() + 2 * hourMs);
  const { terms } = later;
  await expect(started({ ...grant, terms })).rejects.toEqual(not('grant.targets[0].signature'));
  // No signer makes such a text; of the two names, the second is read.
  const doubled = grant.terms.replace('{', '{"startedBy":"\ud800",');
  await expect(started({ ...grant, terms: doubled })).rejects.toEqual(not('grant.targets[0].signature'));
});

test('a grant starts one run, even if two starts with it coincide', async () => {
  const grant = await signed(await drafted());
  const used = refused('grant.terms', 'was started with this grant, and a grant starts one run');
  const results = await Promise.allSettled([started(grant), started(grant)]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(results).toContainEqual({ status: 'rejected', reason: used });
  await expect(started(grant)).rejects.toEqual(used);
  await expect(started(await signed(await drafted()))).resolves.toMatchObject({});
  await t.claim();
});

test('a run signed for one agent waits for that agent', async () => {
  const grant = await signed(await drafted({ agentIds: [other.agentId] }));
  const { runId } = await started(grant);
  const claimed = await t.claim();
  expect(claimed.map(({ jobRunId, agentId }) => [jobRunId, agentId])).toEqual(
    targetIds.map(() => [runId, other.agentId]),
  );
  const both = { agentIds: [t.agent.agentId, other.agentId] };
  await expect(drafted(both)).rejects.toEqual(refused('agentIds[1]', 'Another agent of its segment'));
  await expect(drafted({ agentIds: [999_999] })).rejects.toEqual(refused('agentIds[0]', 'no such agent'));
});

test('if each agent runs only what is signed for it alone, one agent has to be named', async () => {
  for (const agent of [t.agent, other]) {
    const demands = ['signed_runs_only', 'signed_for_one_agent'];
    await t.connect(agent, { capabilities: [...agentCapabilities, ...demands, agentNeed(agent.agentId)] });
  }
  await expect(drafted()).rejects.toMatchObject({
    details: [
      {
        path: 'agentIds',
        message: expect.stringContaining('signed for one of them'),
        allowed: `one of ${t.agent.agentId} (${t.agent.name}), ${other.agentId} (agent-other)`,
      },
    ],
  });
  await expect(drafted({ agentIds: [other.agentId] })).resolves.toMatchObject({ startedBy: t.caller.name });
});
