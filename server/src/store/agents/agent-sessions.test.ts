import { expect, test } from 'vitest';
import { blockedBackends, holdTransaction, setupRuns, type TestAgent } from '../../runs/testing.ts';
import { inTransaction } from '../database/transaction.ts';
import {
  closeSession,
  holdCurrentSessions,
  markStarted,
  quarantineAgent,
  renewSessions,
} from './agent-sessions.ts';

const ttlMs = 20_000;

function beat({ agentId, sessionNumber }: TestAgent) {
  return { agentId, sessionNumber, rssBytes: 1, spoolBytes: null, loadAverage: 0.5 };
}

test('a heartbeat renews the sessions of many agents, but none that has been superseded', async () => {
  await using t = await setupRuns();
  const other = await t.addAgent('agent-b');
  const renewed = await t.connect(other);
  await t.sql`update agent_sessions set expires_at = clock_timestamp()`;
  const alive = await renewSessions(t.sql, [beat(t.agent), beat(other)], ttlMs);
  expect([...alive]).toEqual([[t.agent.agentId, 300]]);
  const rows = await t.sql<{ agentId: number; isLive: boolean }[]>`
    select agent_id, expires_at > clock_timestamp() + interval '15 seconds' as is_live
    from agent_sessions order by agent_id`;
  expect(rows.map((row) => row.isLive)).toEqual([true, false]);
  expect([...(await renewSessions(t.sql, [beat(renewed)], ttlMs)).keys()]).toEqual([other.agentId]);
});

test('heartbeats lock sessions in the order in which others lock them, whatever order they come in', async () => {
  await using t = await setupRuns();
  const other = await t.connect(await t.addAgent('agent-b'));
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select from agent_sessions where agent_id = ${t.agent.agentId} for update`,
  );
  const renewing = renewSessions(t.sql, [beat(other), beat(t.agent)], ttlMs);
  await blockedBackends(t.sql, 1);
  const free = await t.sql`select agent_id from agent_sessions for update skip locked`;
  expect(free).toEqual([{ agentId: other.agentId }]);
  await release();
  expect([...(await renewing).keys()].sort()).toEqual([t.agent.agentId, other.agentId].sort());
});

test('steps that have begun are locked in the order in which those who store their output lock them', async () => {
  await using t = await setupRuns();
  await t.start({ targets: 3 });
  const leases = (await t.claim()).sort((a, b) => b.id - a.id);
  const ids = leases.map(({ id }) => id);
  const [last, , first] = ids;
  const release = await holdTransaction(
    t.sql,
    (tx) => tx`select from job_run_steps where id = ${first ?? 0} for update`,
  );
  const marking = markStarted(
    t.sql,
    leases.map((lease) => ({ step: lease.id, ...lease })),
  );
  await blockedBackends(t.sql, 1);
  const free = await t.sql<
    { id: number }[]
  >`select id from job_run_steps where id = ${last ?? 0} for update skip locked`;
  expect(free).toEqual([{ id: last }]);
  await release();
  expect((await marking).map(({ id }) => id).sort()).toEqual([...ids].sort());
});

test('a quarantined agent’s heartbeat renews nothing, and none of its sessions is current', async () => {
  await using t = await setupRuns();
  const heard: string[] = [];
  await t.sql.listen('opsc_session', (payload) => heard.push(payload));
  await inTransaction(t.sql, (tx) => quarantineAgent(tx, t.agent.agentId));
  expect([...(await renewSessions(t.sql, [beat(t.agent)], ttlMs))]).toEqual([]);
  expect([...(await inTransaction(t.sql, (tx) => holdCurrentSessions(tx, [t.agent])))]).toEqual([]);
  await expect.poll(() => heard).toEqual([`${t.agent.agentId}.${t.agent.sessionNumber + 1}.quarantined`]);
});

test('the end of an older connection does not end the session of a newer one', async () => {
  await using t = await setupRuns();
  const newer = await t.connect(t.agent);
  await closeSession(t.sql, t.agent.agentId, t.agent.sessionNumber, true);
  await t.start();
  expect(await t.claim()).toMatchObject([{ sessionNumber: newer.sessionNumber }]);
  await closeSession(t.sql, newer.agentId, newer.sessionNumber, false);
  await t.start();
  expect(await t.claim()).toEqual([]);
});

test('the start of a step is noted once, and only by the session that holds it', async () => {
  await using t = await setupRuns();
  await t.start();
  const { id: step, epoch, agentId, sessionNumber } = await t.claimOne();
  const startedAt = async () =>
    (await t.sql<{ startedAt: Date | null }[]>`select started_at from job_run_steps where id = ${step}`)[0]
      ?.startedAt;
  await markStarted(t.sql, [
    { step, epoch: epoch + 1, agentId, sessionNumber },
    { step, epoch, agentId, sessionNumber: sessionNumber + 1 },
    { step, epoch, agentId: agentId + 1, sessionNumber },
  ]);
  expect(await startedAt()).toBeNull();
  await markStarted(t.sql, [{ step, epoch, agentId, sessionNumber }]);
  const first = await startedAt();
  expect(first).toBeInstanceOf(Date);
  await markStarted(t.sql, [{ step, epoch, agentId, sessionNumber }]);
  expect(await startedAt()).toEqual(first);
});
