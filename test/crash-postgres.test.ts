// The embedded PostgreSQL dies under the running server: as a whole, only one of its processes, or together with the
// server.
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeOutputFile } from './support/output-file.ts';
import { setup, type TestSystem } from './support/system.ts';

let t: TestSystem;
beforeAll(async () => {
  t = await setup({ ownPostgres: true });
});
afterAll(() => t?.[Symbol.asyncDispose]());

/** Returns the pid of the PostgreSQL process that serves a connection of the server. */
async function backendPid(): Promise<number> {
  const postmaster = await t.postmasterPid();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent === postmaster && /opsconductor opsconductor 127/.test(command)) return Number(pid);
  }
  throw new Error('the server has no connection');
}

test.each<[string, () => Promise<void>]>([
  ['PostgreSQL is killed', async () => void process.kill(await t.postmasterPid(), 'SIGKILL')],
  ['a process of PostgreSQL is killed', async () => void process.kill(await backendPid(), 'SIGKILL')],
  [
    'PostgreSQL and the server are killed together',
    async () => {
      process.kill(await t.postmasterPid(), 'SIGKILL');
      await t.server.kill9();
      await t.server.start();
    },
  ],
])('output in transit when %s arrives exactly once and complete', async (_, crash) => {
  const file = await writeOutputFile(join(t.sshd.dir, randomUUID()), 24_000_000, 0.5);
  const ran = join(t.sshd.dir, randomUUID());
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([
    `echo first >> ${ran}; head -c 16000000 ${file.path}; ${gate.wait}; tail -c +16000001 ${file.path}`,
    `echo second >> ${ran}; cat ${ran}`,
  ]);
  const [first = 0, second = 0] = stepIds;
  await reader.until(() => reader.bytes > 1_000_000, 'a megabyte');
  const attempt = await t.attempt(id, first);
  await crash();
  await gate.open();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.sha256(first)).toBe(file.sha256);
  expect(reader.text(second)).toBe('first\nsecond\n');
  expect(await t.stored(id, first)).toEqual({ bytes: file.bytes, sha256: file.sha256 });
  expect(await t.steps(id)).toMatchObject([
    { status: 'succeeded', attempt, outputState: 'complete', outputBytes: file.bytes },
    // Its lease may have been lost with the database and made again; its output shows that it ran once.
    { status: 'succeeded', outputState: 'complete' },
  ]);
});
