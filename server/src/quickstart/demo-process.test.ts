import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { DemoProcess } from './demo-process.ts';

async function started(script: string): Promise<DemoProcess> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-demo-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const log = pino({ level: 'silent' });
  const file = join(dir, 'log');
  const process = new DemoProcess({
    ...{ name: 'one', args: ['-e', script], pidFile: join(dir, 'pid'), logFile: file, log },
  });
  await process.start();
  await expect.poll(() => readFile(file, 'utf8'), { timeout: 10_000 }).toContain('up');
  return process;
}

test('whoever stops a process that has something to finish is told how long that may take', async () => {
  const told: number[] = [];
  const busy = `process.on('SIGTERM', () => setTimeout(() => process.exit(0), 2_500)); setInterval(() => {}, 1e6); console.log('up')`;
  await (await started(busy)).stop((graceMs) => told.push(graceMs));
  expect(told).toEqual([8_500]);
  await (await started(`setInterval(() => {}, 1e6); console.log('up')`)).stop((graceMs) =>
    told.push(graceMs),
  );
  expect(told).toHaveLength(1);
});
