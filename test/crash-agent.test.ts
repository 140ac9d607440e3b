// The agent is killed, and comes back or doesn't.
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attempt, RunDetail } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { setup, type TestSystem } from './support/system.ts';

let t: TestSystem;
beforeAll(async () => {
  t = await setup();
});
afterAll(() => t?.[Symbol.asyncDispose]());

/** Not before the agent is gone: one that has little processor time may be silent for as long. */
async function soonUnknown(): Promise<void> {
  await t.sql`update segments set unknown_after_s = 2`;
  onTestFinished(async () => void (await t.sql`update segments set unknown_after_s = default`));
}

test('a step that a killed agent was running is unknown once the agent is back, with the output so far', async () => {
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo one; echo two >&2; ${gate.wait}`, 'echo never']);
  const [first = 0] = stepIds;
  // The target's SSH server decides which of the two streams comes first.
  const isWhole = () => reader.text(first, 'stdout') === 'one\n' && reader.text(first, 'stderr') === 'two\n';
  await reader.until(isWhole, 'the first lines');
  const attempt = await t.attempt(id, first);
  await t.agent.kill9();
  await reader.until(() => reader.status === 'running', 'the run to go on');
  await t.agent.start();
  expect(await reader.end()).toBe('unknown');
  expect(isWhole()).toBe(true);
  expect(await t.steps(id)).toMatchObject([
    { status: 'unknown', reason: 'agent_restarted', outputState: 'complete', attempt, outputBytes: 8 },
    { status: 'skipped', reason: 'predecessor' },
  ]);
});

test('a step of a killed agent becomes unknown after the deadline, and gets a late result if the agent comes back', async () => {
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo one; ${gate.wait}`]);
  const [stepId = 0] = stepIds;
  await reader.until(() => reader.text(stepId) === 'one\n', 'the first line');
  await t.agent.kill9();
  await soonUnknown();
  expect(await reader.end()).toBe('unknown');
  const [silent] = await t.steps(id);
  expect(silent).toMatchObject({ status: 'unknown', reason: 'agent_silent', outputState: 'gapped' });
  expect(silent?.errorMessage).toMatch(/^Agent agent-a has been silent since /);
  expect(reader.text(stepId)).toBe('one\n');

  await t.agent.start();
  await t.until(async () => {
    const [step] = await t.steps(id);
    expect(step).toMatchObject({ status: 'unknown', reason: 'agent_silent', outputState: 'complete' });
    expect(step?.advice).toMatch(/agent has since reported: unknown/);
  });
});

test('commands that still run after their run ended unknown are stopped on request', async () => {
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo one; ${gate.wait}`]);
  const [stepId = 0] = stepIds;
  await reader.until(() => reader.text(stepId) === 'one\n', 'the first line');
  t.agent.signal('SIGSTOP');
  await soonUnknown();
  expect(await reader.end()).toBe('unknown');
  const untold = async () => (await t.api.get<RunDetail>(`/api/v1/runs/${id}`)).body.untoldAttempts;
  expect(await untold()).toBe(1);
  expect((await t.api.send('DELETE', `/api/v1/runs/${id}`)).status).toBe(202);
  t.agent.signal('SIGCONT');
  await t.until(async () => {
    const { body } = await t.api.get<{ items: Attempt[] }>(`/api/v1/runs/${id}/steps/${stepId}/attempts`);
    expect(body.items).toMatchObject([{ status: 'unknown', late: { status: 'cancelled' } }]);
  });
  expect(await untold()).toBe(0);
  const { status, body } = await t.api.send<{ error: { message: string } }>('DELETE', `/api/v1/runs/${id}`);
  expect([status, body.error.message]).toEqual([409, `Run ${id} has already ended: it is unknown.`]);
});

test('a step leased to a killed agent but not begun runs exactly once when the agent is back', async () => {
  const ran = join(t.sshd.dir, randomUUID());
  t.agent.signal('SIGSTOP');
  const { id, stepIds, reader } = await t.run([`echo ran >> ${ran}; cat ${ran}`]);
  const [stepId = 0] = stepIds;
  await reader.until(() => reader.steps.get(stepId)?.status === 'running', 'the lease');
  await t.agent.kill9();
  await t.agent.start();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(stepId)).toBe('ran\n');
  expect(await readFile(ran, 'utf8')).toBe('ran\n');
  expect(await t.steps(id)).toMatchObject([{ status: 'succeeded', attempt: 2 }]);
});

test('an outcome that a killed agent had recorded is reported by its next process', async () => {
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo one; ${gate.wait}; echo two; exit 3`]);
  const [stepId = 0] = stepIds;
  await reader.until(() => reader.text(stepId) === 'one\n', 'the first line');
  t.server.signal('SIGSTOP');
  await gate.open();
  await t.agent.hasJournaled('finished', stepId);
  await t.agent.kill9();
  t.server.signal('SIGCONT');
  await t.agent.start();
  expect(await reader.end()).toBe('failed');
  expect(reader.text(stepId)).toBe('one\ntwo\n');
  expect(await t.steps(id)).toMatchObject([{ status: 'failed', exitCode: 3, outputState: 'complete' }]);
});

test('a run that is cancelled while its agent is dead ends unknown within the grace period', async () => {
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo one; ${gate.wait}`, 'echo never']);
  const [first = 0] = stepIds;
  await reader.until(() => reader.text(first) === 'one\n', 'the first line');
  await t.agent.kill9();
  expect(await t.api.send('DELETE', `/api/v1/runs/${id}`)).toMatchObject({ status: 202 });
  await reader.until(() => reader.status === 'cancelling', 'the cancel');
  // All but a few of the 30 seconds of grace have passed.
  await t.sql`update job_runs set cancel_requested_at = cancel_requested_at - interval '28 seconds'`;
  expect(await reader.end()).toBe('unknown');
  expect(await t.steps(id)).toMatchObject([
    { status: 'unknown', reason: 'cancel_unconfirmed' },
    { status: 'cancelled' },
  ]);
});
