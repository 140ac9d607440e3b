// What the harness freezes must stand still, and go on afterwards: otherwise a round would pass without its fault.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../server/src/store/database/connection.ts';
import { FaultDatabase } from './fault-database.ts';
import { Program } from './program.ts';
import { isFrozen, standsStill, stateOf } from './waiting.ts';

async function setupDatabase(): Promise<FaultDatabase> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-freeze-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
  const database = await FaultDatabase.start(dir, () => undefined);
  onTestFinished(() => database.stop());
  return database;
}

/** A program that prints its pid and then a line each time it is sent SIGUSR2. */
async function setupProgram(): Promise<{ program: Program; pid: number }> {
  const script =
    "process.on('SIGUSR2', () => console.log('here')); setInterval(() => {}, 1000); console.log('ready', process.pid)";
  const program = new Program({
    name: 'program',
    args: ['-e', script],
    env: {},
    ready: /ready/,
    cwd: tmpdir(),
  });
  onTestFinished(() => program.kill());
  await program.start();
  return { program, pid: Number(/ready (\d+)/.exec(program.log)?.[1]) };
}

test('all of a frozen PostgreSQL stands still until it goes on, although clients connect all the time', async () => {
  const database = await setupDatabase();
  let isOver = false;
  let answers = 0;
  // Each connection is a process that PostgreSQL forks, also while it is being frozen.
  const each = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      const sql = connect(database.urlThrough(database.port), { max: 1 });
      await sql`select 1`;
      answers += 1;
      await sql.end({ timeout: 1 });
    }
  });
  const clients = Promise.all(each);
  onTestFinished(async () => {
    isOver = true;
    await database.thaw();
    await clients;
  });
  for (let round = 0; round < 10; round += 1) {
    const before = answers;
    await expect.poll(() => answers, { interval: 1 }).toBeGreaterThan(before + 4);
    await database.freeze();
    const pids = database.pids();
    expect(pids.length).toBeGreaterThan(5);
    expect(pids.filter((pid) => !standsStill(pid))).toEqual([]);
    await database.thaw();
    expect(database.pids().filter(isFrozen)).toEqual([]);
  }
});

test('a frozen program does nothing until it goes on', async () => {
  const { program, pid } = await setupProgram();
  expect(await program.freeze()).toBe(true);
  expect(stateOf(pid)).toBe('T');
  process.kill(pid, 'SIGUSR2');
  expect(stateOf(pid)).toBe('T');
  expect(program.log).not.toContain('here');
  await program.thaw();
  await expect.poll(() => program.log).toContain('here');
});

test('a program that is not running is not said to have been frozen, and one killed meanwhile is not waited for', async () => {
  const { program } = await setupProgram();
  expect(await program.freeze()).toBe(true);
  await program.kill();
  await program.thaw();
  expect(await program.freeze()).toBe(false);
});
