// An agent is killed without warning; what its next process tells the server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type AgentSetup, lease, setup } from '../testing/agent-setup.ts';

const root = resolve(import.meta.dirname, '../../..');
const lines = 20;

// All in one file, since the sources would be compiled again at each start.
beforeAll(async () => {
  const build = await import(join(root, 'scripts/build.mjs'));
  await (build as { buildKilledAgent(): Promise<void> }).buildKilledAgent();
});

async function killInMidOutput(t: AgentSetup): Promise<Buffer[]> {
  const program = join(root, '.cache/build/killed-agent.mjs');
  const child = spawn(process.execPath, [program, t.directory.data.root], { stdio: 'inherit' });
  try {
    const { connection } = await t.server.nextSession();
    connection.send({ type: 'leases', leases: [lease(1, { config: { lines } })] });
    const chunks: Buffer[] = [];
    while (chunks.length < lines) chunks.push(Buffer.from((await connection.nextFrame()).bytes));
    return chunks;
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

test('a step that ran in a killed process is reported unknown, after the output that it had printed', async () => {
  await using t = await setup();
  const chunks = await killInMidOutput(t);
  await t.start();
  const { connection, resume } = await t.server.nextSession({
    verdict: ({ step, epoch }) => ({ step, epoch, verdict: 'continue', ackedSeq: 5 }),
  });
  expect(resume.journalIntact).toBe(true);
  expect(resume.attempts).toEqual([
    { step: 1, epoch: 1, leaseToken: lease(1).leaseToken, state: 'interrupted', lastSeq: lines },
  ]);
  for (let seq = 6; seq <= lines; seq++) {
    const frame = await connection.nextFrame();
    expect(frame.seq).toBe(seq);
    expect(Buffer.from(frame.bytes).equals(chunks[seq - 1] ?? Buffer.alloc(0))).toBe(true);
  }
  const complete = await connection.next('complete');
  expect(complete.outcome).toMatchObject({ status: 'unknown', reason: 'agent_restarted' });
  expect(complete.output).toMatchObject({ lastSeq: lines, gaps: [] });
});

test('a second restart reports under the same request id', async () => {
  await using t = await setup();
  await killInMidOutput(t);
  const second = await t.start();
  const { connection } = await t.server.nextSession();
  const complete = await connection.next('complete');
  await second.stop();
  await t.start();
  const third = await t.server.nextSession();
  expect(third.resume.attempts).toMatchObject([{ state: 'interrupted' }]);
  expect(await third.connection.next('complete')).toEqual(complete);
});

test('chunks that the server has and the disk lost are reported as a gap', async () => {
  await using t = await setup();
  await killInMidOutput(t);
  const spool = join(t.directory.data.spool, '1-1');
  await truncate(spool, (await readFile(spool)).length - 1);
  await t.start();
  const { connection, resume } = await t.server.nextSession({
    verdict: ({ step, epoch }) => ({ step, epoch, verdict: 'continue', ackedSeq: lines }),
  });
  expect(resume.attempts).toMatchObject([{ lastSeq: lines - 1 }]);
  const { output } = await connection.next('complete');
  expect(output).toMatchObject({ lastSeq: lines, gaps: [[lines, lines]] });
});

test('an interrupted attempt whose output can not be read is reported with a gap, alike by each start', async () => {
  await using t = await setup();
  await killInMidOutput(t);
  const { spool } = t.directory.data;
  await rm(join(spool, '1-1'));
  await mkdir(join(spool, '1-1'));
  const second = await t.start();
  const { connection } = await t.server.nextSession();
  const complete = await connection.next('complete');
  expect(complete.output).toMatchObject({ lastSeq: 1, gaps: [[1, 1]] });
  const [aside = 'none', ...others] = await readdir(spool);
  expect(aside).toMatch(/^1-1\.unreadable-/);
  expect(others).toEqual([]);
  expect(complete.outcome).toMatchObject({ status: 'unknown', reason: 'agent_restarted' });
  expect(complete.outcome.message).toMatch(/can’t read the output.*\(EISDIR\)/);
  expect(complete.outcome.message).toContain(aside);
  await second.stop();
  await t.start();
  const third = await t.server.nextSession();
  expect(await third.connection.next('complete')).toEqual(complete);
  expect(await readdir(spool)).toEqual([aside]);
});

test('a damaged journal is reported until a server has heard of it', async () => {
  await using t = await setup();
  await killInMidOutput(t);
  const journal = await readFile(t.directory.data.journal, 'utf8');
  await appendFile(t.directory.data.journal, `00000000 {"is":"settled"}\n${journal}`);
  const second = await t.start();
  const { resume } = await t.server.nextSession();
  expect(resume.journalIntact).toBe(false);
  await second.connected;
  await second.stop();
  await t.start();
  expect((await t.server.nextSession()).resume.journalIntact).toBe(true);
});

test('what a killed process did not finish writing is gone after the next start, and what others may be writing is not', async () => {
  await using t = await setup();
  const { root, segmentKeys, journal, signingKey, nextKeys } = t.directory.data;
  const unfinished = (path: string) => `${path}.0123456789ab.tmp`;
  const left = [journal, signingKey, join(segmentKeys, '1.key')].map(unfinished);
  for (const path of [...left, unfinished(nextKeys)]) await writeFile(path, '');
  await t.start();
  const names = [...(await readdir(root)), ...(await readdir(segmentKeys))];
  expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([basename(unfinished(nextKeys))]);
});

test('a missing journal is not mistaken for an empty one', async () => {
  await using t = await setup();
  const first = await t.start();
  await t.server.nextSession();
  await first.connected;
  await first.stop();
  await rm(t.directory.data.journal);
  await t.start();
  expect((await t.server.nextSession()).resume.journalIntact).toBe(false);
});

test('an agent starts beside a directory in its spool, and leaves that alone', async () => {
  await using t = await setup();
  await mkdir(join(t.directory.data.spool, 'lost+found'));
  await writeFile(join(t.directory.data.spool, '9-1'), 'of an attempt that is settled');
  await t.start();
  await t.server.nextSession();
  expect(await readdir(t.directory.data.spool)).toEqual(['lost+found']);
});
