import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeDemoKeys } from './demo-keys.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'demo-keys-'));
});
afterEach(() => rm(folder, { recursive: true }));

const files = ['client-key', 'client-key.pub', 'host-key'];
const contents = () => Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
const areKeys = (texts: readonly string[]) =>
  texts.every((text) => !(ssh2.utils.parseKey(text) instanceof Error));

it('keys are made once, for their owner alone', async () => {
  await makeDemoKeys(folder);
  const made = await contents();
  expect(areKeys(made)).toBe(true);
  expect((await readdir(folder)).sort()).toEqual(files);
  for (const name of files) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
  await makeDemoKeys(folder);
  expect(await contents()).toEqual(made);
});

it.each([
  ['the first of them', ['host-key']],
  ['the last of them', files],
])('keys are made again after a start that was cut off as it wrote %s', async (_, begun) => {
  for (const name of begun) await writeFile(join(folder, name), '');
  await makeDemoKeys(folder);
  expect(areKeys(await contents())).toBe(true);
});
