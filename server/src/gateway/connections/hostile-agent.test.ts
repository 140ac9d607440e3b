// An agent that has proven itself and then says what it likes: within its schema, and at the limits of what that
// allows.
import { randomBytes } from 'node:crypto';
import { type AgentMessage, closeCodes, type Lease, maxSeq } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { chunkOf } from '../../runs/output/output-testing.ts';
import { makeSegment } from '../../segments/testing.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { createTarget } from '../../targets/edit-targets.ts';
import { parseAgentMessage } from '../link/message-codec.ts';
import { chainOf, setupGateway } from '../testing.ts';

const hostKey = `ssh-ed25519 ${Buffer.concat([
  Buffer.from([0, 0, 0, 11]),
  Buffer.from('ssh-ed25519'),
  Buffer.from([0, 0, 0, 32]),
  randomBytes(32),
]).toString('base64')}`;

/** Values to put into a field instead of the right one. */
const hostile: unknown[] = [
  Number.MAX_SAFE_INTEGER,
  2 ** 31,
  1e300,
  5e-324,
  -1,
  'a\u0000b',
  '\ud800',
  '\u001b[2J\u202e',
  [[1, maxSeq]],
  {},
];

/** Returns a message of each type, as an honest agent would send it. */
function honest(lease: Lease): AgentMessage[] {
  const attempt = { step: lease.step, epoch: lease.epoch, leaseToken: lease.leaseToken };
  const { step, epoch } = attempt;
  const survivors = [{ pid: 1, command: 'sleep' }];
  return [
    {
      type: 'heartbeat',
      sequence: 1,
      held: [[step, epoch]],
      rssBytes: 1,
      loadAverage: 1,
      spoolBytes: 1,
      busy: 'load',
      auditSize: 1,
    },
    { type: 'started', ...attempt },
    { type: 'return', attempts: [attempt], reason: 'lease_expired' },
    { type: 'return', attempts: [attempt], reason: 'no_key' },
    {
      type: 'target_tested',
      requestId: 'x',
      ok: false,
      reason: 'x',
      message: 'x',
      latencyMs: 1,
      serverVersion: 'x',
    },
    { type: 'host_key_seen', targetId: lease.target.id, hostKey },
    { type: 'segment_ready', rosterNumber: 1, generations: [1] },
    { type: 'cleaned_up', requestId: 'x', results: [{ step, epoch, found: 'survivors', survivors }] },
    { type: 'hosts_scanned', scanId: 1, hosts: [{ targetId: lease.target.id, ok: true, keys: [hostKey] }] },
    {
      type: 'complete',
      requestId: 'request',
      ...attempt,
      outcome: {
        status: 'failed',
        reason: 'exit_code',
        exitCode: 1,
        signal: 'KILL',
        message: 'x',
        advice: 'x',
        survivors,
        executionTimeMs: 1,
        ssh: { sessionId: 'x', establishedAt: '2026-01-01T00:00:00.000Z', reused: false, cipher: 'x' },
      },
      output: { lastSeq: 0, rawBytes: 0, digest: chainOf([]), truncated: false, gaps: [] },
      handsOn: { out: { value: 'x' } },
      wantsNext: false,
    },
  ];
}

/** Yields the message with each of its fields in turn, at any depth, replaced by each hostile value. */
function* mutations(message: AgentMessage): Generator<string> {
  for (const path of pathsOf(message)) {
    for (const value of hostile) {
      const copy = structuredClone(message) as unknown;
      const owner = path.slice(0, -1).reduce((at, key) => (at as Record<string, unknown>)[key], copy);
      (owner as Record<string, unknown>)[path.at(-1) ?? ''] = value;
      yield JSON.stringify(copy);
    }
  }
}

function pathsOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return path.length === 0 ? [] : [path];
  const inner = Object.entries(value).flatMap(([key, each]) => pathsOf(each, [...path, key]));
  return path.length === 0 ? inner : [path, ...inner];
}

/** Connects an agent with a lease. */
async function setup(options: { steps?: number } = {}) {
  const t = await setupGateway();
  const agent = await t.connectAgent();
  await t.start(options);
  const [lease] = (await agent.next('leases')).leases;
  if (lease === undefined) throw new Error('no lease');
  const listed = { type: 'heartbeat', sequence: 4711, held: [[lease.step, lease.epoch]] } as AgentMessage;
  return Object.assign(t, { hostile: agent, lease, listed });
}

