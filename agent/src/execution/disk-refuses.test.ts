// The data directory can't be written while the agent runs. The tests move it away, which has the same effect as taking
// away permissions and works for root, too.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lease } from '@opsconductor/protocol';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import type { AgentOptions } from '../agent.ts';
import { Journal } from '../journal/journal.ts';
import { SpoolFile } from '../spool/spool-file.ts';
import { type AgentSetup, lease, rendering, setup, success } from '../testing/agent-setup.ts';
import type { FakeConnection } from '../testing/fake-server.ts';

/** Moves the folder away and returns a function that puts it back. */
async function take(folder: string): Promise<() => Promise<void>> {
  await rename(folder, `${folder}.away`);
  return () => rename(`${folder}.away`, folder);
}

async function connected(
  t: AgentSetup,
  options: Parameters<AgentSetup['start']>[0] = {},
): Promise<FakeConnection> {
  await t.start(options);
  return (await t.server.nextSession({ heartbeatIntervalMs: 100 })).connection;
}

/** Waits until heartbeats say `busy` and returns how many that took, counting the first one. */
async function busyIs(connection: FakeConnection, busy: string | undefined): Promise<number> {
  for (;;) {
    const heartbeat = await connection.next('heartbeat');
    if (heartbeat.busy === busy) return heartbeat.sequence;
  }
}

test('a step whose output the disk refuses reports its real end and the loss, and nothing new is taken until there is room for output', async () => {
  await using t = await setup();
  const connection = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  const giveBack = await take(t.directory.data.spool);
  step.context.output.write('stdout', Buffer.from('lost\n'));
  await busyIs(connection, 'disk');
  connection.send({ type: 'leases', leases: [lease(2)] });
  expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 2 }] });
  step.end(success);
  expect(await connection.next('complete')).toMatchObject({
    step: 1,
    outcome: { ...success, message: expect.stringMatching(/could not keep all of the output.*ENOENT/) },
    output: { truncated: true },
    wantsNext: false,
  });
  await giveBack();
  await busyIs(connection, undefined);
  connection.send({ type: 'leases', leases: [lease(3)] });
  const next = await t.nextStep();
  await next.context.beforeStart();
  next.context.output.write('stdout', Buffer.from('kept\n'));
  next.end(success);
  expect(await connection.next('complete')).toMatchObject({ step: 3, outcome: success });
});

test('an agent whose disk is nearly full takes nothing new until there is room, and what it runs goes on', async () => {
  await using t = await setup();
  let free = 100;
  const connection = await connected(t, { minFreeBytes: 50, measureFree: async () => free });
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  free = 49;
  await busyIs(connection, 'disk');
  connection.send({ type: 'leases', leases: [lease(2)] });
  expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 2 }] });
  step.context.output.write('stdout', Buffer.from('kept\n'));
  step.end(success);
  expect(await connection.next('complete')).toMatchObject({
    step: 1,
    outcome: success,
    output: { truncated: false },
    wantsNext: false,
  });
  free = 50;
  await busyIs(connection, undefined);
  connection.send({ type: 'leases', leases: [lease(3)] });
  (await t.nextStep()).end(success);
  expect(await connection.next('complete')).toMatchObject({ step: 3, outcome: success });
});

/** A disk that has no room while there is more than this in the agent's spool. */
function smallDisk(t: AgentSetup, bytes: number): Partial<AgentOptions> {
  const { spool } = t.directory.data;
  const sizeOf = async (name: string) => (await stat(join(spool, name))).size;
  const measureFree = async () => {
    const sizes = await Promise.all((await readdir(spool)).map(sizeOf));
    return sizes.reduce((a, b) => a + b, 0) > bytes ? 0 : 100;
  };
  return { minFreeBytes: 50, measureFree };
}

/** Step 1 has printed what no compression makes smaller, and the server has confirmed it. */
async function printedMuch(t: AgentSetup, more: Partial<Lease> = {}) {
  const connection = await connected(t, smallDisk(t, 100_000));
  connection.send({ type: 'leases', leases: [lease(1, more)] });
  const step = await t.nextStep();
  await step.context.beforeStart();
  step.context.output.write('stdout', randomBytes(200_000));
  const { seq } = await connection.nextFrame();
  connection.send({ type: 'output_ack', acks: [{ step: 1, epoch: 1, seq }] });
  return { connection, step };
}

/** The same, and it is gone from the disk. */
async function gaveWay(t: AgentSetup) {
  const printed = await printedMuch(t);
  await vi.waitFor(async () => expect(await readdir(t.directory.data.spool)).toContain('1-1.2'));
  return printed;
}

