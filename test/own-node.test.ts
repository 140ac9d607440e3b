// The Node.js that comes with the packages: npm's scripts run on it wherever it can run, and on the machine's otherwise.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { machineNode } from './support/machine-node.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: { postinstall: string };
  optionalDependencies: Record<string, string>;
};
const shipped = manifest.optionalDependencies[`node-${process.platform}-${process.arch}`];
let folder: string;
let program: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-node-'));
  program = join(folder, 'node_modules/.bin/node');
  await mkdir(join(folder, 'node_modules/.bin'), { recursive: true });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** As npm runs it: in the folder of package.json, with the programs of the packages first. */
function afterInstall() {
  const PATH = [join(folder, 'node_modules/.bin'), process.env['PATH']].join(delimiter);
  return run('sh', ['-c', manifest.scripts.postinstall], { cwd: folder, env: { PATH } });
}

test('all platforms get the same version', () => {
  expect(new Set(Object.values(manifest.optionalDependencies)).size).toBe(1);
});

test('npm’s scripts run on it', async ({ skip }) => {
  if (shipped === undefined) skip(`none comes for ${process.platform} on ${process.arch}`);
  const { stdout } = await run('npm', ['exec', '-c', 'node --version'], { cwd: root });
  expect(stdout.trim()).toBe(`v${shipped}`);
});

test('one that can run stays', async () => {
  await symlink(machineNode(), program);
  const { stdout } = await afterInstall();
  expect(stdout).toMatch(/^v\d+\.\d+\.\d+\n$/);
  expect(existsSync(program)).toBe(true);
});

test('one that can’t run is taken away, so that npm’s scripts find the machine’s', async () => {
  // As where the C library is too old.
  await writeFile(program, '#!/bin/sh\necho "version GLIBC_2.28 not found" >&2\nexit 1\n', { mode: 0o755 });
  const { stdout } = await afterInstall();
  expect(stdout).toBe('The Node.js that was installed cannot run here. This machine has to use its own.\n');
  expect(existsSync(program)).toBe(false);
});

test('one whose loader doesn’t exist, as on musl, is passed over by the shell', async () => {
  await writeFile(program, '#!/nowhere/ld-linux-x86-64.so.2\n', { mode: 0o755 });
  const { stdout } = await afterInstall();
  expect(stdout).toMatch(/^v\d+\.\d+\.\d+\n$/);
});

test('agents of the tests run on the machine’s, not on one of the packages', async () => {
  await mkdir(join(folder, 'bin'));
  for (const place of [program, join(folder, 'bin/node')]) {
    await writeFile(place, '', { mode: 0o755 });
  }
  const path = [join(folder, 'node_modules/.bin'), join(folder, 'bin')].join(delimiter);
  expect(machineNode(path)).toBe(join(folder, 'bin/node'));
  expect(machineNode(join(folder, 'node_modules/.bin'))).toBe(process.execPath);
});
