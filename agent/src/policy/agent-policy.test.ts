import { chmod, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { AgentError } from '../agent-error.ts';
import { readPolicy } from './agent-policy.ts';

async function setup() {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'opsconductor-policy-')));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const [data, files, etc] = [join(dir, 'data'), join(dir, 'files'), join(dir, 'etc')];
  for (const each of [data, files, etc]) await mkdir(each);
  const policy = join(etc, 'policy.yaml');
  const read = async (text: string) => {
    await writeFile(policy, text, { mode: 0o644 });
    return readPolicy(policy, data);
  };
  const refusal = async (text: string) => {
    const error = await read(text).catch((reason: unknown) => reason);
    if (error instanceof AgentError) return `${error.message} ${error.fix}`;
    throw new Error(`not refused: ${JSON.stringify(error)}`);
  };
  return { dir, data, files, etc, policy, read, refusal };
}

test('roots are read from YAML or JSON, for writing unless told', async () => {
  const t = await setup();
  const roots = [
    { path: t.files, mayWrite: true },
    { path: t.files, mayWrite: false },
  ];
  const yaml = `file_roots:\n  - ${t.files}/\n  - {path: ${t.files}, access: read}\n`;
  expect(await t.read(yaml)).toEqual({ fileRoots: roots });
  const json = JSON.stringify({ file_roots: [t.files, { path: t.files, access: 'read' }] });
  expect(await t.read(json)).toEqual({ fileRoots: roots });
  expect(await t.read('')).toEqual({ fileRoots: [] });
});

test('what is wrong is told with its place', async () => {
  const t = await setup();
  expect(await t.refusal('file_roots: [relative]')).toContain('file_roots.0');
  expect(await t.refusal('file_rots: []')).toContain('file_roots: a list');
  expect(await t.refusal('a: [')).toContain('neither YAML nor JSON');
  expect(await t.refusal(`file_roots: [${t.dir}/none]`)).toContain('is no directory');
});

test('no root holds the agent’s keys, or the policy itself', async () => {
  const t = await setup();
  for (const path of [t.data, t.dir, join(t.data, '.')])
    expect(await t.refusal(`file_roots: [${path}]`)).toContain('lie in each other');
  expect(await t.refusal(`file_roots: [${t.etc}]`)).toContain('holds the policy file');
  expect(await t.read(`file_roots: [{path: ${t.etc}, access: read}]`)).toMatchObject({ fileRoots: [{}] });
});

test('a file that others may change is refused, and one that is not there', async () => {
  const t = await setup();
  await t.read('');
  await chmod(t.policy, 0o666);
  await expect(readPolicy(t.policy, t.data)).rejects.toThrow('may be changed by others');
  await expect(readPolicy(join(t.etc, 'none'), t.data)).rejects.toThrow('can not be read (ENOENT)');
});
