import { type AgentMessageOf, type ContentRequest, limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { ContentRequests } from './content-requests.ts';

const attempt = { runId: 1, stepId: 1, epoch: 1, agentId: 1, sessionNumber: 1 };

/** Requests of an agent whose first one is never answered. */
function setup() {
  const requests = new ContentRequests({
    contents: { answer: () => new Promise(() => {}) },
    find: () => attempt,
    reply: () => {},
    onFailure: () => {},
  });
  return (request: ContentRequest) =>
    requests.take({
      ...{ type: 'content', requestId: 'r', step: 1, epoch: 1, leaseToken: 'a'.repeat(16) },
      request,
    } as AgentMessageOf<'content'>);
}

test('an agent that hands over artifacts in all slots is kept, one that asks without end is closed', () => {
  const take = setup();
  const ofAllSlots = limits.maxSlots * limits.maxArtifactsAtATime;
  const open = { do: 'open_artifact', name: 'log', size: 1 } as const;
  expect(Array.from({ length: ofAllSlots }, () => take(open))).not.toContain(false);
  expect(Array.from({ length: 2 * ofAllSlots }, () => take(open))).toContain(false);
});

test('as many pieces are taken as the protocol says', () => {
  const take = setup();
  const read = (part: number) => take({ do: 'read_file', file: 'f', part });
  const most = limits.maxContentRequests;
  expect(Array.from({ length: most + 1 }, (_, part) => read(part))).toEqual([
    ...Array(most).fill(true),
    false,
  ]);
});
