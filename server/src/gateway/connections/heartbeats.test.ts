import { randomBytes } from 'node:crypto';
import { limits } from '@opsconductor/protocol';
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { testServerId } from '../../runs/testing.ts';
import type { AgentLink } from '../link/agent-link.ts';
import { setupGateway } from '../testing.ts';
import { Heartbeats } from './heartbeats.ts';

test('two agents of a segment are told to reconnect first, and the others within a time that grows with the number of agents', async () => {
  await using t = await setupGateway();
  const agentIds: number[] = [];
  for (let n = 0; n < 4; n += 1) {
    const [agent] = await t.sql<{ id: number }[]>`
      insert into agents (segment_id, name, signing_key, encryption_key, session_number, version, platform)
      values (${t.segmentId}, ${`more-${n}`}, ${randomBytes(32)}, ${randomBytes(32)}, 1, '1', 'linux') returning id`;
    if (agent === undefined) throw new Error('no agent');
    await t.sql`insert into agent_sessions (agent_id, session_number, server_id, slots, expires_at)
      values (${agent.id}, 1, ${testServerId}, 1, now() + interval '1 minute')`;
    agentIds.push(agent.id);
  }
  const told = new Map<number, number>();
  let allTold: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    allTold = resolve;
  });
  const links = agentIds.map((agentId) => ({
    ...{ agentId, sessionNumber: 1, segmentId: t.segmentId, missedAttempts: () => [] },
    send({ reconnectWithinMs }: { reconnectWithinMs: number }) {
      told.set(agentId, reconnectWithinMs);
      if (told.size === agentIds.length) allTold();
    },
  })) as unknown as AgentLink[];
  const heartbeats = new Heartbeats({
    ...{
      sql: t.sql,
      log: createLog({ level: 'error', plain: false, destination: { write: () => undefined } }),
      leaseTtlMs: 60_000,
    },
    connected: () => links,
    onOver: async () => undefined,
  });
  for (const link of links) heartbeats.heard(link, { type: 'heartbeat', sequence: 1, held: [] });
  await answered;
  heartbeats.stop();
  const ofFirst = limits.reconnectPerFirstAgentMs;
  const ofAll = 4 * limits.reconnectPerAgentMs;
  expect(agentIds.map((id) => told.get(id))).toEqual([ofFirst, 3 * ofFirst, ofAll, ofAll]);
});

test('an agent whose session can’t be written costs no other its own, and is not shut out for it', async () => {
  await using t = await setupGateway();
  const good = await t.connectAgent();
  const [session] = await t.sql<{ agentId: number; sessionNumber: number }[]>`
    select agent_id, session_number from agent_sessions`;
  if (session === undefined) throw new Error('no session');
  const [row] = await t.sql<{ id: number }[]>`
    insert into agents (segment_id, name, signing_key, encryption_key, session_number, version, platform)
    values (${t.segmentId}, 'bad', ${randomBytes(32)}, ${randomBytes(32)}, 1, '1', 'linux') returning id`;
  const bad = row?.id ?? 0;
  await t.sql`insert into agent_sessions (agent_id, session_number, server_id, slots, expires_at)
    values (${bad}, 1, ${testServerId}, 1, now() + interval '1 minute')`;
  await t.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not written'; end $$;
    create trigger refuse before update on agent_sessions for each row when (old.agent_id = ${bad})
      execute function refuse()`);
  const acknowledged: number[] = [];
  const over: number[] = [];
  const links = [bad, session.agentId].map((agentId) => ({
    ...{ agentId, segmentId: t.segmentId, missedAttempts: () => [], isEnding: false },
    sessionNumber: agentId === bad ? 1 : session.sessionNumber,
    send: () => acknowledged.push(agentId),
  })) as unknown as AgentLink[];
  const heartbeats = new Heartbeats({
    sql: t.sql,
    log: createLog({ level: 'silent', plain: false }),
    leaseTtlMs: 60_000,
    connected: () => links,
    onOver: async (ended) => void over.push(...ended.map(({ agentId }) => agentId)),
  });
  for (const link of links) heartbeats.heard(link, { type: 'heartbeat', sequence: 1, held: [] });
  await expect.poll(() => acknowledged).toEqual([session.agentId]);
  heartbeats.stop();
  expect(over).toEqual([]);
  good.terminate();
});

test('the first to reconnect are neither draining agents nor those that have just reconnected', async () => {
  await using t = await setupGateway();
  const enroll = async (name: string) => {
    const signing = await generateSigningKeyPair();
    const [row] = await t.sql<{ id: number }[]>`
      insert into agents (segment_id, name, signing_key, encryption_key, version, platform)
      values (${t.segmentId}, ${name}, ${signing.publicKey}, ${randomBytes(32)}, '1', 'linux') returning id`;
    if (row === undefined) throw new Error('no agent');
    return { agentId: row.id, signing };
  };
  const [one, two, three] = [await enroll('one'), await enroll('two'), await enroll('three')];
  const draining = await t.connectAgent({ draining: true });
  const older = await t.connectAnother(one);
  const sockets = [draining, await t.connectAnother(two), await t.connectAnother(three)];
  // Its older connection still exists.
  sockets.push(await t.connectAnother(one));
  await older.closed;
  const told: (number | undefined)[] = [];
  for (const socket of sockets) {
    socket.send({ type: 'heartbeat', sequence: 1, held: [] });
    told.push((await socket.next('heartbeat_ack')).reconnectWithinMs);
  }
  const ofFirst = limits.reconnectPerFirstAgentMs;
  const ofAll = 4 * limits.reconnectPerAgentMs;
  expect(told).toEqual([ofAll, ofFirst, 3 * ofFirst, ofAll]);
});
