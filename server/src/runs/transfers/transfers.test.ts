import type { TransferReport } from '@opsconductor/protocol';
import { describe, expect, test } from 'vitest';
import { chunkOf, setupOutput, type TestOutput } from '../output/output-testing.ts';
import { RunKeys } from '../run-keys.ts';
import { endOf, success } from '../testing.ts';
import { listTransfers } from './list-transfers.ts';
import { TransferTaker } from './transfer-taker.ts';

const totals = {
  created: 1,
  changed: 1,
  unchanged: 7,
  deleted: 0,
  failed: 1,
  directories: 2,
  links: 0,
  bytes: 4_200,
};
const report: TransferReport = {
  totals,
  rows: [
    {
      operation: 'upload',
      localPath: '/srv/plain-name-4711',
      bytesTransferred: 0,
      status: 'failed',
      error: 'It is full.',
    },
    {
      operation: 'upload',
      localPath: '/srv/b',
      remotePath: '/opt/b',
      fileSize: 4_200,
      bytesTransferred: 4_200,
      status: 'completed',
      startedAt: '2026-11-27T08:00:00.000Z',
      completedAt: '2026-11-27T08:00:02.000Z',
    },
    {
      operation: 'delete',
      remotePath: '/opt/c',
      bytesTransferred: 0,
      status: 'completed',
      startedAt: 'no time',
    },
  ],
};
const upload = { type: 'sftp.upload', config: { local_path: '/srv/b', remote_path: '/opt/b' } } as const;
const ssh = { sessionId: 'a-session', establishedAt: '2026-11-27T08:00:00.000Z', reused: false };

async function setup() {
  const t = await setupOutput();
  await t.connect(t.agent, { capabilities: [upload.type] });
  const runId = await t.start({ rules: [upload] });
  const step = await t.claimOne();
  const taker = new TransferTaker(t);
  const attempt = { stepId: step.id, epoch: step.epoch };
  const transfers = await taker.take(attempt, report);
  const end = { ...endOf(step, { ...success, ssh }), transfers };
  const list = (epoch?: number) => listTransfers(t, { runId, stepId: step.id, epoch }, t.caller.authority);
  return { t, runId, step, end, list, taker };
}

test('transfers of an attempt are kept with its end, names sealed, and read again', async () => {
  const { t, end, list } = await setup();
  await using _ = t;
  expect(await list()).toEqual({ attempt: 1, totals: null, items: [] });
  await t.settle(end);
  const { attempt, totals: kept, items } = await list();
  expect({ attempt, kept }).toEqual({ attempt: 1, kept: totals });
  expect(items).toEqual([
    expect.objectContaining({
      operation: 'upload',
      localPath: '/srv/plain-name-4711',
      status: 'failed',
      errorMessage: 'It is full.',
    }),
    expect.objectContaining({
      remotePath: '/opt/b',
      fileSize: 4_200,
      bytesPerSecond: 2_100,
      errorMessage: null,
    }),
    expect.objectContaining({ operation: 'delete', localPath: null, remotePath: '/opt/c', startedAt: null }),
  ]);
  const [row] = await t.sql<
    { text: string }[]
  >`select string_agg(f::text, ' ') as text from sftp_file_transfers f`;
  expect(row?.text).toContain('upload');
  const [plain] = await t.sql<
    { names: Buffer }[]
  >`select names from sftp_file_transfers order by number limit 1`;
  expect(plain?.names.includes('plain-name-4711')).toBe(false);
});

describe('on the connection that carried them', () => {
  const contextOf = async (t: TestOutput) =>
    (
      await t.sql`select commands_executed, files_transferred, total_bytes_transferred from ssh_execution_context`
    )[0];

  test('files and bytes are counted, as no command, without the lines that the agent writes about them', async () => {
    const { t, step, end } = await setup();
    await using _ = t;
    await t.send(step, chunkOf(step, 1, 'Uploaded 4.2 kB in 2.0 s\n'));
    await t.settle(end);
    expect(await contextOf(t)).toEqual({
      commandsExecuted: 0,
      filesTransferred: 2,
      totalBytesTransferred: 4_200,
    });
  });

  test('what a dry run would move is not counted', async () => {
    const { t, step, end, taker } = await setup();
    await using _ = t;
    const rows = report.rows.map((row) => ({ ...row, bytesTransferred: 0, status: 'planned' as const }));
    const planned = { totals: { ...totals, bytes: 0 }, rows };
    const transfers = await taker.take({ stepId: step.id, epoch: step.epoch }, planned);
    await t.settle({ ...end, transfers });
    expect(await contextOf(t)).toEqual({
      commandsExecuted: 0,
      filesTransferred: 0,
      totalBytesTransferred: 0,
    });
  });
});

test('a completion that is reported twice is kept once', async () => {
  const { t, end, list } = await setup();
  await using _ = t;
  await t.settle(end);
  await t.settle(end);
  expect((await list()).items).toHaveLength(3);
});

test('a row that was put in another attempt’s place can’t be opened', async () => {
  const { t, end, list } = await setup();
  await using _ = t;
  await t.settle(end);
  await t.sql`update sftp_file_transfers set number = 4 - number + 10`;
  await expect(list()).rejects.toThrow();
});

test.each([
  ['was altered', "left(data_key, -4) || 'AAAA'"],
  ['is under a master key that this server does not hold', "overlay(data_key placing 'xx' from 5 for 2)"],
])('for a run whose data key %s, the amount that was moved is kept, without names', async (_, key) => {
  const { t, runId, step, end, list } = await setup();
  await using __ = t;
  await t.sql`update job_runs set data_key = ${t.sql.unsafe(key)} where id = ${runId}`;
  // As of a server that has just started and has opened no key yet.
  const taker = new TransferTaker({ ...t, keys: new RunKeys(t.masterKey) });
  const transfers = await taker.take({ stepId: step.id, epoch: step.epoch }, report);
  await t.settle({ ...end, transfers });
  expect(await list()).toEqual({ attempt: 1, totals, items: [] });
});

test('deleting a run removes its transfers', async () => {
  const { t, runId, end } = await setup();
  await using _ = t;
  await t.settle(end);
  await t.sql`delete from job_runs where id = ${runId}`;
  expect(
    await t.sql`select 1 from sftp_file_transfers union all select 1 from job_run_step_transfers`,
  ).toHaveLength(0);
});
