import { randomUUID } from 'node:crypto';
import { agentCapabilities } from '@opsconductor/protocol';
import { openRunValue, sealRunValue } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { createJob } from '../../jobs/create-job.ts';
import { findRunSecrets, findSegmentKeysNow } from '../../store/runs/run-values.ts';
import { LeaseBuilder } from '../leases/lease-builder.ts';
import { rerun } from '../start/rerun.ts';
import { startRun } from '../start/start-run.ts';
import { endOf, failure, setupRuns, type TestRuns } from '../testing.ts';
import { shownParameters } from './show-values.ts';

const parameters = {
  word: { type: 'string' as const, default: 'hello' },
  count: { type: 'integer' as const },
  token: { type: 'string' as const, secret: true },
};
const step = { config: { command: 'echo "${{ parameters.word }}" "${{ parameters.token }}"' } };
const secret = 'correct horse battery staple';

async function setup(more: { detect_secrets?: boolean } = {}) {
  const t = await setupRuns();
  await t.connect(t.agent, { capabilities: agentCapabilities });
  const definition = {
    name: `job ${randomUUID()}`,
    parameters,
    steps: [{ name: 'one', type: 'ssh.exec', ...step }],
    ...more,
  };
  const { id: jobId } = await createJob(t, definition, t.caller);
  const targetIds = [await t.addTarget()];
  return { t, jobId, selection: { targetIds } };
}

async function segmentKey(t: TestRuns) {
  const [key] = await findSegmentKeysNow(t.sql, [t.segmentId]);
  if (key?.publicKey === undefined || key.publicKey === null || key.generation === null)
    throw new Error('no key');
  return { publicKey: key.publicKey, generation: key.generation };
}

/** Returns everything that the database holds, as text. */
async function dump(t: TestRuns): Promise<string> {
  const tables = await t.sql<{ name: string }[]>`
    select quote_ident(tablename) as name from pg_tables where schemaname = 'public'`;
  const texts = await Promise.all(
    tables.map(async ({ name }) => JSON.stringify(await t.sql.unsafe(`select t::text from ${name} t`))),
  );
  return texts.join('\n');
}

test('values are filled from defaults, kept encrypted, and shown except for secrets', async () => {
  const { t, jobId, selection } = await setup();
  await using _ = t;
  const given = { word: 'plain-word-4711', count: 3, token: secret };
  const { runId } = await startRun(t, { jobId, selection, parameters: given, reason: 'because' }, t.caller);
  const run = { id: runId, jobId, jobVersion: 1 };
  expect(await shownParameters(t, run)).toEqual([
    { name: 'word', value: 'plain-word-4711', secret: false, isDefault: false },
    { name: 'count', value: 3, secret: false, isDefault: false },
    { name: 'token', secret: true, isDefault: false },
  ]);
  const all = await dump(t);
  for (const word of ['plain-word-4711', secret]) {
    expect(all).not.toContain(word);
    // Bytes are shown in hex.
    expect(all).not.toContain(Buffer.from(word).toString('hex'));
  }
  expect(all).toContain('because');
  const { runId: second } = await startRun(
    t,
    { jobId, selection, parameters: { count: 1, token: secret } },
    t.caller,
  );
  expect((await shownParameters(t, { ...run, id: second }))[0]).toMatchObject({
    value: 'hello',
    isDefault: true,
  });
});

test('the lease carries what the step is rendered with; the segment’s key opens the secret', async () => {
  const { t, jobId, selection } = await setup();
  await using _ = t;
  await startRun(t, { jobId, selection, parameters: { count: 3, token: secret } }, t.caller);
  const claimed = await t.claimOne();
  const { leases } = await new LeaseBuilder(t).build([claimed]);
  const { rendering, config } = leases.get(claimed.id) ?? {};
  expect(config).toMatchObject(step.config);
  expect(rendering?.values.parameters).toEqual({ word: 'hello' });
  expect(rendering?.values.target).toMatchObject({ name: 'host-1', host: '10.0.0.1', port: 22, labels: {} });
  expect(Object.keys(rendering?.scope.parameters ?? {})).toEqual(['word', 'token']);
  const [sealed] = rendering?.secrets ?? [];
  if (sealed === undefined) throw new Error('no secret');
  expect(JSON.stringify(rendering)).not.toContain(secret);
  const binding = {
    installationId: t.identity.installationId,
    jobId,
    id: sealed.id,
    step: '',
    name: 'token',
    segmentId: t.segmentId,
    generation: sealed.sealed.generation,
  };
  const open = (changed: object) =>
    openRunValue({
      segmentPrivateKey: t.segmentKey.privateKey,
      binding: { ...binding, ...changed },
      sealed: sealed.sealed,
    });
  expect(await open({})).toBe(secret);
  for (const other of [{ jobId: jobId + 1 }, { name: 'word' }, { id: randomUUID() }, { step: 'one' }])
    await expect(open(other)).rejects.toThrow('another purpose');
});

