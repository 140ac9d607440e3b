import { closeCodes } from '@opsconductor/protocol';
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import pino from 'pino';
import { expect, test } from 'vitest';
import { readGeneration } from '../identity/connect-generation.ts';
import { lease, ManualClock, setup } from '../testing/agent-setup.ts';
import { agentId, segmentId } from '../testing/enrolled-directory.ts';
import { Mailbox } from '../testing/mailbox.ts';

test('an agent proves who it is, and stores the new generation before it resumes', async () => {
  await using t = await setup();
  await t.start();
  const connection = await t.server.nextConnection();
  connection.agentKey = t.directory.signing.publicKey;
  expect(await connection.welcome()).toMatchObject({ agentId, segmentId, generation: 0 });
  const resume = await connection.next('resume');
  expect(resume.generation).toBe(1);
  expect((await readGeneration(t.directory.data.generation)).generation).toBe(1);
  expect(connection.headers.origin).toBeUndefined();
  expect(connection.headers['sec-websocket-extensions']).toBeUndefined();
});

test('a challenge that comes twice is answered once, and one that comes again and again ends the connection', async () => {
  await using t = await setup();
  await t.start();
  const connection = await t.server.nextConnection();
  await connection.welcome({ challenges: 2 });
  await connection.next('resume');
  expect(connection.order).toEqual(['authenticate', 'resume']);
  connection.cut();
  const another = await t.server.nextConnection();
  await another.welcome({ challenges: 3 });
  expect(await another.closed).toMatchObject({ code: closeCodes.invalidMessage });
});

test('the newest generation is presented at the next connect', async () => {
  await using t = await setup();
  await t.start();
  (await t.server.nextSession()).connection.cut();
  const connection = await t.server.nextConnection();
  expect((await connection.welcome()).generation).toBe(1);
});

test.each(['transcriptKey', 'generationKey'] as const)(
  'a server with another %s gets nothing after authenticate, and is tried again only after minutes',
  async (signer) => {
    await using t = await setup();
    await t.start();
    const connection = await t.server.nextConnection();
    await connection.welcome({ [signer]: await generateSigningKeyPair() });
    expect(await connection.closed).toMatchObject({ code: closeCodes.unauthenticated });
    expect(connection.order).toEqual(['authenticate']);
    await t.server.nextConnection();
    expect(t.waits.at(-1)).toBeGreaterThanOrEqual(120_000);
    expect((await readGeneration(t.directory.data.generation)).generation).toBe(0);
  },
);

test('a server of another installation gets no signature', async () => {
  await using t = await setup();
  await t.start();
  const connection = await t.server.nextConnection();
  const serverNonce = Buffer.alloc(32).toString('base64');
  connection.send({ type: 'challenge', serverNonce, installationId: 'other', serverId: 's', versions: [1] });
  expect((await connection.closed).reason).toContain('installation other');
  expect(connection.order).toEqual([]);
});

test('an agent that shares no version with the server proves who it is, then waits for minutes', async () => {
  await using t = await setup();
  await t.start();
  const connection = await t.server.nextConnection();
  const serverNonce = Buffer.alloc(32).toString('base64');
  const installationId = 'installation-1';
  connection.send({ type: 'challenge', serverNonce, installationId, serverId: 's', versions: [9] });
  expect(await connection.next('authenticate')).toMatchObject({ versions: [1], chosenVersion: 0 });
  connection.close(closeCodes.noCommonVersion, 'the server speaks 9, the agent 1');
  await t.server.nextConnection();
  expect(t.waits.at(-1)).toBeGreaterThanOrEqual(120_000);
  expect(connection.order).toEqual(['authenticate']);
});

test.each([
  ['not JSON', 'hello'],
  ['an unknown type', '{"type":"dance"}'],
  ['a message that its schema refuses', '{"type":"cancel","step":"one","epoch":1}'],
])('%s closes the connection as invalid', async (_, text) => {
  await using t = await setup();
  await t.start();
  const { connection } = await t.server.nextSession();
  connection.sendText(text);
  expect((await connection.closed).code).toBe(closeCodes.invalidMessage);
});

