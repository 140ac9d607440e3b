import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { RefusalLog, readRefusals } from './refusal-log.ts';

test('only the owner of the machine can read the refusals, and the file is bounded', async () => {
  const { path: dir, remove } = await temporaryDirectory();
  const path = join(dir, 'policy-refusals.jsonl');
  const now = () => new Date('2026-03-27T12:00:00Z');
  const log = new RefusalLog({ path, log: pino({ level: 'silent' }), now, maxBytes: 200 });
  for (const message of ['first', 'second', 'third']) log.note({ rule: 'users', message });
  await log.written();
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readRefusals(path)).toEqual({
    count: 1,
    last: '{"at":"2026-03-27T12:00:00.000Z","rule":"users","message":"third"}',
  });
  expect((await readFile(`${path}.1`, 'utf8')).split('\n')).toHaveLength(3);
  await rm(path);
  expect(await readRefusals(path)).toBeUndefined();
  await remove();
});
