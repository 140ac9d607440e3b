// 200 MB of output arrive byte for byte, without agent or server holding them in memory.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setInterval as every } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { writeOutputFile } from './support/output-file.ts';
import { setup } from './support/system.ts';

const run = promisify(execFile);
const outputBytes = 200_000_000;
/** Two thirds are incompressible. */
const randomShare = 0.67;
const maxRssBytes = { agent: 300 * 1024 * 1024, server: 260 * 1024 * 1024 };
const tickMs = 1;

test('200 MB arrive whole in the store, at a reader and at a slow one, within bounded memory', async () => {
  await using t = await setup();
  const file = await writeOutputFile(join(t.sshd.dir, randomUUID()), outputBytes, randomShare);
  const { stdout } = await run('sha256sum', [file.path]);
  expect(stdout.split(' ')[0]).toBe(file.sha256);

  const { id, stepIds, reader } = await t.run([`cat ${file.path}`]);
  const [stepId = 0] = stepIds;
  // Reads a little, then nothing until the run is over, then one piece per tick to the end.
  const ticks = every(tickMs);
  const slow = t.read(id, {
    beforePiece: async () => {
      if (slow.bytes > 0) await reader.ended;
      await ticks.next();
    },
  });
  for (const each of [reader, slow]) {
    expect(await each.end()).toBe('succeeded');
    expect(each.bytes).toBe(outputBytes);
    expect(each.sha256(stepId)).toBe(file.sha256);
    expect(each.breaks).toBe(0);
  }
  expect(await t.stored(id, stepId)).toEqual({ bytes: file.bytes, sha256: file.sha256 });
  expect(await t.steps(id)).toMatchObject([{ outputState: 'complete', outputBytes }]);

  // Peaks over their whole lifetime, so that no moment is missed.
  expect(await t.agent.peakRssBytes()).toBeLessThan(maxRssBytes.agent);
  expect(await t.server.peakRssBytes()).toBeLessThan(maxRssBytes.server);
}, 240_000);
