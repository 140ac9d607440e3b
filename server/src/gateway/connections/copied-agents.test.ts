import { closeCodes } from '@opsconductor/protocol';
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { getAgent } from '../../segments/agents/list-agents.ts';
import { changeKeys } from '../../store/agents/agent-keys.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { admitNewerGenerations } from '../../store/installation/restore.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { setupGateway, type TestGateway } from '../testing.ts';

test('the previous generation is accepted once, if the newest was never acknowledged', async () => {
  await using t = await setupGateway();
  await t.connectAgent();
  const held = await t.generation();
  // The welcome is lost on the way: the agent never resumes.
  const lost = t.dial();
  lost.send(await t.proof(await lost.next('challenge'), held));
  await lost.next('welcome');
  lost.terminate();
  expect(await t.generation()).toBe(held + 1);
  const again = await t.connectAgent({}, held);
  expect(again.sessionNumber).toBeGreaterThan(0);
  expect(await t.agentState()).toBe('active');
});

test('an older generation is a copy: the agent is quarantined, and the connected copy is told so', async () => {
  await using t = await setupGateway();
  const held = await t.generation();
  const copy = await t.connectAgent();
  const original = t.dial();
  original.send(await t.proof(await original.next('challenge'), held));
  expect(await original.closed).toBe(closeCodes.quarantined);
  expect(await copy.closed).toBe(closeCodes.quarantined);
  expect(await t.agentState()).toBe('quarantined');
  const audit = await t.sql`select detail from audit_log where action = 'agent.quarantined'`;
  expect(audit).toMatchObject([{ detail: { presented: held, newest: held + 1 } }]);
  // Not even the newest generation helps any more.
  const later = t.dial();
  later.send(await t.proof(await later.next('challenge')));
  expect(await later.closed).toBe(closeCodes.quarantined);
});

/** Replaces the keys as the agent, or a copy of it, does: it signs the new keys with the previous ones. */
async function replaceKeys(t: TestGateway): Promise<void> {
  const { publicKey } = await generateSigningKeyPair();
  const key = Buffer.from(publicKey);
  const change = { agentId: t.agent.agentId, signingKey: key, encryptionKey: key, wraps: [] };
  await inTransaction(t.sql, (tx) => changeKeys(tx, change));
}

test('a copy that replaces the keys first shuts both out, too: the original comes with the previous key', async () => {
  await using t = await setupGateway();
  const held = await t.generation();
  const copy = await t.connectAgent();
  await replaceKeys(t);
  const original = t.dial();
  original.send(await t.proof(await original.next('challenge'), held));
  expect(await original.closed).toBe(closeCodes.quarantined);
  expect(await copy.closed).toBe(closeCodes.quarantined);
  expect(await t.agentState()).toBe('quarantined');
});

/** Lets a day pass. */
async function passDay(t: TestGateway): Promise<void> {
  await t.sql`update agents set enrolled_at = enrolled_at - interval '1 day', keys_changed_at = keys_changed_at - interval '1 day'`;
  await t.sql`
    update former_agent_keys set used_since = used_since - interval '1 day', replaced_at = replaced_at - interval '1 day'`;
}

test.each([
  ['for long, after many changes', 30, 60],
  ['for a day, after a change on each of almost as many days as all are kept', 1, 13],
])(
  'a copy that replaces the keys again and again shuts both out, too: the original had its own %s',
  async (_, days, changes) => {
    await using t = await setupGateway();
    await t.sql`update agents set enrolled_at = clock_timestamp() - make_interval(days => ${days})`;
    // Keys that the agent had before the copy was made, each for longer than the copy's will be.
    await t.sql`
    insert into former_agent_keys select id, sha256(n::text::bytea), enrolled_at - n * interval '20 days', enrolled_at - (n - 1) * interval '20 days'
      from agents, generate_series(1, 16) as n where ${days} = 1`;
    const held = await t.generation();
    const copy = await t.connectAgent();
    for (let times = 0; times < changes; times++) {
      await replaceKeys(t);
      await passDay(t);
    }
    const [kept] = await t.sql<{ count: number }[]>`select count(*)::int from former_agent_keys`;
    expect(kept?.count).toBeLessThanOrEqual(32);
    const original = t.dial();
    original.send(await t.proof(await original.next('challenge'), held));
    expect(await original.closed).toBe(closeCodes.quarantined);
    expect(await copy.closed).toBe(closeCodes.quarantined);
    expect(await t.agentState()).toBe('quarantined');
    const audit = await t.sql`select detail from audit_log where action = 'agent.quarantined'`;
    expect(audit).toMatchObject([{ detail: { key: 'former' } }]);
  },
);

test('for a stranger, no former keys are read or tried', async () => {
  await using t = await setupGateway();
  await replaceKeys(t);
  await t.sql.begin(async (tx) => {
    await tx`lock table former_agent_keys in access exclusive mode`;
    const stranger = t.dial();
    const proof = await t.proof(await stranger.next('challenge'));
    const unsigned = Buffer.alloc(64).toString('base64');
    stranger.send({ ...proof, signature: unsigned, generationSignature: unsigned });
    expect(await stranger.closed).toBe(closeCodes.unauthenticated);
  });
  expect(await t.agentState()).toBe('active');
});

test('with the newest generation, the previous key opens and ends nothing, and its use is recorded', async () => {
  await using t = await setupGateway();
  const agent = await t.connectAgent();
  await replaceKeys(t);
  for (const _ of [1, 2]) {
    const before = t.dial();
    before.send(await t.proof(await before.next('challenge')));
    expect(await before.closed).toBe(closeCodes.unauthenticated);
  }
  expect(await t.agentState()).toBe('active');
  expect(t.gateway.connectedAgents()).toBe(1);
  const audit = await t.sql`select detail from audit_log where action = 'agent.old_key_refused'`;
  expect(audit).toMatchObject([{ detail: { address: expect.any(String) } }]);
  await expect
    .poll(async () => (await getAgent(t.sql, t.agent.agentId, unrestricted)).lastClose)
    .toMatchObject({ code: closeCodes.unauthenticated, reason: 'the key was replaced' });
  agent.terminate();
});

test('a newer generation than the database knows is not a copy, and is accepted once a restore was marked', async () => {
  await using t = await setupGateway();
  const backup = await t.generation();
  (await t.connectAgent()).terminate();
  (await t.connectAgent()).terminate();
  const held = await t.generation();
  await t.sql`update agents set generation = ${backup}, generation_acked = true`;
  const early = t.dial();
  early.send(await t.proof(await early.next('challenge'), held));
  expect(await early.closed).toBe(closeCodes.unauthenticated);
  expect(await t.agentState()).toBe('active');
  await inTransaction(t.sql, admitNewerGenerations);
  const agent = await t.connectAgent({}, held);
  expect(await t.generation()).toBe(held + 1);
  const copy = t.dial();
  copy.send(await t.proof(await copy.next('challenge'), held - 1));
  expect(await copy.closed).toBe(closeCodes.quarantined);
  expect(await agent.closed).toBe(closeCodes.quarantined);
});

test('after a restore, a generation that is older than the backup is still a copy', async () => {
  await using t = await setupGateway();
  const old = await t.generation();
  (await t.connectAgent()).terminate();
  await inTransaction(t.sql, admitNewerGenerations);
  const copy = t.dial();
  copy.send(await t.proof(await copy.next('challenge'), old));
  expect(await copy.closed).toBe(closeCodes.quarantined);
});
