import type { GrantDraft } from '@opsconductor/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createJob } from '../../../jobs/create-job.ts';
import { createTarget } from '../../../targets/edit-targets.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

test('what is to be signed names all of the way to a target, as its description says', async () => {
  const hop = await t.addTarget();
  const [{ name, credentialId }] = (await t.sql`
    select name, credential_id from targets where id = ${hop}`) as unknown as [
    { name: string; credentialId: string },
  ];
  const settings = {
    jump_hosts: [name],
    connect_timeout: 7,
    keepalive_interval: 9,
    ssh_algorithms: 'legacy' as const,
    max_connections: 2,
    username: 'deploy',
  };
  const { id: targetId } = await createTarget(
    t.sql,
    { segmentId: t.segmentId, name: 'behind', host: '10.0.0.2', credentialId, settings },
    t.caller,
  );
  const steps = [{ name: 'look', type: 'ssh.exec' as const, config: { command: 'true' } }];
  const { id } = await createJob(t, { name: 'look', steps }, t.caller);
  // An answer with a field that its description doesn't name is an error here.
  const { status, body } = await t.ask('POST', `jobs/${id}/grant-draft`, { json: { targetIds: [targetId] } });
  expect(body).toMatchObject({ job: { id, version: 1 } });
  expect(status).toBe(200);
  expect((body as GrantDraft).targets[0]?.reaches[0]?.target).toMatchObject({
    hostKeys: [],
    username: 'deploy',
    connectTimeoutS: 7,
    keepaliveIntervalS: 9,
    algorithms: 'legacy',
    maxConnections: 2,
    jumps: [{ target: { name, hostKeys: [] }, credential: { id: credentialId } }],
  });
});
