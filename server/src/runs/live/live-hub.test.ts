import { expect, test } from 'vitest';
import { LiveHub } from './live-hub.ts';

const mark = (seq: number, stepId = 1) => ({ stepId, epoch: 1, seq });
const chunk = (seq: number) => ({
  ...mark(seq),
  stream: 'stdout' as const,
  elapsedMs: 0,
  rawLength: 1,
  bytes: new Uint8Array(1),
});

test('notifications of this server’s own chunks, before or after it hands them on, send nobody to the database', async () => {
  const hub = new LiveHub();
  const wakes: string[] = [];
  hub.onStep(1, (where) => wakes.push(where));
  const ofAnotherServer = new Promise((resolve) => hub.onStep(2, resolve));
  hub.publishSteps([mark(1)]);
  hub.publishChunks([chunk(1)]);
  hub.publishSteps([mark(1)]);
  // Announced after everything that was announced before.
  hub.publishSteps([mark(1, 2)]);
  expect(await ofAnotherServer).toBe('stored');
  expect(wakes).toEqual(['handed on']);
});
