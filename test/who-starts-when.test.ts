// Strategies, locks, priorities and the timeout of runs, through the API and on a real target.
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunDetail, RunExplanation } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Gate } from './support/gate.ts';
import { hostKeyFingerprintOf } from './support/sshd.ts';
import { setup, type TestSystem } from './support/system.ts';

const slots = 3;
const hosts = ['alpha', 'bravo', 'charlie', 'delta', 'echo'];

let t: TestSystem;
const targets = new Map<string, number>();
beforeAll(async () => {
  t = await setup({ slots });
  const { segmentId } = t;
  const [first] = (await t.api.get<{ items: { credentialId: string }[] }>('/api/v1/targets')).body.items;
  const hostKeyFingerprint = hostKeyFingerprintOf(t.sshd.hostKeyLine);
  for (const name of hosts) {
    const place = { host: t.sshd.host, port: t.sshd.port, credentialId: first?.credentialId };
    const target = { segmentId, name, ...place, hostKeyFingerprint };
    targets.set(name, (await t.api.made<{ id: number }>('/api/v1/targets', target)).id);
  }
});
afterAll(() => t[Symbol.asyncDispose]());

interface Marks {
  file: string;
  /** Returns `+name` for each command that began and `-name` for each that ended, in order. */
  read(): string[];
  /** A command that logs both, and does something in between. */
  around(between: string): string;
}

function marks(): Marks {
  const file = join(t.sshd.dir, `marks-${randomUUID()}`);
  writeFileSync(file, '', { mode: 0o666 });
  return {
    file,
    read: () => readFileSync(file, 'utf8').split('\n').filter(Boolean),
    around: (between) => `echo "+$NAME" >>${file}; ${between}; code=$?; echo "-$NAME" >>${file}; exit $code`,
  };
}

interface Job {
  command: string;
  on?: string[];
  [field: string]: unknown;
}

/** Starts a run with one step. The command finds its target's name in `NAME`. */
async function start({ command, on = hosts, ...job }: Job): Promise<number> {
  const config = { command, environment: { NAME: '${{ target.name }}' }, timeout: 120 };
  const { id } = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: randomUUID(),
    steps: [{ name: 'step', type: 'ssh.exec', config }],
    ...job,
  });
  const targetIds = on.map((name) => targets.get(name));
  return (await t.api.made<RunDetail>(`/api/v1/jobs/${id}/run`, { targetIds })).id;
}

const run = async (id: number) => (await t.api.get<RunDetail>(`/api/v1/runs/${id}`)).body;
const ended = (id: number, status: string) =>
  t.until(async () => expect((await run(id)).status).toBe(status));
const begun = (log: Marks, count: number) =>
  t.until(async () => expect(log.read().filter((mark) => mark.startsWith('+'))).toHaveLength(count));
const reasons = async (id: number) =>
  JSON.stringify((await t.api.get<RunExplanation>(`/api/v1/runs/${id}/explain`)).body);

async function openFor(gate: Gate, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await gate.open();
}

test('at most max_parallel hosts work at a time, in the requested order', async () => {
  const [log, gate] = [marks(), await t.gate()];
  const id = await start({ command: log.around(gate.wait), strategy: { max_parallel: 2, order: 'reverse' } });
  await begun(log, 2);
  expect((await t.steps(id)).map(({ status }) => status).sort()).toEqual([
    ...['pending', 'pending', 'pending'],
    ...['running', 'running'],
  ]);
  expect(await reasons(id)).toContain('max_parallel');
  await openFor(gate, hosts.length);
  await ended(id, 'succeeded');
  const order = log.read();
  expect(
    order
      .filter((mark) => mark.startsWith('+'))
      .slice(0, 2)
      .sort(),
  ).toEqual(['+delta', '+echo']);
  let open = 0;
  for (const mark of order) {
    open += mark.startsWith('+') ? 1 : -1;
    expect(open).toBeLessThanOrEqual(2);
  }
});

test('a batch begins when the previous one has ended, and none begins after too many failures', async () => {
  const log = marks();
  // It fails once the other one in its batch has begun.
  const fails = `while ! grep -q +charlie ${log.file}; do sleep 0.05; done; false`;
  const command = log.around(`[ "$NAME" != bravo ] || { ${fails}; }`);
  const strategy = { batches: [1, 2], max_failures: 0 };
  const id = await start({ command, strategy });
  await ended(id, 'failed');
  const order = log.read();
  expect(order.slice(0, 2)).toEqual(['+alpha', '-alpha']);
  expect(order.slice(2).sort()).toEqual(['+bravo', '+charlie', '-bravo', '-charlie']);
  expect(await run(id)).toMatchObject({
    targetsSucceeded: 2,
    targetsFailed: 1,
    targetsCancelled: 2,
    strategy: { opened: 3, batch: 2, haltedReason: expect.stringContaining('max_failures') },
  });

  const tolerant = await start({ command, strategy: { ...strategy, max_failures: '20%' } });
  await ended(tolerant, 'partial');
  expect(await run(tolerant)).toMatchObject({ targetsSucceeded: 4, targetsFailed: 1, targetsCancelled: 0 });
});

test('a lock keeps runs of different jobs apart, and can be shared by those that allow it', async () => {
  const [log, gate] = [marks(), await t.gate()];
  const locks = (mode: string) => [{ name: 'database', mode }];
  const command = log.around(gate.wait);
  const first = await start({ command, on: ['alpha'], locks: locks('exclusive') });
  await begun(log, 1);
  const second = await start({ command, on: ['bravo'], locks: locks('shared') });
  const third = await start({ command, on: ['charlie'], locks: locks('shared') });
  await t.until(async () => expect(await reasons(second)).toContain('database'));
  expect(log.read()).toEqual(['+alpha']);
  await openFor(gate, 1);
  await begun(log, 3);
  expect(log.read().slice(0, 2)).toEqual(['+alpha', '-alpha']);
  await openFor(gate, 2);
  for (const id of [first, second, third]) await ended(id, 'succeeded');
});

test('among runs that wait for a slot, the one with the higher priority begins first', async () => {
  const [busy, log, gate] = [marks(), marks(), await t.gate()];
  const filling = await start({ command: busy.around(gate.wait), on: ['alpha', 'bravo', 'charlie'] });
  await begun(busy, slots);
  const later = await start({ command: log.around('true'), on: ['delta'] });
  const urgent = await start({ command: log.around('true'), on: ['echo'], priority: 50 });
  await openFor(gate, 1);
  await ended(urgent, 'succeeded');
  await ended(later, 'succeeded');
  expect(log.read()).toEqual(['+echo', '-echo', '+delta', '-delta']);
  await openFor(gate, 2);
  await ended(filling, 'succeeded');
});

test('a run that exceeds its timeout is stopped on its hosts, and begins nothing more', async () => {
  const [log, gate] = [marks(), await t.gate()];
  const id = await start({ command: log.around(gate.wait), timeout: 3, strategy: { max_parallel: 1 } });
  await begun(log, 1);
  await ended(id, 'timed_out');
  expect(log.read()).toEqual(['+alpha']);
  expect((await t.steps(id)).map(({ status }) => status)).toEqual(hosts.map(() => 'timed_out'));
});
