import { randomBytes } from 'node:crypto';
import { mkdir, readdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { startOfOutput } from '@opsconductor/protocol';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { Journal } from '../../journal/journal.ts';
import type { JournalRecord } from '../../journal/journal-record.ts';
import { Spool } from '../../spool/spool.ts';
import { SpooledChunks } from '../../spool/spooled-chunks.ts';
import { lease, rendering } from '../../testing/agent-setup.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { machineTimeBefore } from '../../timing/machine-time.ts';
import { AttemptOutputs } from './attempt-outputs.ts';
import { recoverAttempts } from './recover-attempts.ts';

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, unlink: vi.fn(real.unlink) };
});

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const spoolFolder = join(path, 'spool');
  await mkdir(spoolFolder);
  const log = pino({ level: 'silent' });
  const journal = await Journal.open(join(path, 'journal'), { expected: false });
  const outputs = new AttemptOutputs({
    spoolFolder,
    spareSpool: join(path, 'spare'),
    disk: { outputRefused: () => undefined, measure: async () => undefined },
    onStored: () => undefined,
    makeRoom: async () => false,
    monotonicMs: () => 0,
    log,
  });
  return {
    journal,
    spoolFolder,
    recover: () => recoverAttempts({ journal, spoolFolder, outputs, log }),
    async [Symbol.asyncDispose]() {
      await journal.close();
      await remove();
    },
  };
}

const starting = (step: number, more: object = {}): JournalRecord => ({
  is: 'starting',
  step,
  epoch: 1,
  leaseToken: `t${step}`,
  at: '2026-01-01T00:00:00.000Z',
  ...more,
});

const finished = (step: number, lastSeq: number): JournalRecord => ({
  is: 'finished',
  step,
  epoch: 1,
  requestId: `r${step}`,
  interrupted: false,
  outcome: { status: 'succeeded', exitCode: 0 },
  output: { lastSeq, rawBytes: lastSeq, truncated: false },
});

test('a command is as old as the machine’s own clock says, whatever its wall clock was set to', async () => {
  await using t = await setup();
  const at = new Date(Date.now() - 3_600_000).toISOString();
  await t.journal.durable(starting(1, { at, ...machineTimeBefore(5_000), survives: lease(1) }));
  await t.journal.durable(starting(2, { at, survives: lease(2) }));
  const ages = (await t.recover()).map(({ survivingSinceMs = 0 }) => performance.now() - survivingSinceMs);
  for (const [age, ms] of [
    [ages[0], 5_000],
    [ages[1], 3_600_000],
  ] as const) {
    expect(age).toBeGreaterThanOrEqual(ms);
    expect(age).toBeLessThan(ms + 60_000);
  }
});

test('output that can’t be read costs its own attempt a gap, and the others nothing', async () => {
  await using t = await setup();
  for (const step of [1, 2, 3]) await t.journal.durable(starting(step));
  for (const [step, chunks] of [
    [1, 3],
    [2, 0],
    [3, 0],
  ] as const)
    await t.journal.durable(finished(step, chunks));
  await t.journal.durable(starting(4, { survives: lease(4) }));
  for (const step of [1, 2, 4]) await mkdir(join(t.spoolFolder, `${step}-1`));
  const [withOutput, without, other, surviving] = await t.recover();
  expect(withOutput).toMatchObject({
    state: 'finished',
    completion: {
      requestId: 'r1',
      outcome: { status: 'succeeded', exitCode: 0, message: expect.stringContaining('1-1.unreadable-') },
      output: { lastSeq: 3, gaps: [[1, 3]] },
    },
  });
  // The one printed nothing, so nothing is missing. The other has no file.
  for (const attempt of [without, other]) {
    expect(attempt?.completion?.outcome).toEqual({ status: 'succeeded', exitCode: 0 });
    expect(attempt?.completion?.output.gaps).toEqual([]);
  }
  // It is read again from the target, into a new file.
  expect(surviving).toMatchObject({ state: 'running', toReattach: true });
  surviving?.output.write('stdout', Buffer.from('again'));
  await surviving?.output.close();
  expect(surviving?.output.failure).toBeUndefined();
  const told = withOutput?.completion;
  for (const { output } of [withOutput, without, other, surviving].filter((held) => held !== undefined))
    await output.suspend();
  const names = (await readdir(t.spoolFolder)).map((name) => name.replace(/-\d{10,}$/, '-<time>'));
  expect(names.sort()).toEqual([
    '1-1.unreadable-<time>',
    '2-1.unreadable-<time>',
    '4-1',
    '4-1.unreadable-<time>',
  ]);
  // A later process says the same under the same request id, and still removes nothing that was set aside.
  const [again] = await t.recover();
  expect(again?.completion).toEqual(told);
  expect(await readdir(t.spoolFolder)).toHaveLength(4);
});