test('a secret that the client has sealed is taken unchanged, for each segment and the newest key', async () => {
  const { t, jobId, selection } = await setup();
  await using _ = t;
  const id = randomUUID();
  const { publicKey, generation } = await segmentKey(t);
  const { installationId } = t.identity;
  const binding = { installationId, jobId, id, step: '', name: 'token', segmentId: t.segmentId, generation };
  const sealed = await sealRunValue({ segmentPublicKey: publicKey, binding, value: secret });
  const start = (values: Parameters<typeof startRun>[1]['secretParameters']) =>
    startRun(t, { jobId, selection, parameters: { count: 1 }, secretParameters: values }, t.caller);
  const { runId } = await start({ id, values: { token: [{ segmentId: t.segmentId, sealed }] } });
  expect(await findRunSecrets(t.sql, runId)).toEqual([{ segmentId: t.segmentId, name: 'token', sealed }]);
  await expect(start({ id, values: { token: [{ segmentId: 4711, sealed }] } })).rejects.toThrow(
    'is not sealed to segment',
  );
  const old = { ...sealed, generation: generation + 1 };
  await expect(start({ id, values: { token: [{ segmentId: t.segmentId, sealed: old }] } })).rejects.toThrow(
    `sealed to generation ${generation + 1}`,
  );
});

test('everything that is wrong with values is reported at once, by place, and never a secret', async () => {
  const { t, jobId, selection } = await setup();
  await using _ = t;
  const given = { word: 3, cuont: 4, token: 4711 };
  const refused = await startRun(t, { jobId, selection, parameters: given }, t.caller).catch(
    (error) => error,
  );
  expect(refused.code).toBe('invalid');
  expect(refused.details.map(({ path }: { path: string }) => path).sort()).toEqual([
    'parameters.count',
    'parameters.cuont',
    'parameters.token',
    'parameters.word',
  ]);
  expect(JSON.stringify(refused.details)).not.toContain('4711');
  expect(await t.sql`select 1 from job_runs`).toEqual([]);
});

test('a rerun has the same values, with secrets as they were sealed', async () => {
  const { t, jobId, selection } = await setup();
  await using _ = t;
  const given = { word: 'again', count: 3, token: secret };
  const { runId } = await startRun(t, { jobId, selection, parameters: given }, t.caller);
  await t.settle(endOf(await t.claimOne(), failure));
  const { runId: second } = await rerun(t.sql, runId, { which: 'failed' }, t.caller, (request) =>
    startRun(t, request, t.caller),
  );
  const shown = (id: number) => shownParameters(t, { id, jobId, jobVersion: 1 });
  expect(await shown(second)).toEqual(await shown(runId));
  expect(await findRunSecrets(t.sql, second)).toEqual(await findRunSecrets(t.sql, runId));
});

test('values that were moved to another run can’t be opened', async () => {
  const { t, jobId, selection } = await setup();
  await using _ = t;
  const start = async () => {
    const given = { count: 1, token: secret };
    return (await startRun(t, { jobId, selection, parameters: given }, t.caller)).runId;
  };
  const [first, second] = [await start(), await start()];
  await t.sql`
    update job_runs set (parameters, data_key) = (select parameters, data_key from job_runs where id = ${first})
    where id = ${second}`;
  await expect(shownParameters(t, { id: second, jobId, jobVersion: 1 })).rejects.toThrow('altered or moved');
});

test.each([
  [undefined, false, undefined],
  [undefined, true, true],
  [false, true, undefined],
  [true, false, true],
])(
  'a job that sets %s for detecting secrets, where the installation sets %s: its leases say %s',
  async (ofJob, ofAll, expected) => {
    const { t, jobId, selection } = await setup(ofJob === undefined ? {} : { detect_secrets: ofJob });
    await using _ = t;
    await startRun(t, { jobId, selection, parameters: { count: 3, token: secret } }, t.caller);
    const claimed = await t.claimOne();
    const { leases } = await new LeaseBuilder({ ...t, detectsSecrets: ofAll }).build([claimed]);
    expect(leases.get(claimed.id)?.detectSecrets).toBe(expected);
  },
);
