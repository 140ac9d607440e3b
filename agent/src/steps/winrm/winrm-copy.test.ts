import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { powershellBootstrap, type TransferReport, type WinrmCopyConfig } from '@opsconductor/protocol';
import { expect, onTestFinished } from 'vitest';
import { WinrmPool } from '../../winrm/connection/pool.ts';
import { fileServer } from '../../winrm/files/file-server.ts';
import { cmdRunner } from '../../winrm/powershell/powershell.ts';
import { hostOfFile, winrmTest } from '../../winrm/testing/winrm-setup.ts';
import { TestSink } from '../ssh-exec/ssh-exec-setup.ts';
import type { StopRequest } from '../step-type.ts';
import { winrmCopy } from './winrm-copy.ts';
import { winrmContext } from './winrm-step-setup.ts';

const host = hostOfFile({
  emulated: { bootstrap: powershellBootstrap, cmdRunner, fileServer },
  settings: { maxPollSeconds: 1, driveBytes: 0, tellsConfiguration: true, maxEnvelope: 512_000 },
});

async function setup() {
  const local = await mkdtemp(join(tmpdir(), 'opsconductor-winrm-copy-'));
  const { drive } = host.fixture;
  await mkdir(drive, { recursive: true });
  onTestFinished(async () => {
    await rm(local, { recursive: true, force: true });
    await rm(drive, { recursive: true, force: true });
  });
  const pool = new WinrmPool();
  onTestFinished(() => pool.close());
  const controller = new AbortController();
  const deps = { pool, policy: { fileRoots: [{ path: local, mayWrite: true }] } };
  const sink = new TestSink();
  let report: TransferReport | undefined;
  const context = winrmContext(host.fixture, {
    output: sink,
    transfers: {
      progress: () => {},
      report: (told) => {
        report = told;
      },
    },
    maySurvive: false,
    signal: controller.signal,
  });
  const put = async (root: string, path: string, content: string | Buffer) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };
  return {
    local,
    drive,
    sink,
    controller,
    context,
    put: (path: string, content: string | Buffer) => put(local, path, content),
    putThere: (path: string, content: string | Buffer) => put(drive, path, content),
    there: (path: string) => readFile(join(drive, path)),
    async run(config: WinrmCopyConfig) {
      report = undefined;
      const outcome = await winrmCopy(deps).execute(config, context);
      return { outcome, report: report as TransferReport | undefined };
    },
  };
}