test('output whose beginning the server has, and the disk no longer, is continued without a gap', async () => {
  await using t = await setup();
  await t.journal.durable(starting(1));
  await t.journal.durable(finished(1, 4));
  const spool = Spool.create(join(t.spoolFolder, '1-1'), { partBytes: 1 });
  const chunks = new SpooledChunks(spool);
  for (const seq of [1, 2, 3, 4]) {
    const header = { stream: 'stdout', step: 1, epoch: 1, elapsedMs: 0, seq, rawLength: 1 } as const;
    await chunks.append([{ header, bytes: gzipSync('x') }]);
  }
  chunks.acknowledge(2);
  await chunks.release();
  await chunks.close();
  await writeFile(join(t.spoolFolder, '9-1.2'), '');
  const [attempt] = await t.recover();
  expect(attempt?.completion?.output).toEqual({
    ...{ lastSeq: 4, rawBytes: 4, truncated: false, gaps: [] },
    digest: chunks.digest,
  });
  await attempt?.output.suspend();
  expect((await readdir(t.spoolFolder)).sort()).toEqual(['1-1.3', '1-1.4']);
});

test('a file that no attempt needs and that can’t be removed keeps no attempt from being recovered', async () => {
  await using t = await setup();
  await t.journal.durable(starting(1));
  for (const name of ['8-1', '9-1']) await writeFile(join(t.spoolFolder, name), '');
  vi.mocked(unlink).mockRejectedValueOnce(new Error('EIO'));
  expect(await t.recover()).toHaveLength(1);
  expect(await readdir(t.spoolFolder)).toHaveLength(1);
});

test('a command that was taken over is continued after what the other agent has sent, also if nothing came since', async () => {
  await using t = await setup();
  const output = { seq: 7, rawBytes: 70, digest: Buffer.alloc(32, 1).toString('base64') };
  const takenOver = { collector: 2, output: { ...output, position: startOfOutput } };
  await t.journal.durable(starting(1, { survives: lease(1), takenOver }));
  const [attempt] = await t.recover();
  const { lastSeq: seq, rawBytes, digest } = attempt?.output ?? {};
  expect({ seq, rawBytes, digest }).toEqual(output);
  await attempt?.output.suspend();
});

test.each([
  ['stays', { result: { pattern: 'result=(.*)' } }],
  ['may go', { result: { file: true } }],
] as const)(
  'what a command has printed %s after a restart, with the outputs %j to be read',
  async (verdict, outputs) => {
    await using t = await setup();
    await t.journal.durable(starting(1, { survives: lease(1, { rendering: rendering({ outputs }) }) }));
    const chunks = new SpooledChunks(Spool.create(join(t.spoolFolder, '1-1')));
    const raw = randomBytes(100_000);
    const header = {
      stream: 'stdout',
      step: 1,
      epoch: 1,
      elapsedMs: 0,
      seq: 1,
      rawLength: raw.length,
    } as const;
    await chunks.append([{ header, bytes: gzipSync(raw) }]);
    await chunks.close();
    const [attempt] = await t.recover();
    attempt?.output.acknowledge(1);
    expect((await attempt?.output.release()) === 0).toBe(verdict === 'stays');
    await attempt?.output.suspend();
  },
);
