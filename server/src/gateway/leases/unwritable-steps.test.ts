// Steps whose rows the database refuses to write: they cost their agent nothing else.
import { closeCodes } from '@opsconductor/protocol';
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { createScan } from '../../host-keys/create-scan.ts';
import { refuseToWrite } from '../../runs/testing.ts';
import { createTarget } from '../../targets/edit-targets.ts';
import { setupGateway } from '../testing.ts';
import { completion, leased } from './leased-testing.ts';

test('the end of a step that the database refuses is settled once it is not, on the same connection', async () => {
  await using t = await leased();
  const allow = await refuseToWrite(t.sql, t.lease.step);
  t.agentSocket.send(completion(t.lease, []));
  await expect.poll(() => t.logged.join()).toContain('the database refuses the end of a step');
  await allow();
  expect((await t.agentSocket.next('completed')).result).toBe('settled');
});

test('an agent with a step whose row can’t be written comes back, does other work, and reports the step once that can be', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  const allow = await refuseToWrite(t.sql, step);
  t.agentSocket.terminate();
  const attempt = { step, epoch, leaseToken, lastSeq: 0 };
  const again = await t.connectAgent({ attempts: [{ ...attempt, state: 'running' }] });
  expect(again.resumed.attempts).toMatchObject([{ step, verdict: 'continue' }]);
  await t.start();
  const [other] = (await again.next('leases')).leases;
  if (other === undefined) throw new Error('no lease');
  again.send(completion(t.lease, []));
  again.send(completion(other, [], { requestId: 'request-2' }));
  // An answer about the first would have the agent drop what it knows of it.
  expect(await again.next('completed')).toMatchObject({ step: other.step, result: 'settled' });
  expect(again.untaken).not.toContain('completed');
  again.terminate();
  await allow();
  const last = await t.connectAgent({ attempts: [{ ...attempt, state: 'finished' }] });
  last.send(completion(t.lease, []));
  expect(await last.next('completed')).toMatchObject({ step, result: 'settled' });
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'succeeded', epoch }]);
});

test('an agent that has ended a step whose row can’t be written is made to connect again once that can be', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  const allow = await refuseToWrite(t.sql, step);
  t.agentSocket.terminate();
  const attempt = { step, epoch, leaseToken, lastSeq: 0 };
  const again = await t.connectAgent({ attempts: [{ ...attempt, state: 'running' }] });
  again.send(completion(t.lease, []));
  await t.start();
  await again.next('leases');
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running' }]);
  await allow();
  expect(await again.closed).toBe(closeCodes.serverRestart);
  const last = await t.connectAgent({ attempts: [{ ...attempt, state: 'finished' }] });
  last.send(completion(t.lease, []));
  expect(await last.next('completed')).toMatchObject({ step, result: 'settled' });
});

test('an agent with a command of which the database can’t note that it survives comes back, and does other work', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  await t.sql.unsafe(`
    create function refuse_detached() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before insert or update or delete on detached_attempts for each row
      execute function refuse_detached()`);
  t.agentSocket.terminate();
  const attempt = { step, epoch, leaseToken, lastSeq: 0, state: 'running', survives: true } as const;
  const again = await t.connectAgent({ attempts: [attempt] });
  expect(again.resumed.attempts).toMatchObject([{ step, verdict: 'continue' }]);
  const runId = await t.start();
  expect((await again.next('leases')).leases).toMatchObject([{ runId }]);
  again.terminate();
  await t.sql`drop function refuse_detached cascade`;
  const last = await t.connectAgent({ attempts: [attempt] });
  last.send(completion(t.lease, []));
  expect(await last.next('completed')).toMatchObject({ step, result: 'settled' });
});

test('an agent that is gone and whose session can’t be written keeps no others from being leased steps', async () => {
  await using t = await setupGateway();
  const gone = await t.connectAgent();
  await t.sql.unsafe(`
    create function refuse_session() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before update on agent_sessions for each row when (old.agent_id = ${t.agent.agentId})
      execute function refuse_session()`);
  gone.terminate();
  await expect.poll(() => t.logged.join()).toContain('could not be recorded');
  // Until its session expires, it counts as connected.
  const first = await t.start();
  await expect.poll(() => t.steps(first)).toMatchObject([{ status: 'ready', epoch: 1 }]);
  const { agentId } = await t.addAgent('second');
  const signing = await generateSigningKeyPair();
  await t.sql`update agents set signing_key = ${signing.publicKey} where id = ${agentId}`;
  const agent = await t.connectAnother({ agentId, signing });
  const runId = await t.start({ targets: 4 });
  expect((await agent.next('leases')).leases).toContainEqual(expect.objectContaining({ runId }));
});

test.each([
  ['of a target that does not answer', 'silent_targets', 'insert'],
  ['of targets that it was to scan', 'host_scan_items', 'update'],
])('an agent whose news %s the database refuses keeps its connection', async (_, table, change) => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  const fields = { segmentId: t.segmentId, name: 'scanned', host: 'scanned.example' };
  const { id } = await createTarget(t.sql, fields, t.caller);
  await createScan(t.sql, { kind: 'keys', selection: { targetIds: [id] } }, t.caller);
  await t.sql`update host_scan_items set state = 'given', agent_id = ${t.agent.agentId}, session_number = 0`;
  await t.sql.unsafe(`
    create function refuse_news() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before ${change} on ${table} for each row execute function refuse_news()`);
  t.agentSocket.terminate();
  const attempt = { step, epoch, leaseToken, lastSeq: 0, state: 'running' } as const;
  const again = await t.connectAgent({ attempts: [attempt], capabilities: ['scan_hosts'] });
  again.send({ type: 'target_silence', step, epoch, leaseToken, silentMs: 30_000, leftMs: 60_000 });
  // Nothing is written of a step that has ended.
  await expect.poll(() => t.logged.join()).toContain('the database refuses to');
  again.send(completion(t.lease, []));
  expect(await again.next('completed')).toMatchObject({ step, result: 'settled' });
  const runId = await t.start();
  expect((await again.next('leases')).leases).toMatchObject([{ runId }]);
  expect(t.logged.join()).not.toContain('could not be handled');
});

test('an agent that has lost a step whose end the database refuses comes back all the same', async () => {
  await using t = await leased();
  const { step, epoch, leaseToken } = t.lease;
  t.agentSocket.send({ type: 'started', step, epoch, leaseToken });
  const begun = () => t.sql`select started_at is not null as begun from job_run_steps`;
  await expect.poll(begun).toEqual([{ begun: true }]);
  await refuseToWrite(t.sql, step);
  t.agentSocket.terminate();
  const again = await t.connectAgent();
  const runId = await t.start();
  expect((await again.next('leases')).leases).toMatchObject([{ runId }]);
  expect(await t.steps(t.runId)).toMatchObject([{ status: 'running', epoch }]);
});

test('a ready step whose row can’t be written keeps the steps of no other run from being leased, nor runs from being started', async () => {
  await using t = await setupGateway();
  // In the database the agent counts as connected, and would be leased steps.
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp()`;
  const bad = await t.start();
  const [step] = await t.steps(bad);
  const allow = await refuseToWrite(t.sql, step?.id ?? 0);
  const before = await t.start();
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: before }]);
  const after = await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: after }]);
  expect(await t.steps(bad)).toMatchObject([{ status: 'ready', epoch: 0 }]);
  await allow();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: bad }]);
});
