import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContentAnswer } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { sendArtifacts } from './staged-artifacts.ts';

test('a path that no message of the protocol takes is refused with its reason, and the server asked nothing', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'opsconductor-staged-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const deep = Array.from({ length: 5 }, () => 'd'.repeat(200)).join('/');
  await mkdir(join(directory, deep), { recursive: true });
  for (const name of ['short', join(deep, 'f')]) await writeFile(join(directory, name), '');
  const asked: string[] = [];
  const ask = async (request: { do: string }): Promise<ContentAnswer> => {
    asked.push(request.do);
    return { artifact: { id: 'a', parts: 0 } };
  };
  const sent = sendArtifacts(directory, { ask, began: () => {}, moved: () => {}, ended: () => {} });
  await expect(sent).rejects.toMatchObject({
    reason: 'path_refused',
    message: expect.stringContaining('1006 characters'),
  });
  expect(asked).toEqual([]);
});
