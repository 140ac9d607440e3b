// An authenticated agent sends slightly wrong frames of each type, generated from a seed. Its connection may be closed,
// but the server keeps running, serves its next connection, and logs no error of its own. `npm run fuzz -- --mutations
// 500` tries more of them.
import { type AgentMessage, agentToServer, encodeFrame, type Lease, limits } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type AgentSocket,
  emptyResume,
  setupGateway,
  type TestGateway,
} from '../../server/src/gateway/testing.ts';
import { chunkOf } from '../../server/src/runs/output/output-testing.ts';
import type { ClaimedStep } from '../../server/src/store/queue/claims/claims.ts';
import { Prng } from '../faults/prng.ts';
import { mutated, type Schema, sampleOf } from './mutate.ts';
import { fuzzSettings } from './settings.ts';

const { seed, mutations } = fuzzSettings(process.env);

let t: TestGateway;
let sequence = 0;
beforeAll(async () => {
  t = await setupGateway();
});
afterAll(() => t?.[Symbol.asyncDispose]());

/** A connection of the agent, and a step leased to it. Undoes what an earlier connection did to the agent. */
async function connected(): Promise<{ socket: AgentSocket; lease: Lease | undefined }> {
  await t.sql`update agents set state = 'active', generation_acked = true, drain_requested_at = null`;
  // A command reported as surviving its agent keeps its slot until it is taken over or given up.
  const socket = await t.connectAgent({ slots: limits.maxSlots });
  const [left] = await t.sql`select from job_run_steps where status = 'ready' limit 1`;
  if (left === undefined) await t.start();
  const lease = await Promise.race([
    socket.next('leases').then(({ leases }) => leases[0]),
    socket.closed.then(() => undefined),
  ]);
  return { socket, lease };
}

/** Whether the connection is still open once everything sent has been handled. */
async function holds(socket: AgentSocket, lease: Lease | undefined): Promise<boolean> {
  sequence += 1;
  const mine = sequence;
  const held: [number, number][] = lease === undefined ? [] : [[lease.step, lease.epoch]];
  socket.send({ type: 'heartbeat', sequence: mine, held } as AgentMessage);
  const acknowledged = async () => {
    while ((await socket.next('heartbeat_ack')).sequence !== mine);
    return true;
  };
  return Promise.race([acknowledged().catch(() => false), socket.closed.then(() => false)]);
}

/** A valid message of the type, as far as its schema can tell. */
function goodMessage(type: string, schema: Schema, lease: Lease | undefined, random: Prng): object {
  const { step, epoch, leaseToken } = lease ?? { step: 1, epoch: 1, leaseToken: 'x'.repeat(16) };
  const known: Record<string, unknown> = { step, epoch, leaseToken, targetId: lease?.target.id ?? 1 };
  const sample = sampleOf(schema, random) as Record<string, unknown>;
  const named = Object.keys(sample).filter((name) => Object.hasOwn(known, name));
  return { ...sample, ...Object.fromEntries(named.map((name) => [name, known[name]])), type };
}

const types = Object.entries(agentToServer).filter(([type]) => type !== 'authenticate' && type !== 'resume');

test(`${mutations} slightly wrong frames of each type do not stop the server (seed ${seed})`, async () => {
  let { socket, lease } = await connected();
  let closed = 0;
  const again = async (isOpen: boolean) => {
    if (isOpen) return;
    closed += 1;
    ({ socket, lease } = await connected());
  };
  for (const [type, schema] of types) {
    const random = new Prng(seed, type);
    for (let n = 0; n < mutations; n++) {
      const message = mutated(goodMessage(type, schema as Schema, lease, random), schema as Schema, random);
      // With a different type it would be a mutation of that type.
      socket.sendText(JSON.stringify(random.chance(0.9) ? { ...Object(message), type } : message) ?? 'null');
      await again(await holds(socket, lease));
    }
  }
  const random = new Prng(seed, 'output');
  for (let n = 0; n < mutations; n++) {
    const { step = 1, epoch = 1 } = lease ?? {};
    const bytes = Buffer.from(encodeFrame(chunkOf({ id: step, epoch } as ClaimedStep, 1, 'one\n')));
    for (let edits = random.between(1, 4); edits > 0; edits--)
      bytes[random.between(0, bytes.length - 1)] = random.between(0, 255);
    socket.sendBytes(random.chance(0.2) ? bytes.subarray(0, random.between(0, bytes.length)) : bytes);
    await again(await holds(socket, lease));
  }
  expect(await holds(socket, lease)).toBe(true);
  expect(closed).toBeGreaterThan(0);
  expect(errorsLogged()).toEqual([]);
}, 3_600_000);

test('a slightly wrong handshake is refused, and the next one is served', async () => {
  const random = new Prng(seed, 'handshake');
  for (let n = 0; n < mutations; n++) {
    const first = t.dial();
    const proof = await t.proof(await first.next('challenge'));
    first.sendText(JSON.stringify(mutated(proof, agentToServer.authenticate as Schema, random)) ?? 'null');
    first.terminate();
    await t.sql`update agents set state = 'active', generation_acked = true`;
    const second = t.dial();
    second.send(await t.proof(await second.next('challenge')));
    const { generation } = await second.next('welcome');
    const resume = { ...emptyResume, generation };
    second.sendText(JSON.stringify(mutated(resume, agentToServer.resume as Schema, random)) ?? 'null');
    await Promise.race([second.closed, second.next('resumed').catch(() => undefined)]);
    second.terminate();
  }
  const { socket, lease } = await connected();
  expect(await holds(socket, lease)).toBe(true);
  expect(errorsLogged()).toEqual([]);
}, 3_600_000);

/** Each kind of error once. */
function errorsLogged(): string[] {
  const lines = t.logged.filter((line) => /"level":(50|60|"(error|fatal)")/.test(line));
  const told = lines.map((line) => {
    const { msg, err } = JSON.parse(line) as { msg: string; err?: { message?: string; stack?: string } };
    return `${msg}: ${err?.stack?.slice(0, 600) ?? err?.message}`;
  });
  return [...new Set(told)].slice(0, 20);
}
