import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { utimesSync } from 'node:fs';
import fs, { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { lockDirectory, lockHolder } from './directory-lock.ts';
import { createDurably } from './durable-file.ts';

// What other processes import, each of which would need a fifth of a second of processor time to compile it.
let compiled: Awaited<ReturnType<typeof temporaryDirectory>>;
const compiledLock = () => JSON.stringify(join(compiled.path, 'directory-lock.mjs'));
beforeAll(async () => {
  compiled = await temporaryDirectory();
  await build({
    entryPoints: [join(import.meta.dirname, 'directory-lock.ts')],
    outfile: join(compiled.path, 'directory-lock.mjs'),
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'error',
  });
});
afterAll(() => compiled.remove());

async function setup() {
  const { path, remove } = await temporaryDirectory();
  return { path: join(path, 'lock'), [Symbol.asyncDispose]: remove };
}

test('a directory is held by one agent at a time', async () => {
  await using t = await setup();
  const lock = await lockDirectory(t.path);
  expect(await lockHolder(t.path)).toBe(process.pid);
  await expect(lockDirectory(t.path)).rejects.toThrow(`process ${process.pid}`);
  const released = lock.release();
  await expect(lockDirectory(t.path)).rejects.toThrow(`process ${process.pid}`);
  await released;
  expect(await lockHolder(t.path)).toBeUndefined();
  await (await lockDirectory(t.path)).release();
});

test('the lock of a dead process is taken over', async () => {
  await using t = await setup();
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  await writeFile(t.path, `${child.pid} boot 1`);
  await (await lockDirectory(t.path)).release();
});

test.runIf(process.platform === 'linux')(
  'a process id that now belongs to another process holds nothing',
  async () => {
    await using t = await setup();
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume()']);
    await once(child, 'spawn');
    await writeFile(t.path, `${child.pid} another-boot 1`);
    expect(await lockHolder(t.path)).toBeUndefined();
    child.stdin.end();
    await once(child, 'exit');
  },
);

/** Leaves the lock of an agent in another container, whose process has the id of this one. */
async function lockedElsewhere(lock: string): Promise<void> {
  const claim = `${lock}.of-000000000001-abcdef`;
  await writeFile(claim, `${process.pid} boot 1`);
  await fs.link(claim, lock);
}

test('the lock of an agent in another container is taken over only if nobody touches it', async () => {
  await using t = await setup();
  await lockedElsewhere(t.path);
  expect(await lockHolder(t.path)).toBe(process.pid);
  const touch = () => utimesSync(t.path, 1, 1);
  await expect(lockDirectory(t.path, { silentAfterMs: 1, onWait: touch })).rejects.toThrow(
    `process ${process.pid}`,
  );
  expect(await lockHolder(t.path)).toBeUndefined();
  let waits = 0;
  const onWait = () => {
    waits += 1;
  };
  const lock = await lockDirectory(t.path, { silentAfterMs: 1, onWait });
  expect(waits).toBe(1);
  await lock.release();
  expect(await readdir(dirname(t.path))).toEqual([]);
});

test('whoever holds a directory touches the lock, and learns of one that has taken its place, which is not touched', async () => {
  await using t = await setup();
  let isLost = false;
  const onLost = () => {
    isLost = true;
  };
  const lock = await lockDirectory(t.path, { onLost });
  onTestFinished(() => lock.release());
  const touchedAt = async () => (await stat(t.path)).mtimeMs;
  utimesSync(t.path, 1, 1);
  await vi.waitFor(async () => expect(await touchedAt()).toBeGreaterThan(1_000), { timeout: 20_000 });
  expect(isLost).toBe(false);
  const taken = `${t.path}.taken`;
  await writeFile(taken, 'of another');
  utimesSync(taken, 1, 1);
  await rename(taken, t.path);
  await vi.waitFor(() => expect(isLost).toBe(true), { timeout: 20_000 });
  expect(await touchedAt()).toBe(1_000);
  await lock.release();
  expect(await readFile(t.path, 'utf8')).toBe('of another');
});

test('whoever holds a directory learns that another has held it meanwhile, and makes up for a file that only went missing', async () => {
  await using t = await setup();
  let isLost = false;
  const onLost = () => {
    isLost = true;
  };
  const lock = await lockDirectory(t.path, { onLost });
  const claims = async () => (await readdir(dirname(t.path))).filter((name) => name.startsWith('lock.of-'));
  const [claim = ''] = await claims();
  await rm(join(dirname(t.path), claim));
  await vi.waitFor(async () => expect(await claims()).toEqual([claim]), { timeout: 20_000 });
  expect(isLost).toBe(false);
  await rm(t.path);
  await rm(join(dirname(t.path), claim));
  await vi.waitFor(() => expect(isLost).toBe(true), { timeout: 20_000 });
  await lock.release();
});

test.runIf(process.platform === 'linux')(
  'a process that has ended holds nothing, although nobody has asked how it ended',
  async () => {
    await using t = await setup();
    // What the shell has started has a parent afterwards that asks about no child.
    const child = spawn('sh', ['-c', 'cat <&3 & echo $!; exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [told] = (await once(child.stdio[1] as Readable, 'data')) as [Buffer];
    await expect.poll(() => readFile(`/proc/${child.pid}/comm`, 'utf8')).toBe('cat\n');
    (child.stdio[3] as Writable).end();
    const pid = Number(told.toString());
    const stat = () => readFile(`/proc/${pid}/stat`, 'utf8').then((text) => text.split(') ')[1]?.split(' '));
    await expect.poll(async () => (await stat())?.[0]).toBe('Z');
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    await writeFile(t.path, `${pid} ${boot} ${(await stat())?.[19]}`);
    expect(await lockHolder(t.path)).toBeUndefined();
    await (await lockDirectory(t.path)).release();
  },
);

test.each([
  ['', ''],
  [
    ', without hard links',
    `const fs = (await import('node:fs/promises')).default;
    fs.link = () => Promise.reject(Object.assign(new Error('EPERM'), { code: 'EPERM' }));
    (await import('node:module')).syncBuiltinESMExports();`,
  ],
])(
  'of agents that take a lock over at the same time one gets it, and no files of the others are left%s',
  async (_, setting) => {
    await using t = await setup();
    const program = `
    import { createInterface } from 'node:readline';
    ${setting}
    const { lockDirectory } = await import(${compiledLock()});
    let lock;
    console.log('ready');
    for await (const line of createInterface({ input: process.stdin })) {
      if (line === 'release') await lock?.release();
      else lock = await lockDirectory(${JSON.stringify(t.path)}).catch((error) => console.log(error.message));
      console.log(line === 'lock' && lock !== undefined ? 'held' : 'done');
    }
  `;
    const agents = Array.from({ length: 6 }, () => {
      const args = ['--input-type=module', '--eval', program];
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      return { child, line: async () => (await lines.next()).value as string };
    });
    try {
      for (const { line } of agents) expect(await line()).toBe('ready');
      for (let round = 0; round < 20; round += 1) {
        // From a machine that lost power, and from an earlier version that was cut off in the middle of writing it.
        await writeFile(t.path, round % 2 === 0 ? '999999999 boot 1' : '');
        for (const { child } of agents) child.stdin.write('lock\n');
        const said = await Promise.all(
          agents.map(async ({ line }) => {
            const first = await line();
            return first === 'held' ? first : [first, await line()].join(' ');
          }),
        );
        const others = said.filter((each) => each !== 'held');
        expect(others).toHaveLength(agents.length - 1);
        for (const each of others) expect(each).toMatch(/^Another agent \(process \d+\) uses .* done$/);
        const files = await readdir(dirname(t.path));
        expect(files).toEqual(setting === '' ? ['lock', expect.stringMatching(/^lock\.of-/)] : ['lock']);
        for (const { child } of agents) child.stdin.write('release\n');
        for (const { line } of agents) expect(await line()).toBe('done');
        expect(await lockHolder(t.path)).toBeUndefined();
      }
    } finally {
      for (const { child } of agents) {
        child.stdin.end();
        if (child.exitCode === null) await once(child, 'exit');
      }
    }
  },
  60_000,
);

test('agents that take a lock over at the same time on a slow disk do not give up on it', async () => {
  await using t = await setup();
  const program = `
    const fs = (await import('node:fs/promises')).default;
    for (const name of ['open', 'readFile', 'readdir', 'stat', 'rm', 'link', 'unlink', 'utimes', 'rename', 'writeFile']) {
      const quick = fs[name];
      fs[name] = (path, ...more) => String(path).startsWith('/proc/') ? quick(path, ...more)
        : new Promise((done) => setTimeout(done, 300)).then(() => quick(path, ...more));
    }
    (await import('node:module')).syncBuiltinESMExports();
    const { lockDirectory } = await import(${compiledLock()});
    console.log('ready');
    process.stdin.once('data', async () => {
      const lock = await lockDirectory(${JSON.stringify(t.path)}).catch((error) => console.log(error.message));
      if (lock !== undefined) console.log('held');
      process.stdin.once('data', async () => {
        await lock?.release();
        process.exit();
      });
    });
  `;
  const agents = Array.from({ length: 6 }, () => {
    const args = ['--input-type=module', '--eval', program];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, line: async () => (await lines.next()).value as string };
  });
  for (const { line } of agents) expect(await line()).toBe('ready');
  await writeFile(t.path, '999999999 boot 1');
  for (const { child } of agents) child.stdin.write('lock');
  const said = await Promise.all(agents.map(({ line }) => line()));
  for (const { child } of agents) child.stdin.write('end');
  await Promise.all(agents.map(({ child }) => child.exitCode === null && once(child, 'exit')));
  expect(said.filter((each) => each === 'held')).toHaveLength(1);
  for (const each of said.filter((one) => one !== 'held'))
    expect(each).toMatch(/^Another agent \(process \d+\) uses /);
}, 120_000);

test('a directory is held on a file system without hard links, too', async () => {
  await using t = await setup();
  const without = vi
    .spyOn(fs, 'link')
    .mockRejectedValue(Object.assign(new Error('EPERM'), { code: 'EPERM' }));
  syncBuiltinESMExports();
  onTestFinished(() => {
    without.mockRestore();
    syncBuiltinESMExports();
  });
  await writeFile(t.path, '');
  const lock = await lockDirectory(t.path);
  expect(await lockHolder(t.path)).toBe(process.pid);
  expect(await readdir(dirname(t.path))).toEqual(['lock']);
  await lock.release();
  await expect(createDurably(join(dirname(t.path), 'key'), 'x')).rejects.toMatchObject({
    message: expect.stringMatching(/key can’t be made: its file system has no hard links\.$/),
    fix: expect.stringContaining('ext4'),
  });
  expect(await readdir(dirname(t.path))).toEqual([]);
});
