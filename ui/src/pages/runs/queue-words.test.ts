import { expect, test } from 'vitest';
import { isIdle, queueWords, type SegmentQueue, troubleFirst } from './queue-words.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const queue = (fields: Partial<SegmentQueue>): SegmentQueue => ({
  ...{ id: 1, name: 'dmz', ready: 0, running: 0, ableAgents: 1, freeSlots: 16, stuckSince: null },
  ...fields,
});

test.each([
  [{ ready: 2, ableAgents: 0, stuckSince: '2026-11-24T02:22:12.000Z' }, 'failed', 'no agent for 5 min'],
  [{ ready: 2, ableAgents: 0 }, 'queued', 'waits for an agent'],
  [{ ready: 2, running: 16, freeSlots: 0 }, 'queued', 'waits for a free slot'],
  [{ ready: 2, running: 1 }, 'ready', 'ready'],
  [{ running: 1 }, 'running', 'running'],
  [{}, 'pending', 'idle'],
])('the queue of a segment with %j is %s: %s', (fields, look, word) => {
  expect(queueWords(queue(fields), now)).toEqual({ look, word });
});

test('segments where nothing goes on come first, then those with the most to do', () => {
  const segments = [
    queue({ name: 'idle' }),
    queue({ name: 'runs', running: 3 }),
    queue({ name: 'waits', ready: 9 }),
    queue({ name: 'stuck', ready: 1, stuckSince: '2026-11-24T02:22:12.000Z' }),
    queue({ name: 'apart' }),
  ];
  expect(troubleFirst(segments).map(({ name }) => name)).toEqual(['stuck', 'waits', 'runs', 'apart', 'idle']);
  expect(segments.filter(isIdle)).toHaveLength(2);
});
