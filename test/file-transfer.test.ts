// File transfers between agent and target, with a server that is told about them.
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Artifact, StepTransfers, TransferEvent } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setup, type TestSystem } from './support/system.ts';

let t: TestSystem;
beforeAll(async () => {
  t = await setup({ files: true });
});
afterAll(() => t?.[Symbol.asyncDispose]());

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

async function inbox(): Promise<string> {
  const directory = join(t.sshd.dir, `inbox-${randomUUID()}`);
  await mkdir(directory);
  await chmod(directory, 0o777);
  return directory;
}

async function ended(runId: number, status: string): Promise<void> {
  await t.until(async () => {
    const [step] = await t.steps(runId);
    expect(step).toMatchObject({ status });
  });
}

test('an upload is reported while it runs and listed afterwards; a later step finds the files', async () => {
  const directory = await inbox();
  const bytes = randomBytes(3_000_000);
  await mkdir(join(t.filesDir, 'site'));
  await writeFile(join(t.filesDir, 'site/large'), bytes);
  await writeFile(join(t.filesDir, 'site/small'), 'small');
  const config = {
    local_path: `${t.filesDir}/site`,
    // The host's actual name.
    remote_path: `${directory}/\${{ target.name }}`,
    bandwidth_limit: 1_000,
    verify: 'checksum',
  };
  const runId = await t.runSteps([
    { name: 'up', type: 'sftp.upload', config },
    { name: 'look', type: 'ssh.exec', config: { command: `cat '${directory}/host/small'` } },
  ]);
  const { stepId, attempt, progress } = await t.event<TransferEvent>(runId, 'transfer');
  expect(attempt).toBe(1);
  expect(progress).toMatchObject({ bytesTotal: expect.any(Number), filesTotal: expect.any(Number) });
  await ended(runId, 'succeeded');
  const { body } = await t.api.get<StepTransfers>(`/api/v1/runs/${runId}/steps/${stepId}/transfers`);
  expect(body.totals).toMatchObject({ created: 2, directories: 1, failed: 0, bytes: bytes.length + 5 });
  expect(
    body.items.map((item) => [item.operation, item.localPath, item.remotePath, item.fileSize]).sort(),
  ).toEqual([
    ['upload', `${t.filesDir}/site/large`, `${directory}/host/large`, bytes.length],
    ['upload', `${t.filesDir}/site/small`, `${directory}/host/small`, 5],
  ]);
  expect(sha256(await readFile(`${directory}/host/large`))).toBe(sha256(bytes));
  const [context] = await t.sql`select files_transferred, total_bytes_transferred from ssh_execution_context`;
  expect(context).toMatchObject({ filesTransferred: 2 });
  // No table contains names in the clear.
  const [row] = await t.sql<
    { text: string }[]
  >`select string_agg(f::text, ' ') as text from sftp_file_transfers f`;
  expect(row?.text).not.toContain('small');
  await t.until(async () =>
    expect((await t.steps(runId))[1]).toMatchObject({ status: 'succeeded', outputBytes: 5 }),
  );
}, 180_000);

test('a file of the server goes to a target, and comes back as artifacts of the run', async () => {
  const directory = await inbox();
  const text = 'a line of text that is not the same as the next\n'.repeat(120_000);
  const file = await t.api.upload('app 1.4 (é).txt', Buffer.from(text));
  expect(file).toMatchObject({ state: 'ready', sha256: sha256(Buffer.from(text)), jobCount: 0 });
  const runId = await t.runSteps([
    {
      name: 'up',
      type: 'sftp.upload',
      config: { file: file.name, remote_path: `${directory}/`, verify: 'checksum' },
    },
    {
      name: 'look',
      type: 'ssh.exec',
      config: { command: `mkdir '${directory}/more' && echo small > '${directory}/more/<b>&.html'` },
    },
    { name: 'back', type: 'sftp.download', config: { remote_path: directory, artifact: true } },
  ]);
  await t.until(async () => {
    for (const step of await t.steps(runId)) expect(step).toMatchObject({ status: 'succeeded' });
  });
  const [up, , back] = await t.steps(runId);
  const transfers = await t.api.get<StepTransfers>(`/api/v1/runs/${runId}/steps/${up?.id}/transfers`);
  expect(transfers.body.items).toMatchObject([
    { localPath: `file ${file.name}`, remotePath: `${directory}/${file.name}`, fileSize: text.length },
  ]);
  expect((await stat(join(directory, file.name))).mode & 0o777).toBe(0o644);
  const { body } = await t.api.get<{ items: Artifact[] }>(`/api/v1/runs/${runId}/artifacts`);
  expect(
    body.items
      .map(({ stepId, name, size }) => [stepId, name, size])
      .sort((a, b) => ((a[2] ?? 0) > (b[2] ?? 0) ? 1 : -1)),
  ).toEqual([
    [back?.id, `${basename(directory)}/more/<b>&.html`, 6],
    [back?.id, `${basename(directory)}/${file.name}`, text.length],
  ]);
  const contentOf = (name: string) => {
    const { id } = body.items.find((one) => one.name.endsWith(name)) ?? {};
    return t.api.get(`/api/v1/runs/${runId}/artifacts/${id}/content`);
  };
  expect((await contentOf('.txt')).text).toBe(text);
  // A page made by a target is offered as a download, and never displayed.
  expect(await contentOf('.html')).toMatchObject({
    text: 'small\n',
    headers: {
      'content-type': 'application/octet-stream',
      'x-content-type-options': 'nosniff',
      'content-disposition': `attachment; filename="_b__.html"; filename*=UTF-8''%3Cb%3E%26.html`,
    },
  });
  const kept = (name: string) => readdir(join(t.agent.dataDir, name));
  expect([await kept('artifacts'), await kept('files/held'), await kept('files/blobs')]).toEqual([
    [],
    [],
    [file.sha256],
  ]);
}, 180_000);

test('an agent killed in mid transfer leaves no half file, and the retry continues with the part that is there', async () => {
  const directory = await inbox();
  // Three seconds are left once there is enough to continue with.
  const bytes = randomBytes(14_000_000);
  await writeFile(join(t.filesDir, 'large'), bytes);
  const config = {
    local_path: `${t.filesDir}/large`,
    remote_path: `${directory}/large`,
    bandwidth_limit: 3_000,
  };
  const rules = { on_unknown: 'retry', idempotent: true };
  const runId = await t.runSteps([{ name: 'up', type: 'sftp.upload', ...rules, config }]);
  await t.until(async () => {
    const [name = ''] = await readdir(directory);
    expect((await stat(join(directory, name))).size).toBeGreaterThan(5_000_000);
  });
  await t.agent.kill9();
  expect(await readdir(directory)).not.toContain('large');
  await t.agent.start();
  await ended(runId, 'succeeded');
  const [step] = await t.steps(runId);
  expect(step?.attempt).toBe(2);
  const { body } = await t.api.get<StepTransfers>(`/api/v1/runs/${runId}/steps/${step?.id}/transfers`);
  expect(body.totals?.bytes).toBeLessThan(bytes.length);
  expect(sha256(await readFile(`${directory}/large`))).toBe(sha256(bytes));
  expect(await readdir(directory)).toEqual(['large']);
}, 180_000);
