// The server is killed, as by a power cut, and restarted on the same data.
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeOutputFile } from './support/output-file.ts';
import { setup, type TestSystem } from './support/system.ts';

let t: TestSystem;
beforeAll(async () => {
  t = await setup();
});
afterAll(() => t?.[Symbol.asyncDispose]());

test('output in transit when the server is killed arrives exactly once and complete', async () => {
  const file = await writeOutputFile(join(t.sshd.dir, randomUUID()), 24_000_000, 0.5);
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([
    `head -c 16000000 ${file.path}; ${gate.wait}; tail -c +16000001 ${file.path}`,
  ]);
  const [stepId = 0] = stepIds;
  await reader.until(() => reader.bytes > 0, 'the first output');
  const attempt = await t.attempt(id, stepId);
  for (const bytes of [1_000_000, 8_000_000]) {
    await reader.until(() => reader.bytes > bytes, `${bytes} bytes`);
    await t.server.kill9();
    await t.server.start();
  }
  await gate.open();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.breaks).toBeGreaterThan(0);
  expect(reader.bytes).toBe(file.bytes);
  expect(reader.sha256(stepId)).toBe(file.sha256);
  expect(await t.stored(id, stepId)).toEqual({ bytes: file.bytes, sha256: file.sha256 });
  expect(await t.steps(id)).toMatchObject([
    { status: 'succeeded', attempt, outputState: 'complete', outputBytes: file.bytes },
  ]);
});

test('a step that ends while the server is down is reported to the restarted server, and the next step follows', async () => {
  const ran = join(t.sshd.dir, randomUUID());
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([
    `echo begun; ${gate.wait}; echo first >> ${ran}; echo ended`,
    `echo second >> ${ran}; cat ${ran}`,
  ]);
  const [first = 0, second = 0] = stepIds;
  await reader.until(() => reader.text(first) === 'begun\n', 'the first line');
  const attempt = await t.attempt(id, first);
  await t.server.kill9();
  await gate.open();
  await t.agent.hasJournaled('finished', first);
  await t.server.start();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(first)).toBe('begun\nended\n');
  expect(reader.text(second)).toBe('first\nsecond\n');
  expect(await readFile(ran, 'utf8')).toBe('first\nsecond\n');
  expect(await t.attempt(id, first)).toBe(attempt);
});

test('an agent restarted while the server is down tells the restarted server what it does not know', async () => {
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([`echo begun; ${gate.wait}`, 'echo never']);
  const [first = 0] = stepIds;
  await reader.until(() => reader.text(first) === 'begun\n', 'the first line');
  const attempt = await t.attempt(id, first);
  await t.server.kill9();
  await t.agent.kill9();
  await t.agent.start({ connected: false });
  await t.server.start();
  expect(await reader.end()).toBe('unknown');
  expect(reader.text(first)).toBe('begun\n');
  expect(await t.steps(id)).toMatchObject([
    { status: 'unknown', reason: 'agent_restarted', outputState: 'complete', attempt },
    { status: 'skipped', reason: 'predecessor', attempt: 0 },
  ]);
});

test('a run started just before the server was killed runs after the restart', async () => {
  t.agent.signal('SIGSTOP');
  const { stepIds, reader } = await t.run(['echo ran']);
  await t.server.kill9();
  await t.server.start();
  t.agent.signal('SIGCONT');
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(stepIds[0] ?? 0)).toBe('ran\n');
});