test('on a disk that is nearly full, output that the server has confirmed gives way to new steps', async () => {
  await using t = await setup();
  const { connection, step } = await gaveWay(t);
  connection.send({ type: 'leases', leases: [lease(2)] });
  await t.nextStep();
  step.context.output.write('stdout', Buffer.from('the end'));
  step.end(success);
  expect(await connection.next('complete')).toMatchObject({
    step: 1,
    outcome: success,
    output: { lastSeq: 2, rawBytes: 200_007, truncated: false, gaps: [] },
  });
});

test('if the server then lacks it, as after a restore from a backup, the step ends with a gap that is told', async () => {
  await using t = await setup();
  const { connection, step } = await gaveWay(t);
  step.context.output.write('stdout', Buffer.from('the end'));
  await connection.nextFrame();
  connection.cut();
  const { connection: restored } = await t.server.nextSession();
  step.end(success);
  const told = {
    outcome: { ...success, message: expect.stringContaining('no longer has output that it had confirmed') },
    output: { lastSeq: 2, truncated: true, gaps: [[1, 2]] },
  };
  expect(await restored.next('complete')).toMatchObject(told);
  restored.cut();
  const { connection: again } = await t.server.nextSession();
  expect(await again.next('complete')).toMatchObject(told);
  expect([...restored.order, ...again.order]).not.toContain('chunk');
});

test('a step that has ended says so, too, if its end has not been confirmed', async () => {
  await using t = await setup();
  const { connection, step } = await gaveWay(t);
  step.end(success);
  expect(await connection.next('complete')).toMatchObject({ outcome: success, output: { gaps: [] } });
  connection.cut();
  const { connection: restored } = await t.server.nextSession();
  expect(await restored.next('complete')).toMatchObject({
    outcome: { ...success, message: expect.stringContaining('no longer has output that it had confirmed') },
    output: { lastSeq: 1, gaps: [[1, 1]] },
  });
});

/** Step 1 has printed what the server has not confirmed, and the output of step 2 does not fit on the disk beside it. */
async function waitingForRoom(t: AgentSetup) {
  const connection = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1), lease(2)] });
  const [first, second] = [await t.nextStep(), await t.nextStep()];
  await first.context.beforeStart();
  await second.context.beforeStart();
  first.context.output.write('stdout', Buffer.from('not confirmed'));
  await connection.nextFrame();
  using append = vi.spyOn(SpoolFile.prototype, 'append');
  append.mockRejectedValueOnce(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  second.context.output.write('stdout', Buffer.from('waits'));
  await vi.waitFor(() => expect(append).toHaveBeenCalledTimes(1));
  return { connection, first, second };
}

test('a command that waits for room on a full disk goes on when the server has confirmed output', async () => {
  await using t = await setup();
  const { connection } = await waitingForRoom(t);
  connection.send({ type: 'output_ack', acks: [{ step: 1, epoch: 1, seq: 1 }] });
  expect(await connection.nextFrame()).toMatchObject({ seq: 1, rawLength: 5 });
});

test('a command that waits for room on a full disk goes on when another attempt is settled', async () => {
  await using t = await setup();
  const { connection, first } = await waitingForRoom(t);
  first.end(success);
  const { requestId } = await connection.next('complete');
  connection.send({ type: 'completed', requestId, step: 1, epoch: 1, result: 'settled' });
  expect(await connection.nextFrame()).toMatchObject({ seq: 1, rawLength: 5 });
});

