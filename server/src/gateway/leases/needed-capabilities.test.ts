// Steps that not every agent of a segment can carry out.
import { expect, test } from 'vitest';
import { setupGateway } from '../testing.ts';
import { completion } from './leased-testing.ts';

const onSecond = '0b7e1c52-0000-4000-8000-000000000002';

test('an agent that can’t log in as another user is not leased such a step, and goes on with others', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  await t.sql`update segments set settings = '{"username": "deploy"}' where id = ${t.segmentId}`;
  const refused = await t.start({ steps: 2 });
  await expect.poll(async () => (await t.run(refused)).status).toBe('failed');
  const [first, second] = await t.steps(refused);
  expect(first).toMatchObject({ status: 'failed', reason: 'agent_too_old' });
  expect(first?.errorMessage).toContain('the user name for “host-1” is set to “deploy”');
  expect(first?.advice).toContain('Upgrade the agent');
  expect(second).toMatchObject({ status: 'skipped' });
  const target = { id: 1, name: 'host-1', host: '10.0.0.1', port: 22, hostKeys: [], username: 'deploy' };
  expect(await t.gateway.testTarget({ segmentId: t.segmentId, target, timeoutMs: 1_000 })).toMatchObject({
    tested: { ok: false, reason: 'agent_too_old' },
  });
  await t.sql`update segments set settings = '{}' where id = ${t.segmentId}`;
  const runId = await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId, epoch: 1 }]);
});

test('if another agent of the segment can log in as another user, the step is left to it', async () => {
  await using t = await setupGateway();
  const able = await t.addAgent('able');
  await t.connect(able, { serverId: onSecond, slots: 4, capabilities: ['username_setting'] });
  await t.connectAgent();
  await t.sql`update segments set settings = '{"username": "deploy"}' where id = ${t.segmentId}`;
  const runId = await t.start({ targets: 2 });
  await expect
    .poll(() => t.sql`select status, needs from job_run_steps where job_run_id = ${runId}`)
    .toEqual([
      { status: 'ready', needs: ['username_setting'] },
      { status: 'ready', needs: ['username_setting'] },
    ]);
  expect((await t.claim(onSecond)).map(({ agentId }) => agentId)).toEqual([able.agentId, able.agentId]);
});

test('the step after one that ended is left to another agent in the same way', async () => {
  await using t = await setupGateway();
  const able = await t.addAgent('able');
  await t.connect(able, { serverId: onSecond, capabilities: ['username_setting', 'step_limits'] });
  const old = await t.connectAgent();
  const limited = { config: { command: 'true', limits: { nice: 5 } } };
  const runId = await t.start({ rules: [{}, limited] });
  const [lease] = (await old.next('leases')).leases;
  if (lease === undefined) throw new Error('no lease');
  old.send(completion(lease, []));
  expect(await old.next('completed')).not.toHaveProperty('next');
  expect(await t.steps(runId)).toMatchObject([{ status: 'succeeded' }, { status: 'ready' }]);
  expect(await t.claim(onSecond)).toMatchObject([{ stepNumber: 2, agentId: able.agentId }]);
});

test('an agent that can do it, and says things that this server does not know, is told the user', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent({ capabilities: ['of_a_later_version', 'username_setting'] });
  await t.sql`update segments set settings = '{"username": "deploy"}' where id = ${t.segmentId}`;
  await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ target: { username: 'deploy' } }]);
});