/** Returns all files below a directory with their content; directories are undefined. */
async function treeOf(root: string): Promise<Map<string, string | undefined>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const all = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const content = entry.isFile() ? (await readFile(path)).toString('base64') : undefined;
    return [path.slice(root.length), content] as const;
  });
  return new Map((await Promise.all(all)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Long enough for a busy machine. */
const patiently = { timeout: 30_000, interval: 5 };

const chunk = 255 * 1024;
const odd = ['plain.txt', 'with space [1] (2).txt', "it's $HOME `tick` & %PATH% !x!;,=+.txt", 'ä€𝄞 日本.txt'];

winrmTest(
  'a tree goes up and comes back unchanged, with one process and without leaving a shell',
  async () => {
    const t = await setup();
    for (const [at, name] of odd.entries()) await t.put(`tree/dir [a] ${at}/${name}`, `content of ${name}`);
    for (const size of [0, 1, chunk - 1, chunk, chunk + 1, 600_000])
      await t.put(`tree/sizes/${size}`, randomBytes(size));
    await mkdir(join(t.local, 'tree/empty'));
    const push = { local_path: `${t.local}/tree`, remote_path: 'C:\\in\\tree', create_directories: true };
    const first = await t.run(push);
    expect(first.outcome).toMatchObject({ status: 'succeeded' });
    expect(first.report?.totals).toMatchObject({ created: 10, failed: 0, directories: 7 });
    expect(first.report?.rows.map(({ remotePath }) => remotePath)).toContain(
      'C:\\in\\tree\\dir [a] 3\\ä€𝄞 日本.txt',
    );
    expect(await treeOf(join(t.drive, 'in/tree'))).toEqual(await treeOf(join(t.local, 'tree')));
    const { shells, created, requests } = await host.fixture.stats();
    expect([shells, created]).toEqual([0, 1]);
    expect(requests.filter((action) => action === 'Command')).toHaveLength(1);

    const again = await t.run(push);
    expect(again.report?.totals).toMatchObject({ created: 0, changed: 0, unchanged: 10, bytes: 0 });

    const pull = { direction: 'pull', remote_path: 'c:/IN/tree', local_path: `${t.local}/back` } as const;
    expect((await t.run(pull)).outcome).toMatchObject({ status: 'succeeded' });
    expect(await treeOf(join(t.local, 'back'))).toEqual(await treeOf(join(t.local, 'tree')));
    // The second and third copies found warm connections.
    expect((await host.fixture.stats()).handshakes).toBe(2);
  },
);

winrmTest('a large file takes few messages, and an incomplete file never has its name', async () => {
  const t = await setup();
  const content = randomBytes(20_000_000);
  await t.put('large', content);
  const copying = t.run({ local_path: `${t.local}/large`, remote_path: 'C:\\large.bin' });
  await expect.poll(async () => (await readdir(t.drive)).length, patiently).toBe(1);
  expect((await readdir(t.drive))[0]).toMatch(/^\.opsconductor-|^large\.bin$/);
  expect((await copying).outcome).toMatchObject({ status: 'succeeded' });
  expect((await t.there('large.bin')).equals(content)).toBe(true);
  const { requests } = await host.fixture.stats();
  expect(requests.length).toBeLessThan(Math.ceil(content.length / 240_000) + 80);
});

winrmTest('a host that does not say how large messages may be gets small ones', async () => {
  const t = await setup();
  await host.fixture.reset({ tellsConfiguration: false, maxEnvelope: 153_600 });
  const content = randomBytes(1_000_000);
  await t.put('file', content);
  const { outcome } = await t.run({ local_path: `${t.local}/file`, remote_path: 'C:\\file' });
  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect((await t.there('file')).equals(content)).toBe(true);
  expect((await host.fixture.stats()).refusals).toEqual([]);
});

winrmTest('a pattern at the end of the source selects files, and its brackets are literal', async () => {
  const t = await setup();
  for (const name of ['a[1].log', 'b.log', 'c.txt']) await t.put(`logs/${name}`, name);
  await t.put('logs/old.log/inner.txt', 'inner');
  const push = { local_path: `${t.local}/logs/*.log`, remote_path: 'C:\\logs' };
  expect((await t.run(push)).outcome).toMatchObject({ status: 'succeeded' });
  expect((await readdir(join(t.drive, 'logs'))).sort()).toEqual(['a[1].log', 'b.log', 'old.log']);
  const pull = { direction: 'pull', remote_path: 'C:\\logs\\a[?].log' } as const;
  const local_path = `${t.local}/one`;
  expect((await t.run({ ...pull, local_path })).outcome).toMatchObject({ status: 'succeeded' });
  expect(await readdir(local_path)).toEqual(['a[1].log']);
  const none = await t.run({ ...pull, remote_path: 'C:\\logs\\*.nothing', local_path });
  expect(none.outcome).toMatchObject({
    status: 'failed',
    reason: 'path_missing',
    message: 'Nothing matches C:\\logs\\*.nothing.',
  });
});

winrmTest('a name that Windows does not allow, or takes for one that exists, fails alone', async () => {
  const t = await setup();
  const names = ['good', 'stream:of', 'nul.txt', 'dot.', 'star*', 'twice', 'TWICE'];
  for (const name of names) await t.put(`tree/${name}`, name);
  const { outcome, report } = await t.run({ local_path: `${t.local}/tree`, remote_path: 'C:\\tree' });
  expect(outcome.status).toBe('failed');
  expect(report?.totals).toMatchObject({ created: 2, failed: 5 });
  const left = await readdir(join(t.drive, 'tree'));
  expect(left.map((name) => name.toLowerCase()).sort()).toEqual(['good', 'twice']);
  expect(t.sink.stderr).toContain('are one name at the destination');
  expect(t.sink.stderr).toContain('is the name of a device on Windows');
});

winrmTest('existing files are found whatever the case of their names', async () => {
  const t = await setup();
  await t.put('tree/readme.txt', 'new');
  await t.putThere('tree/README.TXT', 'old');
  const config = { local_path: `${t.local}/tree`, remote_path: 'C:\\tree' };
  expect((await t.run({ ...config, overwrite: 'never' })).report?.totals).toMatchObject({ unchanged: 1 });
  expect((await t.run({ ...config, overwrite: 'fail' })).outcome).toMatchObject({ reason: 'file_exists' });
  expect(await readdir(join(t.drive, 'tree'))).toEqual(['README.TXT']);
  expect((await t.run(config)).report?.totals).toMatchObject({ changed: 1 });
  expect((await t.there('tree/README.TXT')).toString()).toBe('new');
});

winrmTest('links are followed, skipped or refused; long paths and times are kept', async () => {
  const t = await setup();
  const deep = Array.from({ length: 12 }, (_, at) => `a directory with a long name ${at}`).join('/');
  await t.put(`tree/${deep}/file`, 'deep');
  await utimes(join(t.local, 'tree', deep, 'file'), 1_600_000_000, 1_600_000_000);
  const config = { local_path: `${t.local}/tree`, remote_path: 'C:\\tree', preserve_times: true };
  expect((await t.run(config)).outcome).toMatchObject({ status: 'succeeded' });
  expect((await stat(join(t.drive, 'tree', deep, 'file'))).mtimeMs).toBe(1_600_000_000_000);

  await t.putThere('linked/to/file', 'behind a link');
  await symlink('to', join(t.drive, 'linked/junction'));
  const pull = { direction: 'pull', remote_path: 'C:\\linked', local_path: `${t.local}/linked` } as const;
  expect((await t.run({ ...pull, symlinks: 'skip' })).outcome).toMatchObject({ status: 'succeeded' });
  expect(await readdir(join(t.local, 'linked'))).toEqual(['to']);
  expect((await t.run({ ...pull, symlinks: 'fail' })).outcome).toMatchObject({ reason: 'path_refused' });
  await t.run(pull);
  expect((await readFile(join(t.local, 'linked/junction/file'))).toString()).toBe('behind a link');
});

winrmTest('a connection that is lost midway costs nothing but time', async () => {
  const t = await setup();
  const content = randomBytes(9_000_000);
  await t.put('file', content);
  await host.fixture.mishap({ action: 'Send', what: 'drop', skip: 12 });
  const { outcome } = await t.run({ local_path: `${t.local}/file`, remote_path: 'C:\\file' });
  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect((await t.there('file')).equals(content)).toBe(true);
  const { shells, created } = await host.fixture.stats();
  expect([shells, created]).toEqual([0, 2]);
  expect(await readdir(t.drive)).toEqual(['file']);
});

winrmTest('a stopped copy leaves no incomplete file and no shell', async () => {
  const t = await setup();
  await t.put('file', randomBytes(3_000_000));
  const running = t.run({ local_path: `${t.local}/file`, remote_path: 'C:\\file', bandwidth_limit: 500 });
  await expect.poll(async () => (await readdir(t.drive)).length, patiently).toBe(1);
  t.controller.abort({ cause: 'cancelled', killGraceMs: 0 } satisfies StopRequest);
  expect((await running).outcome).toMatchObject({ status: 'cancelled' });
  expect(await readdir(t.drive)).toEqual([]);
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('a full disk, a missing directory and a forbidden path have their own reasons', async () => {
  const t = await setup();
  await t.put('file', randomBytes(600_000));
  const config = { local_path: `${t.local}/file`, remote_path: 'C:\\not\\there\\file' };
  expect((await t.run(config)).outcome).toMatchObject({ status: 'failed', reason: 'path_missing' });
  expect(existsSync(join(t.drive, 'not'))).toBe(false);
  const outside = await t.run({ ...config, local_path: '/etc/passwd' });
  expect(outside.outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
  expect((await t.run({ ...config, remote_path: '\\\\?\\C:\\x' })).outcome).toMatchObject({
    reason: 'path_refused',
  });
  await host.fixture.reset({ driveBytes: 300_000 });
  const full = await t.run({ ...config, remote_path: 'C:\\file' });
  expect(full.outcome).toMatchObject({ status: 'failed', reason: 'no_space' });
  expect(await readdir(t.drive)).toEqual([]);
});

winrmTest(
  'a host that can not be reached, or has no such user, fails the step before it starts',
  async () => {
    const t = await setup();
    await t.put('file', 'x');
    const config = { local_path: `${t.local}/file`, remote_path: 'C:\\file' };
    const { target } = t.context;
    t.context.target = { ...target, port: 1 };
    expect((await t.run(config)).outcome).toMatchObject({ status: 'failed', reason: 'connection_refused' });
    t.context.target = target;
    await host.fixture.mishap({ action: 'Create', what: 'fault:denied', times: 2 });
    expect((await t.run(config)).outcome).toMatchObject({ status: 'failed', reason: 'not_authorized' });
    expect((await host.fixture.stats()).shells).toBe(0);
  },
);