test('a command that waits for room on a full disk waits no longer than the connection lasts', async () => {
  await using t = await setup();
  const { connection, second } = await waitingForRoom(t);
  using append = vi.spyOn(SpoolFile.prototype, 'append');
  append.mockRejectedValue(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  connection.cut();
  await vi.waitFor(() => expect(append).toHaveBeenCalledTimes(1));
  const { connection: next } = await t.server.nextSession();
  second.end(success);
  expect(await next.next('complete')).toMatchObject({
    step: 2,
    outcome: { ...success, message: expect.stringMatching(/could not keep all of the output.*ENOSPC/) },
    output: { truncated: true },
  });
});

test('what a step’s outputs are still to be read from does not give way', async () => {
  await using t = await setup();
  const outputs = { result: { pattern: 'result=(.*)' } };
  const { connection, step } = await printedMuch(t, { rendering: rendering({ outputs }) });
  await busyIs(connection, 'disk');
  expect(await readdir(t.directory.data.spool)).toEqual(['1-1']);
  step.end(success);
  expect(await connection.next('complete')).toMatchObject({ step: 1, output: { truncated: false } });
});

test('an agent that starts on a disk that is nearly full takes nothing', async () => {
  await using t = await setup();
  const connection = await connected(t, { measureFree: async () => 64 * 1024 * 1024 - 1 });
  expect(await connection.next('heartbeat')).toMatchObject({ sequence: 1, busy: 'disk' });
});

test('a step whose start could not be recorded is handed back after the server has heard why, and is taken once it can be recorded', async () => {
  await using t = await setup();
  using open = vi.spyOn(Journal, 'open');
  const connection = await connected(t);
  connection.send({ type: 'leases', leases: [lease(1)] });
  const step = await t.nextStep();
  // The journal's file is gone and can't be created again.
  await (await open.mock.results[0]?.value)?.close();
  const giveBack = await take(t.directory.data.root);
  await step.context.beforeStart().catch((error: unknown) => step.fail(error));
  expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 1 }], reason: 'draining' });
  const heardAt = await busyIs(connection, 'disk');
  const before = connection.order.slice(0, connection.order.indexOf('return'));
  expect(before.filter((type) => type === 'heartbeat').length).toBeGreaterThanOrEqual(heardAt);
  expect(connection.order).not.toContain('complete');
  await giveBack();
  await busyIs(connection, undefined);
  connection.send({
    type: 'leases',
    leases: [lease(1, { epoch: 2, leaseToken: 'another-token-of-step-1' })],
  });
  const next = await t.nextStep();
  await next.context.beforeStart();
  next.end(success);
  expect(await connection.next('complete')).toMatchObject({ step: 1, epoch: 2, outcome: success });
});

/** Step 1 runs, and steps 2 and 3 were leased to follow it. */
async function inARow(t: AgentSetup) {
  const connection = await connected(t, { stepsAheadMs: 60_000 });
  const ahead = (step: number) => lease(step, { after: { step: step - 1, epoch: 1 } });
  connection.send({ type: 'leases', leases: [lease(1), ahead(2), ahead(3)] });
  const first = await t.nextStep();
  await first.context.beforeStart();
  return { connection, first };
}

async function returned(connection: FakeConnection, count: number): Promise<number[]> {
  const steps: number[] = [];
  while (steps.length < count)
    steps.push(...(await connection.next('return')).attempts.map(({ step }) => step));
  return steps.sort();
}

test('if the journal is refused in the middle of a row, the step that has ended is told, and what follows it goes back unbegun', async () => {
  await using t = await setup();
  using open = vi.spyOn(Journal, 'open');
  const { connection, first } = await inARow(t);
  await (await open.mock.results[0]?.value)?.close();
  const giveBack = await take(t.directory.data.root);
  first.end(success);
  const second = await Promise.race([t.nextStep(), connection.next('return').then(() => undefined)]);
  await second?.context.beforeStart().catch((error: unknown) => second.fail(error));
  expect(await connection.next('complete')).toMatchObject({ step: 1, outcome: success, wantsNext: false });
  await busyIs(connection, 'disk');
  await giveBack();
  await busyIs(connection, undefined);
  connection.send({ type: 'leases', leases: [lease(9, { config: { name: 'another' } })] });
  expect((await t.nextStep()).config).toEqual({ name: 'another' });
});

test('if output is refused in the middle of a row, what follows goes back instead of losing its output, too', async () => {
  await using t = await setup();
  const { connection, first } = await inARow(t);
  const giveBack = await take(t.directory.data.spool);
  first.context.output.write('stdout', Buffer.from('lost\n'));
  await busyIs(connection, 'disk');
  first.end(success);
  expect(await returned(connection, 2)).toEqual([2, 3]);
  expect(await connection.next('complete')).toMatchObject({ step: 1, output: { truncated: true } });
  await giveBack();
});

test('an agent that starts while its disk refuses writes names the disk, and connects once it is writable', async () => {
  await using t = await setup();
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  await t.start({ log });
  const { connection } = await t.server.nextSession();
  const giveBack = await take(t.directory.data.generation);
  await mkdir(t.directory.data.generation);
  connection.close(1012);
  for (let n = 0; n < 3; n += 1) {
    const tried = await t.server.nextConnection();
    void tried.welcome().catch(() => undefined);
    await tried.closed;
  }
  const said = lines.join('');
  expect(said).toMatch(/generation.json can't be read.*Make the agent's data directory writable/);
  expect(said).not.toMatch(/could not be reached/);
  await rmdir(t.directory.data.generation);
  await giveBack();
  for (;;) {
    const tried = await t.server.nextConnection();
    const isIn = await Promise.race([tried.welcome().then(() => true), tried.closed.then(() => false)]);
    if (isIn) break;
  }
});
