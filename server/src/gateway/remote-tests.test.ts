import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { answerAsk, takeAsk } from '../store/agents/agent-asks.ts';
import { listen } from '../store/database/notifications.ts';
import type { TargetTestRequest } from '../targets/test-target.ts';
import { RemoteTests } from './remote-tests.ts';
import { setupGateway, type TestGateway } from './testing.ts';

const nobody = {
  ...{ progress() {}, output() {}, session() {}, segment() {}, scans() {}, transfers() {} },
  resync() {},
};

/** A second server of the installation, without agents; it hears what the gateway hears. */
async function secondServer(t: TestGateway, takenWithinMs = 10_000) {
  const tests = new RemoteTests({
    sql: t.sql,
    serverId: randomUUID(),
    log: { warn() {} } as never,
    hasAgent: () => false,
    testHere: async () => 'offline',
    timings: { takenWithinMs, graceMs: takenWithinMs },
  });
  const listening = await listen(t.sql, {
    ...nobody,
    forget() {},
    asked: (id, segmentId) => tests.asked(id, segmentId),
    answered: (id) => tests.answered(id),
  });
  return {
    tests,
    async [Symbol.asyncDispose]() {
      await tests.stop();
      await listening.stop();
    },
  };
}

function request(t: TestGateway): TargetTestRequest {
  const target = { id: 7, name: 'host', host: '10.0.0.7', port: 22, hostKeys: [] };
  return { segmentId: t.segmentId, target, timeoutMs: 5_000 } as TargetTestRequest;
}

test('a target is tested by an agent that is connected to another server', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  await using other = await secondServer(t);
  const answer = other.tests.ask(request(t));
  const asked = await agent.next('test_target');
  expect(asked.target).toMatchObject({ id: 7, host: '10.0.0.7' });
  agent.send({ type: 'target_tested', requestId: asked.requestId, ok: true, latencyMs: 12 });
  expect(await answer).toMatchObject({ tested: { ok: true, latencyMs: 12 } });
  expect(await t.sql`select 1 from agent_asks`).toHaveLength(0);
});

test('nobody is asked if no agent of the segment is connected', async () => {
  await using t = await setupGateway();
  await t.sql`update agent_sessions set disconnected_at = clock_timestamp()`;
  await using other = await secondServer(t);
  expect(await other.tests.ask(request(t))).toBeUndefined();
});

test('a server that does not know the question leaves the agent offline, and nothing behind', async () => {
  await using t = await setupGateway();
  await t.connectAgent();
  await t.gateway.stop();
  await t.sql`update agent_sessions set disconnected_at = null, ready = true`;
  await using other = await secondServer(t, 50);
  expect(await other.tests.ask(request(t))).toBe('offline');
  expect(await t.sql`select 1 from agent_asks`).toHaveLength(0);
});

test('a question is answered by one server, though all hear it', async () => {
  await using t = await setupGateway();
  const id = randomUUID();
  await t.sql`insert into agent_asks (id, segment_id, request) values (${id}, ${t.segmentId}, '{"n": 1}')`;
  expect(await takeAsk(t.sql, id, randomUUID())).toEqual({ n: 1 });
  expect(await takeAsk(t.sql, id, randomUUID())).toBeUndefined();
  await answerAsk(t.sql, id, 'offline');
});
