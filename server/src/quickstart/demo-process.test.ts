import { writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { DemoProcess } from './demo-process.ts';

async function setup() {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-demo-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const logged: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line) => void logged.push(line) });
  return {
    logged,
    file: (name: string) => join(dir, name),
    started: async (
      script: string,
      quickMs: number,
      more: { pidFile?: string; restartMs?: number; args?: string[] } = {},
    ) => {
      const args = ['-e', `${script}; setInterval(() => {}, 1e6); console.log('up')`];
      const logFile = join(dir, 'log');
      const process = new DemoProcess({
        name: 'one',
        args,
        pidFile: join(dir, 'pid'),
        logFile,
        log,
        quickMs,
        ...more,
      });
      await process.start();
      await expect.poll(() => readFile(logFile, 'utf8'), { timeout: 10_000 }).toContain('up');
      return process;
    },
  };
}

test('stopping a process that has something to finish reports how long that may take', async () => {
  const t = await setup();
  const finish = t.file('finish');
  const busy = `process.on('SIGTERM', () => setInterval(() => fs.existsSync(${JSON.stringify(finish)}) && process.exit(0), 20))`;
  const told: number[] = [];
  const process = await t.started(busy, 100);
  await process.stop((graceMs) => {
    told.push(graceMs);
    writeFileSync(finish, '');
  });
  expect(told).toEqual([9_900]);
});

test('stopping a process that has nothing to finish reports nothing', async () => {
  const t = await setup();
  const told: number[] = [];
  const process = await t.started('0', 9_000);
  await process.stop((graceMs) => told.push(graceMs));
  expect(told).toEqual([]);
});

test('a process that can’t be restarted is retried until it can, without ending anything else', async () => {
  const t = await setup();
  const folder = t.file('folder');
  const pidFile = join(folder, 'pid');
  await mkdir(folder);
  const demo = await t.started('0', 9_000, { pidFile, restartMs: 2 });
  onTestFinished(() => demo.stop());
  const pid = Number(await readFile(pidFile, 'utf8'));
  // As if the disk were full.
  await rm(folder, { recursive: true });
  process.kill(pid, 'SIGKILL');
  const failed = () => t.logged.filter((line) => line.includes('could not be started')).length;
  await expect.poll(failed, { timeout: 10_000 }).toBeGreaterThan(22);
  await mkdir(folder);
  const again = async () => Number(await readFile(pidFile, 'utf8').catch(() => 0));
  await expect.poll(again, { timeout: 10_000 }).toBeGreaterThan(0);
  expect(await again()).not.toBe(pid);
});

test('a process that ends soon after each start is restarted a limited number of times, and giving up is reported', async () => {
  const t = await setup();
  // Node.js says that it doesn't know this option, long before it could run a script.
  const demo = await t.started('', 9_000, { restartMs: 1, args: ['--up'] });
  onTestFinished(() => demo.stop());
  const last = () => t.logged.at(-1) ?? '';
  await expect.poll(last, { timeout: 30_000 }).toContain('it is not started again');
  expect(t.logged.filter((line) => line.includes('it is started again'))).toHaveLength(20);
});
