import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContentAnswer } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { shownPath } from '../sftp/tree/shown-path.ts';
import { StagedArtifacts, sendArtifacts } from './staged-artifacts.ts';

const untold = { began: () => {}, moved: () => {}, ended: () => {}, kept: () => {}, left: () => {} };

test('a path that is too long for the protocol is refused with its reason, without asking the server', async () => {
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
  const sent = sendArtifacts(directory, { ask, ...untold });
  await expect(sent).rejects.toMatchObject({
    reason: 'path_refused',
    message: expect.stringContaining('1006 characters'),
  });
  expect(asked).toEqual([]);
});

test('a name that is not text is reported as not kept, and the other files are kept', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'opsconductor-staged-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, 'good'), '');
  await writeFile(Buffer.from(`${directory}/caf\xe9`, 'latin1'), '');
  const [asked, left]: [string[], string[]] = [[], []];
  const ask = async (request: { do: string; name?: string }): Promise<ContentAnswer> => {
    asked.push(`${request.do} ${request.name ?? ''}`.trim());
    return { artifact: { id: 'a', parts: 0 } };
  };
  const sent = sendArtifacts(directory, { ...untold, ask, left: (name) => left.push(shownPath(name)) });
  await expect(sent).rejects.toMatchObject({
    reason: 'path_refused',
    message: expect.stringContaining('"caf\\xe9"'),
  });
  expect(asked).toEqual(['open_artifact good', 'close_artifact']);
  expect(left).toEqual(['"caf\\xe9"']);
});

test('a step gets its directory although somebody has removed the empty folder that it is made in', async () => {
  const above = await mkdtemp(join(tmpdir(), 'opsconductor-staged-'));
  onTestFinished(() => rm(above, { recursive: true }));
  const staged = await StagedArtifacts.open(join(above, 'artifacts'));
  await rm(join(above, 'artifacts'), { recursive: true });
  const { directory, release } = await staged.stage();
  expect((await stat(directory)).isDirectory()).toBe(true);
  await release();
});

test('a directory of artifacts that can not be read is reported with its reason', async () => {
  const sent = sendArtifacts(join(tmpdir(), 'opsconductor-staged-none'), {
    ...untold,
    ask: () => Promise.reject(new Error('asked')),
  });
  await expect(sent).rejects.toMatchObject({ name: 'TransferError', reason: 'path_missing' });
});
