import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';

const repository = resolve(import.meta.dirname, '..');

/** A checkout in which a program that does nothing is built. Another user runs it, if that is possible. */
async function setup() {
  const root = await mkdtemp(join(tmpdir(), 'opsconductor-start-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  await chmod(root, 0o755);
  await cp(join(repository, 'scripts'), join(root, 'scripts'), { recursive: true });
  for (const folder of ['server', 'protocol', 'agent', 'ui']) await mkdir(join(root, folder));
  await writeFile(join(root, 'package-lock.json'), '{}');
  await mkdir(join(root, '.cache/build'), { recursive: true });
  const esbuild = join(root, 'node_modules/esbuild');
  await mkdir(esbuild, { recursive: true });
  await writeFile(join(esbuild, 'package.json'), '{"type":"module","exports":"./index.js"}');
  await writeFile(
    join(esbuild, 'index.js'),
    // The real one, told to write, ends with an error that is none of the system's.
    `export const build = async ({ outfile, write }) => {
      if (write !== false) throw new Error('Build failed: ' + outfile + ': permission denied');
      return { outputFiles: [{ path: outfile, contents: 'process.exit(5)' }] };
    };`,
  );
  return {
    root,
    built: join(root, '.cache/build'),
    packages: join(root, 'node_modules'),
    run: (script: string, ...args: string[]) => {
      const isRoot = process.geteuid?.() === 0;
      const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts', script), ...args], {
        encoding: 'utf8',
        cwd: '/',
        ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
      });
      return { status, stderr };
    },
  };
}

test('packages that are missing are reported in one sentence', async () => {
  const t = await setup();
  await rm(t.packages, { recursive: true });
  const { status, stderr } = t.run('build.mjs');
  expect(status).toBe(1);
  expect(stderr.trim()).toMatch(/^Cannot find package 'esbuild' .*Run npm ci in .* with umask 022\.$/);
});

test.each([['the server', '--help'], ['the agent']])(
  'a start by a user who may not build %s, which is outdated, says who has to',
  async (_, ...args) => {
    const t = await setup();
    await chmod(t.built, 0o555);
    const { status, stderr } = t.run('start.mjs', ...args);
    expect(status).toBe(1);
    expect(stderr.trim()).toMatch(
      /What is built is older than its sources, and this user may not write .* Run node scripts\/build\.mjs in .* as the user who owns it, as after each upgrade\.$/,
    );
  },
);

test('a program that was built with a strict umask is reported with what to do', async () => {
  const t = await setup();
  await chmod(t.built, 0o777);
  // Its program ends with 5.
  expect(t.run('start.mjs', '--help').status).toBe(5);
  await chmod(join(t.built, 'server.mjs'), 0o000);
  const { status, stderr } = t.run('start.mjs', '--help');
  expect(status).toBe(1);
  expect(stderr.trim()).toMatch(/^This user may not read .*server\.mjs\. .* with umask 022\.$/);
});