test('unknown optional fields are ignored', async () => {
  await using t = await setup();
  await t.start();
  const { connection } = await t.server.nextSession();
  connection.sendText(
    JSON.stringify({ type: 'leases', leases: [{ ...lease(1), hue: 'green' }], later: true }),
  );
  expect((await t.nextStep()).config).toEqual({});
});

test('a quarantined agent stops permanently', async () => {
  await using t = await setup();
  const agent = await t.start();
  (await t.server.nextConnection()).close(closeCodes.quarantined, 'a copy');
  expect(await agent.ended).toBe('quarantined');
  expect(t.waits).toEqual([]);
});

test('a server that restarts is tried again within a second', async () => {
  await using t = await setup();
  await t.start();
  (await t.server.nextSession()).connection.close(closeCodes.serverRestart);
  await t.server.nextSession();
  expect(t.waits).toHaveLength(1);
  expect(t.waits[0]).toBeLessThanOrEqual(1_000);
});

test('a server with many agents that restarts is tried again within the time that it gave', async () => {
  await using t = await setup();
  await t.start({ random: () => 1 });
  const { connection } = await t.server.nextSession();
  await connection.next('heartbeat');
  connection.send({ type: 'heartbeat_ack', sequence: 1, reconnectWithinMs: 20_000 });
  connection.close(closeCodes.serverRestart);
  await t.server.nextSession();
  expect(t.waits).toEqual([20_000]);
});

test('a refused identity is tried again after minutes', async () => {
  await using t = await setup();
  await t.start();
  (await t.server.nextConnection()).close(closeCodes.unauthenticated);
  await t.server.nextConnection();
  expect(t.waits[0]).toBeGreaterThanOrEqual(120_000);
});

test('waits grow while nothing works, and start over after a session', async () => {
  await using t = await setup();
  await t.start({ random: () => 1 });
  for (let i = 0; i < 4; i++) (await t.server.nextConnection()).cut();
  (await t.server.nextSession()).connection.cut();
  await t.server.nextConnection();
  expect(t.waits).toEqual([200, 400, 800, 1_600, 200]);
});

test('a connection on which no heartbeat is acknowledged is given up after the lease TTL', async () => {
  await using t = await setup();
  const clock = new ManualClock();
  await t.start({ clock });
  const { connection } = await t.server.nextSession({ heartbeatIntervalMs: 100, leaseTtlMs: 20_000 });
  connection.acknowledgesHeartbeats = false;
  await connection.next('heartbeat');
  clock.monotonic += 20_000;
  expect((await connection.closed).code).toBe(1006);
  await t.server.nextConnection();
});

test('a second agent on the same data directory is refused', async () => {
  await using t = await setup();
  await t.start();
  await expect(t.start()).rejects.toThrow('uses this data directory');
});

test.each<[string, number | undefined, string | undefined]>([
  ['has the same time', 0, undefined],
  ['tells no time, as those of earlier versions', undefined, undefined],
  ['is two hours ahead', 7_200_000, 'the clock of this machine is 7200 s behind that of the server;'],
  ['is two hours behind', -7_200_000, 'the clock of this machine is 7200 s ahead of that of the server;'],
])(
  'the log says whose clock differs when an agent connects to a server that %s',
  async (_, aheadMs, said) => {
    await using t = await setup();
    t.server.clockAheadMs = aheadMs;
    const lines = new Mailbox<{ level: number; msg: string }>();
    await t.start({ log: pino({}, { write: (line: string) => lines.put(JSON.parse(line)) }) });
    const { connection } = await t.server.nextSession();
    await lines.take(({ msg }) => msg === 'connected');
    connection.cut();
    const { msg } = await lines.take(({ level }) => level === 40);
    // Seconds are whole in the header, and some pass before it is read.
    if (said === undefined) expect(msg).toMatch(/^not connected/);
    else expect(msg.replace(/720[0-9]|719[0-9]/, '7200')).toMatch(said);
  },
);
