// Which credentials a run uses, as its audit row says.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCredential } from '../../credentials/edit-credentials.ts';
import { createJob } from '../../jobs/create-job.ts';
import { sealedCredentialRequest } from '../../segments/testing.ts';
import { createTarget } from '../../targets/edit-targets.ts';
import { setupRuns, type TestRuns } from '../testing.ts';
import { startRun } from './start-run.ts';

let t: TestRuns;
let jobs = 0;
beforeAll(async () => {
  t = await setupRuns();
});
afterAll(() => t[Symbol.asyncDispose]());

async function used(targetIds: number[], ...credentials: (string | undefined)[]) {
  const steps = credentials.map((credential, n) => ({
    name: `step ${n}`,
    type: 'ssh.exec' as const,
    config: { command: 'uptime' },
    ...(credential === undefined ? {} : { connection: { credential } }),
  }));
  const job = await createJob(t, { name: `job ${++jobs}`, steps }, t.caller);
  const { runId } = await startRun(t, { jobId: job.id, selection: { targetIds } }, t.caller);
  const [row] = await t.sql<{ detail: object }[]>`
    select detail from audit_log where action = 'run.started' and object_id = ${String(runId)}`;
  return row?.detail;
}

const credential = async (name: string) =>
  (await createCredential(t.sql, await sealedCredentialRequest(t, t.segmentId, name), t.caller)).id;

const bareTarget = async (name: string) =>
  (await createTarget(t.sql, { segmentId: t.segmentId, name, host: '10.0.0.2' }, t.caller)).id;

it('names what targets have and inherit, most used first, as the lease will take it', async () => {
  const [own] = await t.sql<{ id: string }[]>`select id from credentials where name = 'deploy'`;
  const [ofLesser, ofGreater] = [await credential('lesser'), await credential('greater')];
  const inherits = await bareTarget('inherits');
  for (const [name, priority, id] of [
    ['a', 1, ofLesser],
    ['b', 9, ofGreater],
  ] as const) {
    await t.sql`
      with g as (insert into target_groups (name, priority) values (${name}, ${priority}) returning id),
        m as (insert into target_group_members select g.id, ${inherits} from g)
      insert into target_group_credentials select g.id, ${t.segmentId}, ${id} from g`;
  }
  const detail = await used([inherits, await t.addTarget(), await t.addTarget()], undefined);
  expect(detail).toMatchObject({
    credentials: [
      { id: own?.id, targets: 2 },
      { id: ofGreater, targets: 1 },
    ],
    namedCredentials: [],
  });
  const leases = await t.claim();
  expect(leases).toHaveLength(3);
});

it('names credentials that steps ask for, and inherited ones only if a step asks for none', async () => {
  const targetId = await t.addTarget();
  expect(await used([targetId], 'deploy', 'deploy')).toMatchObject({
    credentials: [],
    namedCredentials: ['deploy'],
  });
  expect(await used([targetId], 'deploy', undefined)).toMatchObject({
    credentials: [{ targets: 1 }],
    namedCredentials: ['deploy'],
  });
});
