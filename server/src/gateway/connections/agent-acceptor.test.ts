import { once } from 'node:events';
import { connect } from 'node:net';
import { closeCodes, subprotocol } from '@opsconductor/protocol';
import { generateSigningKeyPair, signHandshake } from '@opsconductor/protocol/sealing';
import { expect, test, vi } from 'vitest';
import { blockedBackends, holdTransaction, testServerId } from '../../runs/testing.ts';
import { getAgent } from '../../segments/agents/list-agents.ts';
import { lockAgent } from '../../store/agents/agent-sessions.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { type AgentSocket, emptyResume, setupGateway, type TestGateway } from '../testing.ts';
import { connectPath } from './agent-acceptor.ts';
import { authenticateAll, newChallenge } from './handshake.ts';

/**
 * Asks for an upgrade by hand, and keeps its own side open. `answer` is everything that came until the server's end.
 */
async function upgradeRaw(t: TestGateway, target: string) {
  const stream = connect({ port: Number(new URL(t.url).port), host: '127.0.0.1', allowHalfOpen: true });
  let received = '';
  stream.on('data', (bytes) => {
    received += bytes.toString('latin1');
  });
  stream.on('error', () => undefined);
  const answer = Promise.race([once(stream, 'end'), once(stream, 'close')]).then(() => received);
  await once(stream, 'connect');
  const lines = [
    `GET ${target} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    `Sec-WebSocket-Protocol: ${subprotocol}`,
  ];
  stream.write(`${lines.join('\r\n')}\r\n\r\n`);
  return { stream, answer };
}

test('an agent and its server prove themselves, and the connection raises session and generation', async () => {
  await using t = await setupGateway();
  const first = await t.connectAgent();
  const second = await t.connectAgent();
  expect(second.sessionNumber).toBe(first.sessionNumber + 1);
  expect(await t.generation()).toBe(3);
  expect(t.gateway.connectedAgents()).toBe(1);
});

test.each<[string, () => Parameters<TestGateway['dial']>, number]>([
  ['comes from a browser', () => [{ headers: { origin: 'http://127.0.0.1' } }], 403],
  ['asks for another path', () => [{}, `${connectPath}/x`], 404],
  ['names another host', () => [{ headers: { host: 'evil.example' } }], 421],
  ['does not offer the protocol', () => [{}, connectPath, 'chat'], 400],
])('an upgrade that %s is refused', async (_, options, status) => {
  await using t = await setupGateway();
  expect(await t.dial(...options()).closed).toBe(status);
});

test('an agent that connects learns the time of the server, as from any other answer', async () => {
  await using t = await setupGateway();
  const { stream, answer } = await upgradeRaw(t, connectPath);
  await once(stream, 'data');
  stream.end();
  const date = /^Date: (.*)\r$/m.exec(await answer)?.[1] ?? '';
  expect(Math.abs(Date.parse(date) - Date.now())).toBeLessThan(60_000);
});

test('an address may have a limited number of connections that are not authenticated', async () => {
  await using t = await setupGateway({}, undefined, { maxUnauthenticatedPerAddress: 8 });
  const waiting = Array.from({ length: 8 }, () => t.dial());
  await Promise.all(waiting.map((socket) => socket.next('challenge')));
  expect(await t.dial().closed).toBe(429);
  waiting[0]?.terminate();
  await waiting[0]?.closed;
  // The server hears of the end a moment later.
  await expect
    .poll(() => {
      const socket = t.dial();
      return Promise.race([socket.closed, socket.next('challenge').then(({ type }) => type)]);
    })
    .toBe('challenge');
});

test('connections that wait to be verified are limited by address and by bytes as before', async () => {
  await using t = await setupGateway({}, undefined, { maxUnauthenticatedPerAddress: 2 });
  const release = await holdTransaction(t.sql, (tx) => lockAgent(tx, t.agent.agentId));
  const waiting = [t.dial(), t.dial()];
  for (const socket of waiting) socket.send(await t.proof(await socket.next('challenge')));
  await blockedBackends(t.sql, 1);
  expect(await t.dial().closed).toBe(429);
  waiting[1]?.sendText(`"${'x'.repeat(64 * 1024)}"`);
  expect(await waiting[1]?.closed).toBe(1006);
  await release();
  await waiting[0]?.next('welcome');
  await t.dial().next('challenge');
});

test('a refused connection counts for its address until it is gone, since it has proven nothing', async () => {
  await using t = await setupGateway({}, undefined, { maxUnauthenticatedPerAddress: 1 });
  const refused = t.dial();
  const proof = await t.proof(await refused.next('challenge'));
  refused.send({ ...proof, signature: Buffer.alloc(64).toString('base64') });
  refused.stopReading();
  await vi.waitFor(() => expect(t.logged.join('')).toContain('agent refused'), { timeout: 10_000 });
  expect(await t.dial().closed).toBe(429);
});

test('behind a proxy, the address is the one that the proxy saw, for the limit and for what is recorded', async () => {
  await using t = await setupGateway({}, undefined, {
    maxUnauthenticatedPerAddress: 1,
    behindTlsProxy: true,
  });
  const from = (address: string) => t.dial({ headers: { 'x-forwarded-for': `10.9.9.9, ${address}` } });
  const first = from('192.0.2.1');
  const challenge = await first.next('challenge');
  expect(await from('192.0.2.1').closed).toBe(429);
  await from('192.0.2.2').next('challenge');
  first.send(await t.proof(challenge));
  await first.next('welcome');
  const [row] = await t.sql`select address from agents where id = ${t.agent.agentId}`;
  expect(row).toEqual({ address: '192.0.2.1' });
});

test('a connection on which nothing is said is closed', async () => {
  await using t = await setupGateway();
  const socket = t.dial();
  await socket.next('challenge');
  expect(await socket.closed).toBe(closeCodes.handshakeTimeout);
});

test.each<[string, (t: TestGateway) => string | Uint8Array]>([
  ['no JSON', () => '{'],
  ['another message', () => JSON.stringify({ type: 'agent_drain' })],
  ['a binary frame', () => new Uint8Array(40)],
  ['a message that its schema refuses', () => JSON.stringify({ type: 'authenticate', agentId: 0 })],
])('a connection that opens with %s is closed', async (_, opening) => {
  await using t = await setupGateway();
  const socket = t.dial();
  await socket.next('challenge');
  const said = opening(t);
  if (typeof said === 'string') socket.sendText(said);
  else socket.sendBytes(said);
  expect(await socket.closed).toBe(closeCodes.invalidMessage);
});

test('more bytes than a handshake has break the connection before they are gathered', async () => {
  await using t = await setupGateway();
  const socket = t.dial();
  await socket.next('challenge');
  socket.sendText(`"${'x'.repeat(1024 * 1024)}"`);
  expect(await socket.closed).toBe(1006);
  expect(t.gateway.connectedAgents()).toBe(0);
});

test('an upgrade of any other path is refused, even of one that is not a URL, and the server goes on', async () => {
  await using t = await setupGateway();
  for (const target of ['//', '///', 'http://[', 'http://a:b/', '*', '/%', `${connectPath}%`]) {
    const { answer } = await upgradeRaw(t, target);
    expect(await answer, target).toContain('HTTP/1.1 404 Not Found');
  }
  await t.dial().next('challenge');
});

test('invalid frames before the handshake end their own connection and no other', async () => {
  await using t = await setupGateway();
  const frames = {
    'reserved bits': [0xff, 0x80, 0, 0, 0, 0],
    'a reserved opcode': [0x83, 0x80, 0, 0, 0, 0],
    'no mask': [0x81, 0x01, 0x41],
    'a length that nobody can count': [0x81, 0xff, ...Array.from({ length: 8 }, () => 0xff), 0, 0, 0, 0],
    'no UTF-8': [0x81, 0x81, 0, 0, 0, 0, 0xff],
    'a close code that nobody may send': [0x88, 0x82, 0, 0, 0, 0, 0, 1],
    'a control frame in parts': [0x09, 0x80, 0, 0, 0, 0],
  };
  for (const [name, frame] of Object.entries(frames)) {
    const { stream, answer } = await upgradeRaw(t, connectPath);
    await once(stream, 'data');
    stream.write(Buffer.from(frame));
    expect(await answer, name).toContain('"type":"challenge"');
  }
  await t.dial().next('challenge');
});

test('a peer that keeps its side open after a refusal keeps no socket here', async () => {
  await using t = await setupGateway();
  const { stream, answer } = await upgradeRaw(t, '/elsewhere');
  await answer;
  await expect.poll(() => t.openConnections()).toBe(0);
  stream.destroy();
});

test('an agent that can’t prove its identity is refused, and the real agent’s session goes on', async () => {
  await using t = await setupGateway();
  const live = await t.connectAgent();
  const stranger = await generateSigningKeyPair();
  const socket = t.dial();
  const challenge = await socket.next('challenge');
  const proof = await t.proof(challenge);
  const signature = await signHandshake('agent', stranger.privateKey, Buffer.from('anything'));
  socket.send({ ...proof, signature });
  expect(await socket.closed).toBe(closeCodes.unauthenticated);
  live.send({ type: 'heartbeat', sequence: 1, held: [] });
  await live.next('heartbeat_ack');
});

test('a proof is valid for one challenge', async () => {
  await using t = await setupGateway();
  const first = t.dial();
  const proof = await t.proof(await first.next('challenge'));
  const second = t.dial();
  await second.next('challenge');
  second.send(proof);
  expect(await second.closed).toBe(closeCodes.unauthenticated);
});

test.each<[string, (proof: Awaited<ReturnType<TestGateway['proof']>>) => object, number]>([
  ['another agent', (proof) => ({ ...proof, agentId: 4711 }), closeCodes.unauthenticated],
  ['another segment', (proof) => ({ ...proof, segmentId: 4711 }), closeCodes.unauthenticated],
  [
    'a generation that the server never signed',
    (proof) => ({ ...proof, generation: 7 }),
    closeCodes.unauthenticated,
  ],
  [
    'no version in common',
    (proof) => ({ ...proof, versions: [9], chosenVersion: 9 }),
    closeCodes.noCommonVersion,
  ],
  [
    'an older version than both speak',
    (proof) => ({ ...proof, versions: [1, 0], chosenVersion: 0 }),
    closeCodes.noCommonVersion,
  ],
])('a proof for %s is refused', async (_, change, code) => {
  await using t = await setupGateway();
  const socket = t.dial();
  const proof = await t.proof(await socket.next('challenge'));
  socket.sendText(JSON.stringify(change(proof)));
  expect(await socket.closed).toBe(code);
  expect(await t.agentState()).toBe('active');
});

test('a revoked agent is refused', async () => {
  await using t = await setupGateway();
  await t.sql`update agents set state = 'revoked'`;
  const socket = t.dial();
  socket.send(await t.proof(await socket.next('challenge')));
  expect(await socket.closed).toBe(closeCodes.unauthenticated);
});

test('an agent without a version in common with the server is shown with the reason why it stays away', async () => {
  await using t = await setupGateway();
  const closeOf = async () => (await getAgent(t.sql, t.agent.agentId, unrestricted)).lastClose;
  const forged = t.dial();
  const forgery = await t.proof(await forged.next('challenge'), undefined, [9]);
  forged.send({ ...forgery, versions: [8] });
  expect(await forged.closed).toBe(closeCodes.noCommonVersion);
  expect(await closeOf()).toBeNull();
  const old = t.dial();
  old.send(await t.proof(await old.next('challenge'), undefined, [9]));
  expect(await old.closed).toBe(closeCodes.noCommonVersion);
  const reason = 'the server speaks 1, the agent 9';
  await expect
    .poll(closeOf)
    .toMatchObject({ code: closeCodes.noCommonVersion, reason, address: '127.0.0.1' });
});

test('versions too many to name are refused all the same', async () => {
  await using t = await setupGateway();
  const socket = t.dial();
  const versions = Array.from({ length: 16 }, (_, index) => 9_000_000_000_000 + index);
  socket.send(await t.proof(await socket.next('challenge'), undefined, versions));
  expect(await socket.closed).toBe(closeCodes.noCommonVersion);
});

test('of many that connect together each gets its own answer, and of two connections of one agent the later wins', async () => {
  await using t = await setupGateway();
  const sockets = [t.dial(), t.dial(), t.dial()];
  const proofs = await Promise.all(sockets.map(async (socket) => t.proof(await socket.next('challenge'))));
  const [first, second, forger] = sockets as [AgentSocket, AgentSocket, AgentSocket];
  first.send(proofs[0] as never);
  second.send(proofs[1] as never);
  forger.send({ ...proofs[2], signature: proofs[0]?.signature } as never);
  expect(await forger.closed).toBe(closeCodes.unauthenticated);
  const welcomes = await Promise.all([first.next('welcome'), second.next('welcome')]);
  const [older, newer] =
    welcomes[0].sessionNumber < welcomes[1].sessionNumber ? [first, second] : [second, first];
  expect(await older.closed).toBe(closeCodes.replaced);
  newer.send({ ...emptyResume, generation: 2 });
  await newer.next('resumed');
  expect(await t.generation()).toBe(2);
});

test('an agent that gave up while it waited to be verified, and has connected elsewhere since, is not taken for a copy', async () => {
  await using t = await setupGateway();
  const { agentId, sessionNumber } = t.agent;
  const elsewhere = await holdTransaction(t.sql, async (tx) => {
    await lockAgent(tx, agentId);
    await tx`
      update agents set session_number = session_number + 1, generation = generation + 1, generation_acked = true
      where id = ${agentId}`;
  });
  const given = t.dial();
  given.send(await t.proof(await given.next('challenge')));
  await blockedBackends(t.sql, 1);
  given.terminate();
  await expect.poll(() => t.openConnections()).toBe(0);
  await elsewhere();
  await vi.waitFor(() => expect(t.logged.join('')).toContain('agent refused'), { timeout: 10_000 });
  expect(await t.agentState()).toBe('active');
  const [row] = await t.sql`select session_number from agents where id = ${agentId}`;
  expect(row).toEqual({ sessionNumber: sessionNumber + 1 });
});

const isOpen = () => true;

function serverOf(t: TestGateway) {
  const { installationId, serverKey } = t.identity;
  const identity = {
    ...{ installationId, serverId: testServerId },
    ...{ serverKey: serverKey.publicKey, serverPrivateKey: serverKey.privateKey },
  };
  const settings = { heartbeatIntervalMs: 200, leaseTtlMs: 20_000 };
  return { identity, settings };
}

test('only an agent whose row is locked is waited for: the others of its batch get their welcome meanwhile', async () => {
  await using t = await setupGateway();
  const other = await t.addAgent('agent-b');
  const { identity, settings } = serverOf(t);
  const challenge = newChallenge(identity);
  const message = await t.proof(challenge);
  const openings = [message, { ...message, agentId: other.agentId }].map((said) => ({
    ...{ challenge, message: said, address: '', isOpen },
  }));
  const release = await holdTransaction(t.sql, (tx) => lockAgent(tx, other.agentId));
  const both = authenticateAll({ sql: t.sql, identity, settings }, openings);
  await blockedBackends(t.sql, 1);
  const [row] = await t.sql`select session_number from agents where id = ${t.agent.agentId}`;
  expect(row).toEqual({ sessionNumber: t.agent.sessionNumber + 1 });
  await release();
  expect((await both).map(({ ok }) => ok)).toEqual([true, false]);
});

test('a copy that connects together with its agent leaves neither of them a session', async () => {
  await using t = await setupGateway();
  const { identity, settings } = serverOf(t);
  await t.connectAgent();
  const challenge = newChallenge(identity);
  const proofs = [await t.proof(challenge, 2), await t.proof(challenge, 1)];
  const openings = proofs.map((message) => ({ challenge, message, address: '', isOpen }));
  const [row] = await t.sql`select session_number from agents where id = ${t.agent.agentId}`;
  const results = await authenticateAll({ sql: t.sql, identity, settings }, openings);
  expect(results).toMatchObject([
    { ok: false, refusal: 'quarantined' },
    { ok: false, refusal: 'quarantined' },
  ]);
  const [now] = await t.sql`select session_number, state from agents where id = ${t.agent.agentId}`;
  expect(now).toEqual({ sessionNumber: row?.sessionNumber + 1, state: 'quarantined' });
});

test('agents that don’t exist keep nobody waiting', async () => {
  await using t = await setupGateway();
  const { identity, settings } = serverOf(t);
  const challenge = newChallenge(identity);
  const message = await t.proof(challenge);
  const openings = [4711, 4712, t.agent.agentId].map((agentId) => ({
    ...{ challenge, message: { ...message, agentId }, address: '', isOpen },
  }));
  const begun = vi.spyOn(t.sql, 'begin');
  const results = await authenticateAll({ sql: t.sql, identity, settings }, openings);
  expect(results.map(({ ok }) => ok)).toEqual([false, false, true]);
  expect(begun).toHaveBeenCalledTimes(1);
  begun.mockRestore();
});
