import { writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { DemoProcess } from './demo-process.ts';

async function setup() {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-demo-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const log = pino({ level: 'silent' });
  return {
    file: (name: string) => join(dir, name),
    started: async (script: string, quickMs: number) => {
      const args = ['-e', `${script}; setInterval(() => {}, 1e6); console.log('up')`];
      const logFile = join(dir, 'log');
      const process = new DemoProcess({
        name: 'one',
        args,
        pidFile: join(dir, 'pid'),
        logFile,
        log,
        quickMs,
      });
      await process.start();
      await expect.poll(() => readFile(logFile, 'utf8'), { timeout: 10_000 }).toContain('up');
      return process;
    },
  };
}

test('whoever stops a process that has something to finish is told how long that may take', async () => {
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

test('whoever stops a process that has nothing to finish is told nothing', async () => {
  const t = await setup();
  const told: number[] = [];
  const process = await t.started('0', 9_000);
  await process.stop((graceMs) => told.push(graceMs));
  expect(told).toEqual([]);
});
