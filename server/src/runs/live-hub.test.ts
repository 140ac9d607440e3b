import { expect, test } from 'vitest';
import { LiveHub } from './live-hub.ts';

const mark = (seq: number) => ({ stepId: 1, epoch: 1, seq });
const chunk = (seq: number) => ({
  ...mark(seq),
  stream: 'stdout' as const,
  elapsedMs: 0,
  rawLength: 1,
  bytes: new Uint8Array(1),
});

test('what the bus tells of this server’s own chunks, before or after it hands them on, sends nobody to the database', async () => {
  const hub = new LiveHub();
  const wakes: string[] = [];
  const stored = new Promise<void>((resolve) => {
    hub.onStep(1, (where) => {
      wakes.push(where);
      if (where === 'stored') resolve();
    });
  });
  hub.publishSteps([mark(1)]);
  hub.publishChunks([chunk(1)]);
  hub.publishSteps([mark(1)]);
  // Of another server: told after all that was told before it.
  hub.publishSteps([mark(2)]);
  await stored;
  expect(wakes).toEqual(['handed on', 'stored']);
});
