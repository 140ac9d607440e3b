// What a run shows while a step runs over the real network, including when the connection between agent and server is
// cut, or the agent is suspended.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { writeOutputFile } from './support/output-file.ts';
import { setup, type TestSystem } from './support/system.ts';

// Longer than a reader waits, so that the reader reports what it has received.
vi.setConfig({ testTimeout: 100_000 });

let t: TestSystem;
beforeAll(async () => {
  t = await setup({ proxy: true });
});
afterAll(() => t?.[Symbol.asyncDispose]());

const countDisconnects = () => t.server.output.split('"msg":"agent disconnected"').length - 1;

test('output is shown while the command runs, both streams in their order, and nothing is added at the end', async () => {
  // If something is printed to both streams at the same moment, the target may read either first.
  const [one, two] = [await t.gate(), await t.gate()];
  const { id, stepIds, reader } = await t.run([
    `echo one; ${one.wait}; echo two >&2; ${two.wait}; echo three`,
    'echo next',
  ]);
  const [first = 0, second = 0] = stepIds;
  await reader.until(() => reader.text(first) === 'one\n', 'the first line');
  await one.open();
  await reader.until(() => reader.text(first) === 'one\ntwo\n', 'the first two lines');
  await reader.until(() => reader.status === 'running', 'the run to go on');
  await two.open();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(first)).toBe('one\ntwo\nthree\n');
  expect(reader.text(first, 'stderr')).toBe('two\n');
  expect(reader.text(second)).toBe('next\n');
  expect(await t.stored(id, first)).toMatchObject({ bytes: 14, sha256: reader.sha256(first) });
});

test('output continues after each cut of the connection, and arrives exactly once and complete', async () => {
  const file = await writeOutputFile(join(t.sshd.dir, randomUUID()), 24_000_000, 0.5);
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([
    `head -c 16000000 ${file.path}; ${gate.wait}; tail -c +16000001 ${file.path}`,
  ]);
  const [stepId = 0] = stepIds;
  await reader.until(() => reader.bytes > 0, 'the first output');
  const attempt = await t.attempt(id, stepId);
  for (const bytes of [1_000_000, 6_000_000, 12_000_000]) {
    await reader.until(() => reader.bytes > bytes, `${bytes} bytes`);
    t.proxy?.cut();
    t.proxy?.mend();
  }
  await gate.open();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.breaks).toBe(0);
  expect(reader.sha256(stepId)).toBe(file.sha256);
  expect(await t.stored(id, stepId)).toEqual({ bytes: file.bytes, sha256: file.sha256 });
  expect(await t.steps(id)).toMatchObject([{ attempt, outputState: 'complete', outputBytes: file.bytes }]);
});

test('a step that ends while its agent is cut off is reported when the connection is back', async () => {
  const gate = await t.gate();
  const { stepIds, reader } = await t.run([`echo one; ${gate.wait}; echo two`, 'echo three']);
  const [first = 0, second = 0] = stepIds;
  await reader.until(() => reader.text(first) === 'one\n', 'the first line');
  t.proxy?.cut();
  await gate.open();
  await t.agent.hasJournaled('finished', first);
  await reader.until(() => reader.status === 'running', 'the run to go on');
  t.proxy?.mend();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(first)).toBe('one\ntwo\n');
  expect(reader.text(second)).toBe('three\n');
});

test('an agent suspended for longer than its lease time continues what it was running, and gets new steps again', async () => {
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo one; ${gate.wait}; echo two`, 'echo three']);
  const [first = 0, second = 0] = stepIds;
  await reader.until(() => reader.text(first) === 'one\n', 'the first line');
  const attempt = await t.attempt(id, first);
  const disconnects = countDisconnects();
  t.agent.signal('SIGSTOP');
  await t.until(async () => expect(await t.agentState('agent-a')).not.toBe('connected'));
  await t.until(async () => expect(countDisconnects()).toBeGreaterThan(disconnects));
  await reader.until(() => reader.status === 'running', 'the run to go on');
  t.agent.signal('SIGCONT');
  await gate.open();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(first)).toBe('one\ntwo\n');
  expect(reader.text(second)).toBe('three\n');
  expect(await t.attempt(id, first)).toBe(attempt);
});

test('a step leased to a suspended agent is not begun after its lease time', async () => {
  const ran = join(t.sshd.dir, randomUUID());
  const disconnects = countDisconnects();
  t.agent.signal('SIGSTOP');
  const { id, stepIds, reader } = await t.run([`echo ran >> ${ran}; cat ${ran}`]);
  const [stepId = 0] = stepIds;
  await reader.until(() => reader.steps.get(stepId)?.status === 'running', 'the lease');
  await t.until(async () => expect(countDisconnects()).toBeGreaterThan(disconnects));
  t.agent.signal('SIGCONT');
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(stepId)).toBe('ran\n');
  // The first lease expired before it was read: it was returned unbegun, and the second one counted.
  expect(await t.steps(id)).toMatchObject([{ status: 'succeeded', attempt: 2 }]);
});
