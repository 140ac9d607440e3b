// What follows an attempt, on a real system: tries, holds and decisions, late results, and a cancel that needs no
// agent.
import { join } from 'node:path';
import type { Attempts, HeldSteps } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setup, type TestSystem } from './support/system.ts';

let t: TestSystem;
beforeAll(async () => {
  t = await setup();
});
afterAll(() => t?.[Symbol.asyncDispose]());

test('a step that fails is tried again after a delay, and each try keeps its outcome and its output', async () => {
  const mark = join(t.sshd.dir, 'tried');
  const flaky = `if [ -e ${mark} ]; then echo second; else echo first; touch ${mark}; exit 3; fi`;
  const retry = { attempts: 3, delay: 0.3, on: ['exit_code'] };
  const { id, stepIds, reader } = await t.run([flaky, 'echo after'], { rules: [{ retry }] });
  const [stepId = 0, after = 0] = stepIds;
  expect(await reader.end()).toBe('succeeded');
  expect(await t.steps(id)).toMatchObject([{ status: 'succeeded', attempt: 2 }, { status: 'succeeded' }]);
  const path = `/api/v1/runs/${id}/steps/${stepId}`;
  const { items: attempts } = (await t.api.get<Attempts>(`${path}/attempts`)).body;
  expect(attempts).toMatchObject([
    { attempt: 1, status: 'failed', exitCode: 3 },
    { attempt: 2, status: 'succeeded', exitCode: 0 },
  ]);
  const waitedMs = Date.parse(attempts[1]?.leasedAt ?? '') - Date.parse(attempts[0]?.endedAt ?? '');
  expect(waitedMs).toBeGreaterThanOrEqual(240);
  expect((await t.api.get(`${path}/output?format=text&attempt=1`)).text).toBe('first\n');
  expect((await t.api.get(`${path}/output?format=text`)).text).toBe('second\n');
  expect(reader.text(after)).toBe('after\n');
});

test('while an agent is frozen, a person can cancel and decide without it, and its late results decide the rest', async () => {
  const gates = [await t.gate(), await t.gate(), await t.gate()] as const;
  const rules = [{ on_unknown: 'hold' }];
  const late = await t.run([`echo begun; ${gates[0].wait}; echo told`, 'echo after'], { rules });
  const decided = await t.run([`echo begun; ${gates[1].wait}`, 'echo after'], { rules });
  const forced = await t.run([`echo begun; ${gates[2].wait}`, 'echo never']);
  for (const run of [late, decided, forced]) {
    await run.reader.until(() => run.reader.text(run.stepIds[0] ?? 0) === 'begun\n', 'the first line');
  }
  const attempt = await t.attempt(decided.id, decided.stepIds[0] ?? 0);
  t.agent.signal('SIGSTOP');

  expect((await t.api.send('DELETE', `/api/v1/runs/${forced.id}?force=true`)).status).toBe(202);
  expect(await forced.reader.end()).toBe('unknown');
  expect(await t.steps(forced.id)).toMatchObject([
    { status: 'unknown', reason: 'cancel_forced' },
    { status: 'cancelled' },
  ]);

  await t.sql`update segments set unknown_after_s = 2`;
  for (const { reader } of [late, decided]) await reader.until(() => reader.status === 'held', 'the hold');
  const decisions = `/api/v1/runs/${decided.id}/decisions`;
  const held = (await t.api.get<HeldSteps>(decisions)).body;
  expect(held).toMatchObject({
    mayDecide: true,
    groups: [{ stepNumber: 1, reason: 'agent_silent', count: 1 }],
  });
  const [step] = held.groups[0]?.steps ?? [];
  const request = { decision: 'succeeded', note: 'seen on the host', steps: [{ id: step?.id, attempt }] };
  expect(await t.api.made(decisions, request)).toEqual({ decided: 1, stillHeld: 0 });
  const again = await t.api.post<{ error: { message: string } }>(decisions, request);
  expect(again.status).toBe(409);
  expect(again.body.error.message).toContain(`is succeeded now, with attempt ${attempt}.`);

  await t.sql`update segments set unknown_after_s = default`;
  t.agent.signal('SIGCONT');
  await gates[0].open();
  await gates[1].open();
  expect(await late.reader.end()).toBe('succeeded');
  expect(await decided.reader.end()).toBe('succeeded');
  expect(late.reader.text(late.stepIds[0] ?? 0)).toBe('begun\ntold\n');
  expect(late.reader.text(late.stepIds[1] ?? 0)).toBe('after\n');
  expect(decided.reader.text(decided.stepIds[1] ?? 0)).toBe('after\n');
  // It was told to stop what had been given up, and that is recorded next to the outcome.
  await t.until(async () => {
    const path = `/api/v1/runs/${forced.id}/steps/${forced.stepIds[0]}/attempts`;
    const { items: attempts } = (await t.api.get<Attempts>(path)).body;
    expect(attempts).toMatchObject([{ status: 'unknown', late: { status: 'cancelled' } }]);
  });
  expect(await t.steps(forced.id)).toMatchObject([{ status: 'unknown' }, { status: 'cancelled' }]);
});
