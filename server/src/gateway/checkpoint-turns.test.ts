import type { ServerMessage } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { CheckpointTurns } from './checkpoint-turns.ts';

const message = { type: 'audit_checkpoint' as const, from: 0, note: 'note', proof: [] };
const agent = { agentId: 4, name: 'agent-4', segmentId: 1 };
const offer = { size: 9, message };

test('of a thousand agents that connected together, 25 a second get a checkpoint, and each gets one in the end', async () => {
  let nowMs = 1_000_000;
  let offers = 0;
  const turns = new CheckpointTurns({
    feed: {
      async offer() {
        offers += 1;
        return offer;
      },
    },
    agents: () => 1_000,
    now: () => nowMs,
  });
  const links = Array.from({ length: 1_000 }, () => {
    const given: ServerMessage[] = [];
    const send = (sent: ServerMessage) => void given.push(sent);
    return { ...agent, checkpointAtMs: nowMs, checkpointSize: undefined as number | undefined, given, send };
  });
  const given = () => links.reduce((sum, link) => sum + link.given.length, 0);
  const perSecond: number[] = [];
  for (let second = 0; second < 90; second += 1) {
    nowMs += 1_000;
    const before = given();
    // A fifth of them has a heartbeat.
    for (let n = second % 5; n < links.length; n += 5) {
      const link = links[n];
      if (link !== undefined) await turns.heard(link, 0);
    }
    perSecond.push(given() - before);
  }
  expect(Math.max(...perSecond)).toBe(25);
  // And no more proofs are looked up than are given.
  expect(offers).toBe(given());
  expect(links.every((link) => link.given.length > 0)).toBe(true);
});

test('an agent that has the newest one gets none, and uses up no turn of another', async () => {
  const given: ServerMessage[] = [];
  const turns = new CheckpointTurns({
    feed: { offer: async (_, heldSize) => (heldSize === 7 ? 'has newest' : offer) },
    agents: () => 1,
    now: () => 1_000_000,
  });
  const send = (sent: ServerMessage) => void given.push(sent);
  const link = { ...agent, checkpointAtMs: 0, checkpointSize: undefined as number | undefined, send };
  for (let n = 0; n < 100; n += 1) await turns.heard(link, 7);
  await turns.heard(link, 3);
  expect(given).toEqual([message]);
  expect(link.checkpointSize).toBe(9);
});

test('if no checkpoint can be had, 25 agents a second ask the database, each in its turn', async () => {
  let nowMs = 1_000_000;
  const asked: number[] = [];
  const turns = new CheckpointTurns({
    feed: {
      async offer({ agentId }) {
        asked.push(agentId);
        return undefined;
      },
    },
    agents: () => 1_000,
    now: () => nowMs,
  });
  const links = Array.from({ length: 1_000 }, (_, agentId) => {
    return { ...agent, agentId, checkpointAtMs: 0, checkpointSize: undefined, send: () => undefined };
  });
  for (let second = 0; second < 40; second += 1) {
    for (const link of links) await turns.heard(link, 7);
    expect(asked).toHaveLength(25 * (second + 1));
    nowMs += 1_000;
  }
  expect(new Set(asked).size).toBe(1_000);
});