test('everything that its schema lets an agent say is handled, and is no error of the server', async () => {
  await using t = await setup({ steps: 2 });
  const { step, epoch } = t.lease;
  const texts = honest(t.lease)
    .flatMap((message) => [...mutations(message)])
    .filter((text) => parseAgentMessage(text).ok)
    // An agent that doesn't list its lease has to reconnect, which is tested elsewhere.
    .filter((text) => !text.includes('"heartbeat"') || text.includes(`"held":[[${step},${epoch}]]`));
  expect(texts.length).toBeGreaterThan(100);
  for (const text of texts) t.hostile.sendText(text);
  t.hostile.send(t.listed);
  while ((await t.hostile.next('heartbeat_ack')).sequence !== 4711);
  // Messages that are handled in order come after the others: none of them has failed by now.
  t.hostile.send({ type: 'agent_drain' });
  await expect
    .poll(
      async () => (await t.sql`select draining from agent_sessions where agent_id = ${t.agent.agentId}`)[0],
      { timeout: 20_000 },
    )
    .toEqual({ draining: true });
  expect(t.logged.filter((line) => /"level":(40|50|"(warn|error)")/.test(line))).toEqual([]);
});

test.each<[string, object]>([
  ['rssBytes', { rssBytes: 1e300 }],
  ['spoolBytes', { spoolBytes: 2 ** 63 }],
  ['sequence', { sequence: 1e300 }],
])('a heartbeat whose %s nobody can count is refused before it joins those of others', (field, change) => {
  const parsed = parseAgentMessage(JSON.stringify({ type: 'heartbeat', sequence: 1, held: [], ...change }));
  expect(parsed).toMatchObject({ ok: false, problem: expect.stringContaining(field) });
});

test('gaps as long as numbers go cost the server nothing', async () => {
  await using t = await setup();
  const { step, epoch, leaseToken } = t.lease;
  const frame = chunkOf({ id: step, epoch } as ClaimedStep, 1, 'one\n');
  t.hostile.sendFrame(frame);
  t.hostile.send({
    type: 'complete',
    requestId: 'request',
    step,
    epoch,
    leaseToken,
    outcome: { status: 'succeeded', exitCode: 0 },
    output: { lastSeq: maxSeq, rawBytes: 4, digest: chainOf([frame]), truncated: false, gaps: [[2, maxSeq]] },
    wantsNext: false,
  });
  expect(await t.hostile.next('completed')).toMatchObject({ result: 'settled' });
});

test('an agent reports host keys only of its own segment', async () => {
  await using t = await setup();
  const { id: segmentId } = await makeSegment(t, 'elsewhere');
  const other = await createTarget(t.sql, { segmentId, name: 'other', host: '10.0.0.9' }, t.caller);
  t.hostile.send({ type: 'host_key_seen', targetId: other.id, hostKey });
  t.hostile.send({ type: 'host_key_seen', targetId: t.lease.target.id, hostKey });
  await expect
    .poll(() => t.sql`select target_id from target_host_keys where state = 'pending'`)
    .toEqual([{ targetId: t.lease.target.id }]);
});

test('an invalid wrapped key is the fault of its sender', async () => {
  await using t = await setup();
  t.hostile.send({ type: 'wrapped_key', agentId: t.agent.agentId, generation: 9, wrapped: 'no base64!' });
  expect(await t.hostile.closed).toBe(closeCodes.invalidMessage);
  expect(t.logged.filter((line) => /"level":(50|"error")/.test(line))).toEqual([]);
});

test('an agent that breaks the protocol and goes on is told so, and what it then sends is no longer parsed', async () => {
  await using t = await setup();
  const spaces = ' '.repeat(4_000_000);
  for (let n = 0; n < 64; n += 1) t.hostile.sendText(spaces);
  expect(await t.hostile.closed).toBe(closeCodes.invalidMessage);
  expect(t.logged.filter((line) => line.includes('agent sent an invalid message'))).toHaveLength(1);
});

test('a message that would take seconds to parse is refused before it is parsed', async () => {
  await using t = await setup();
  t.hostile.sendText(
    `{"type":"heartbeat","sequence":1,"held":[],"x":${'['.repeat(2_000_000)}${']'.repeat(2_000_000)}}`,
  );
  expect(await t.hostile.closed).toBe(closeCodes.invalidMessage);
  expect(t.logged.join('')).toContain('more values than a message has');
});

test('a message in too many pieces is not waited for to its end', async () => {
  await using t = await setup();
  for (let n = 0; n < 17; n += 1) t.hostile.sendFragment('{');
  expect(await t.hostile.closed).toBe(1008);
});
