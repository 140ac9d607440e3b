import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { firstOfSegments, reconnectWithin } from './reconnect-within.ts';

test('agents reconnect within the time that they take one after the other, up to a limit', () => {
  expect(reconnectWithin(300, 300)).toBe(300);
  expect(reconnectWithin(3_000_000, 300)).toBe(limits.maxReconnectWithinMs);
});

test('agents of a segment that waits only a short time are back before their steps become unknown', () => {
  expect(reconnectWithin(30_000, 10)).toBe(3_333);
});

test('in each segment, the two agents connected longest reconnect first, one after the other', () => {
  const agents = [1, 1, 2, 1, 1, 3, 3, 3, 2].map((segmentId, at) => ({ segmentId, at }));
  const first = [...firstOfSegments(agents)].map(([{ at }, ms]) => [at, ms]);
  const oneOfEach = 3 * limits.reconnectPerFirstAgentMs;
  expect(first).toEqual(
    [0, 1, 2, 5, 6, 8].map((at) => [at, [1, 6, 8].includes(at) ? 3 * oneOfEach : oneOfEach]),
  );
});
