// A segment with several agents, with copies of one, and with none.
import type { RunExplanation } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { setup, type TestSystem } from './support/system.ts';

describe('a segment with one agent', () => {
  let t: TestSystem;
  beforeAll(async () => {
    t = await setup({ slots: 1 });
  });
  afterAll(() => t?.[Symbol.asyncDispose]());

  test('an agent never takes more steps at a time than it has slots', async () => {
    const gate = await t.gate();
    const first = await t.run([`echo first; ${gate.wait}`]);
    await first.reader.until(() => first.reader.bytes > 0, 'the first run');
    const second = await t.run(['echo second']);
    expect(second.reader.status).toBe('');
    await gate.open();
    expect(await first.reader.end()).toBe('succeeded');
    expect(await second.reader.end()).toBe('succeeded');
    const [one] = await t.steps(first.id);
    const [two] = await t.steps(second.id);
    expect(Date.parse(two?.leasedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(one?.completedAt ?? ''));
  });

  test('a run waits for an agent that is offline, and starts when it is there', async () => {
    await t.agent.stop();
    const { id, stepIds, reader } = await t.run(['echo ran']);
    await t.until(async () => expect(await t.agentState('agent-a')).toBe('offline'));
    expect((await t.api.get<{ status: string }>(`/api/v1/runs/${id}`)).body.status).toBe('queued');
    await t.agent.start();
    expect(await reader.end()).toBe('succeeded');
    expect(reader.text(stepIds[0] ?? 0)).toBe('ran\n');
  });

  test('a run that no agent takes within start_within ends, and does not start later', async () => {
    await t.agent.stop();
    const { id, reader } = await t.run(['echo never', 'echo never'], { startWithin: 1 });
    expect(await reader.end()).toBe('timed_out');
    expect(reader.errorMessage).toMatch(/^Not started in time: no agent with a free slot in “dmz”\.$/);
    await t.agent.start();
    const next = await t.run(['echo ran']);
    expect(await next.reader.end()).toBe('succeeded');
    expect(await t.steps(id)).toMatchObject([
      { status: 'timed_out', attempt: 0 },
      { status: 'timed_out', attempt: 0 },
    ]);
  });

  test('a later step that no agent takes within start_within ends, and until then shows how long it waits', async () => {
    const gate = await t.gate();
    const { id, reader } = await t.run([`echo begun; ${gate.wait}`, 'echo never'], { startWithin: 3 });
    await reader.until(() => reader.bytes > 0, 'the first step');
    const { items } = (await t.api.get<{ items: { id: number }[] }>('/api/v1/agents')).body;
    const agent = `/api/v1/agents/${items[0]?.id}`;
    await t.api.post(`${agent}/drain`, {});
    await gate.open();
    await t.until(async () => {
      const { waits } = (await t.api.get<RunExplanation>(`/api/v1/runs/${id}/explain`)).body;
      expect(waits).toMatchObject([{ code: 'agents_draining', until: expect.any(String) }]);
    });
    expect(await reader.end()).toBe('timed_out');
    expect(reader.errorMessage).toMatch(/step 2: No agent in segment “dmz” took the step in time/);
    await t.api.post(`${agent}/undrain`, {});
  });

  // This test comes last, because afterwards the segment has no usable agent.
  test('a copied agent is detected once both copies have connected, and neither is given steps', async () => {
    await t.agent.stop();
    const copy = await t.copyAgent(t.agent);
    await copy.start();
    await t.agent.start({ connected: false });
    expect(await t.agent.ended()).toBe(78);
    expect(t.agent.output).toMatch(/quarantined/);
    // The copy was connected; its session has ended too.
    expect(await copy.ended()).toBe(78);
    expect(await t.agentState('agent-a')).toBe('quarantined');
    const { reader } = await t.run(['echo never'], { startWithin: 1 });
    expect(await reader.end()).toBe('timed_out');
  });
});

test('a second agent gets the segment key from its peer, and runs steps when that one is gone', async () => {
  await using t = await setup();
  await t.addAgent('agent-b');
  await t.agent.stop();
  const { id, stepIds, reader } = await t.run(['echo ran']);
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(stepIds[0] ?? 0)).toBe('ran\n');
  expect(await t.steps(id)).toMatchObject([{ agentName: 'agent-b' }]);
});
