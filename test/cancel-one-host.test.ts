// One host of a run is cancelled while the others go on, with real commands: one that ignores TERM, and one whose agent
// or server is away at that moment.
import type { RunDetail, Target, TargetRun, TargetRunPage } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setup, type TestSystem } from './support/system.ts';

let t: TestSystem;
let targetIds: number[];
beforeAll(async () => {
  t = await setup();
  const { body: first } = await t.api.get<Target>(`/api/v1/targets/${t.targetId}`);
  const { host, port, segmentId, credentialId } = first;
  const [key] = await t.sql<[{ fingerprint: string }]>`
    select fingerprint from target_host_keys where target_id = ${t.targetId} and state = 'accepted'`;
  const other = { name: 'other', host, port, segmentId, credentialId, hostKeyFingerprint: key.fingerprint };
  const { id } = await t.api.made<{ id: number }>('/api/v1/targets', other);
  targetIds = [t.targetId, id];
});
afterAll(() => t?.[Symbol.asyncDispose]());

const on = (name: string, command: string, otherwise: string) =>
  `if [ "\${{ target.name }}" = ${name} ]; then ${command}; else ${otherwise}; fi`;

async function targetRuns(runId: number): Promise<TargetRun[]> {
  return (await t.api.get<TargetRunPage>(`/api/v1/runs/${runId}/target-runs`)).body.items;
}

async function cancelHost(runId: number, targetRunId: number): Promise<TargetRun> {
  const path = `/api/v1/runs/${runId}/target-runs/${targetRunId}/cancel`;
  const { status, body } = await t.api.post<TargetRun>(path);
  expect(status).toBe(202);
  return body;
}

/** Starts a run whose first step hangs on both hosts; returns it once both have begun. */
async function hanging(commandOfHost: string) {
  const gate = await t.gate();
  const first = on('host', `echo "up $$"; ${commandOfHost}`, `echo up; ${gate.wait}`);
  const rules = [{}, {}, { when_status: 'always' }];
  const run = await t.run([first, 'echo second', 'echo cleaned'], {
    targetIds,
    rules,
    config: { kill_grace: 1 },
  });
  const [hostStep = 0, , , otherStep = 0] = run.stepIds;
  await run.reader.until(
    () => run.reader.text(hostStep).startsWith('up') && run.reader.text(otherStep) === 'up\n',
    'the first lines of both',
  );
  const [mine, other] = await targetRuns(run.id);
  if (mine === undefined || other === undefined) throw new Error('two target runs are needed');
  const pid = Number(/up (\d+)/.exec(run.reader.text(hostStep))?.[1]);
  return { ...run, gate, mine, other, pid };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const statusesOf = async (runId: number) => (await t.steps(runId)).map(({ status }) => status);

test('a command that hangs and ignores TERM is ended on that host alone, and the other host goes on', async () => {
  const { id, reader, gate, mine, pid } = await hanging(`trap '' TERM; while :; do sleep 1; done`);
  expect(isAlive(pid)).toBe(true);
  expect(await cancelHost(id, mine.id)).toMatchObject({ status: 'cancelling', targetName: 'host' });
  await t.until(async () => {
    expect(await targetRuns(id)).toMatchObject([{ status: 'cancelled' }, { status: 'running' }]);
  });
  expect(isAlive(pid)).toBe(false);
  expect((await t.api.get<RunDetail>(`/api/v1/runs/${id}`)).body.status).toBe('running');
  expect(await statusesOf(id)).toEqual([
    ...['cancelled', 'cancelled', 'succeeded'],
    ...['running', 'pending', 'pending'],
  ]);
  await gate.open();
  expect(await reader.end()).toBe('cancelled');
  const steps = await t.steps(id);
  expect(steps.slice(3).map(({ status }) => status)).toEqual(['succeeded', 'succeeded', 'succeeded']);
  expect(steps[0]).toMatchObject({ reason: 'cancelled', signal: 'KILL', survivors: [] });
  expect(steps.slice(3).map((step) => reader.text(step.id))).toEqual(['up\n', 'second\n', 'cleaned\n']);
  expect(reader.text(steps[2]?.id ?? 0)).toBe('cleaned\n');
});

test('a cancel that was asked for while the agent was away is carried out once it is back', async () => {
  const { id, reader, gate, mine, pid } = await hanging('while :; do sleep 1; done');
  t.agent.signal('SIGSTOP');
  await cancelHost(id, mine.id);
  expect(isAlive(pid)).toBe(true);
  t.agent.signal('SIGCONT');
  await t.until(async () => expect((await targetRuns(id))[0]).toMatchObject({ status: 'cancelled' }));
  expect(isAlive(pid)).toBe(false);
  await gate.open();
  expect(await reader.end()).toBe('cancelled');
});

test('a server that is killed right after the answer loses nothing of the cancel', async () => {
  const { id, reader, gate, mine, pid } = await hanging('while :; do sleep 1; done');
  t.agent.signal('SIGSTOP');
  await cancelHost(id, mine.id);
  await t.server.kill9();
  t.agent.signal('SIGCONT');
  await t.server.start();
  await t.until(async () => expect((await targetRuns(id))[0]).toMatchObject({ status: 'cancelled' }));
  expect(isAlive(pid)).toBe(false);
  await gate.open();
  expect(await reader.end()).toBe('cancelled');
});

test('if the agent is killed meanwhile, the host is unknown, nothing follows there, and what had begun is ended', async () => {
  const { id, reader, mine, pid } = await hanging('while :; do sleep 1; done');
  t.agent.signal('SIGSTOP');
  await cancelHost(id, mine.id);
  await t.agent.kill9();
  await t.agent.start();
  expect(await reader.end()).toBe('unknown');
  expect((await statusesOf(id)).slice(0, 3)).toEqual(['unknown', 'cancelled', 'cancelled']);
  await t.until(async () => expect(isAlive(pid)).toBe(false));
});
