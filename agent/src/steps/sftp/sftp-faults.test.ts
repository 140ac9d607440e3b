import { createHash } from 'node:crypto';
import {
  appendFile,
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, vi } from 'vitest';
import { RateLimit } from '../../sftp/copy/rate-limit.ts';
import { temporaryPrefix } from '../../sftp/tree/temporary-name.ts';
import { SshPool } from '../../ssh/pool/pool.ts';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { abortable } from '../../timing/abortable.ts';
import { type SftpSetup, setupTransfers } from './sftp-setup.ts';

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const large = Buffer.alloc(9_000_000);
for (let at = 0; at < large.length; at += 4) large.writeUInt32LE((at * 2_654_435_761) % 4_294_967_296, at);
/** Slow enough for a test to act in the middle of a transfer. */
const slow = { bandwidth_limit: 6_000 };

/** How many bytes a slow transfer may move until `half` has seen some of them. */
let mayMove: { bytes: number; onMore: () => void; more: Promise<void> };
function allow(bytes: number): void {
  mayMove?.onMore();
  let onMore = () => {};
  const more = new Promise<void>((resolve) => (onMore = resolve));
  mayMove = { bytes, onMore, more };
}

beforeEach(() => {
  allow(1_600_000);
  const take = RateLimit.prototype.take;
  let moved = 0;
  const held = vi.spyOn(RateLimit.prototype, 'take').mockImplementation(async function (
    this: RateLimit,
    bytes,
    signal,
  ) {
    await take.call(this, bytes, signal);
    moved += bytes;
    while (moved > mayMove.bytes) await abortable(mayMove.more, signal);
  });
  return () => held.mockRestore();
});

/**
 * Resolves when the directory holds this many bytes of an unfinished file. However long it takes to see them, the
 * transfer is not further by then.
 */
async function half(directory: string, bytes = 5_500_000): Promise<void> {
  if (mayMove.bytes < bytes) allow(bytes + 600_000);
  await vi.waitFor(
    async () => {
      const names = (await readdir(directory)).filter((name) => name.startsWith(temporaryPrefix));
      const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
      if (!sizes.some((size) => size >= bytes)) throw new Error(`there are ${sizes.join()} bytes`);
    },
    { timeout: 20_000, interval: 10 },
  );
  allow(Number.POSITIVE_INFINITY);
}

async function uploadLarge(t: SftpSetup, more: object = {}) {
  const file = await t.put('local', 'large', large);
  await utimes(file, 1_700_000_000, 1_700_000_000);
  return t.run('upload', { local_path: file, remote_path: join(t.remote, 'large'), ...more });
}

sshTest('a cut connection is opened again, and the file is resumed', async () => {
  const t = await setupTransfers();
  const running = uploadLarge(t, { ...slow, verify: 'checksum' });
  await half(t.remote);
  expect(await readdir(t.remote)).not.toContain('large');
  t.sshd.killSessions();
  const { outcome, report, progress } = await running;
  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect(report?.totals.bytes).toBe(large.length);
  expect(report?.rows).toMatchObject([{ bytesTransferred: large.length, fileSize: large.length }]);
  expect(Math.max(...progress.map(({ bytes }) => bytes))).toBeLessThanOrEqual(large.length);
  expect(sha256(await readFile(join(t.remote, 'large')))).toBe(sha256(large));
  expect(await readdir(t.remote)).toEqual(['large']);
});

sshTest(
  'an upload that was cut off leaves no incomplete file under the name, and the next run resumes it',
  async () => {
    const t = await setupTransfers();
    await t.put('remote', 'large', 'the old one');
    await chmod(join(t.remote, 'large'), 0o666);
    const running = uploadLarge(t, { ...slow, retries: 0 });
    await half(t.remote);
    t.sshd.killSessions();
    const { outcome, report } = await running;
    expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_cut' });
    expect(report?.totals).toMatchObject({ created: 0, failed: 1 });
    const ends = { localPath: join(t.local, 'large'), remotePath: join(t.remote, 'large') };
    expect(report?.rows).toMatchObject([{ ...ends, status: 'failed', error: expect.any(String) }]);
    expect(await readFile(join(t.remote, 'large'), 'utf8')).toBe('the old one');
    const again = await uploadLarge(t, { retries: 0 });
    expect(again.outcome).toMatchObject({ status: 'succeeded' });
    expect(again.report?.totals.bytes).toBeLessThan(large.length);
    expect(sha256(await readFile(join(t.remote, 'large')))).toBe(sha256(large));
  },
);

sshTest(
  'a download that was cut off leaves no incomplete file under the name, and the next run resumes it',
  async () => {
    const t = await setupTransfers();
    await t.put('remote', 'large', large);
    await t.put('local', 'large', 'the old one');
    const paths = { remote_path: join(t.remote, 'large'), local_path: join(t.local, 'large'), retries: 0 };
    const running = t.run('download', { ...paths, ...slow });
    await half(t.local);
    t.sshd.killSessions();
    expect((await running).outcome).toMatchObject({ status: 'failed', reason: 'transfer_cut' });
    expect(await readFile(join(t.local, 'large'), 'utf8')).toBe('the old one');
    const again = await t.run('download', paths);
    expect(again.outcome).toMatchObject({ status: 'succeeded' });
    expect(again.report?.totals.bytes).toBeLessThan(large.length);
    expect(sha256(await readFile(join(t.local, 'large')))).toBe(sha256(large));
    expect(await readdir(t.local)).toEqual(['large']);
  },
);

sshTest('an unfinished file is removed even if the next connection is lost before that', async () => {
  const config: string[] = [];
  let places = '';
  const t = await setupTransfers({ config }, undefined, ({ remote }) => {
    places = join(remote, '..');
    config.push(`Subsystem sftp ${places}/server`);
  });
  await writeFile(join(places, 'starts'), '');
  await chmod(join(places, 'starts'), 0o666);
  // The second server sends its version (3), and is gone at the first byte of the first request.
  const script = [
    '#!/bin/sh',
    `echo >>${places}/starts; [ $(wc -l <${places}/starts) = 2 ] || exec /usr/lib/openssh/sftp-server`,
    "printf '\\0\\0\\0\\5\\2\\0\\0\\0\\3'; head -c 10 >/dev/null",
  ];
  await writeFile(join(places, 'server'), `${script.join('\n')}\n`, { mode: 0o755 });
  const running = uploadLarge(t, { ...slow, resume: false });
  await half(t.remote);
  t.sshd.killSessions();
  expect((await running).outcome).toMatchObject({ status: 'succeeded' });
  expect(await readFile(join(places, 'starts'), 'utf8')).toBe('\n\n\n');
  expect(await readdir(t.remote)).toEqual(['large']);
});

sshTest(
  'an unfinished file is removed after the transfer has failed, once the target can be reached again',
  async () => {
    const t = await setupTransfers();
    const running = uploadLarge(t, { ...slow, resume: false, retries: 0 });
    await half(t.remote);
    using opened = vi.spyOn(SshPool.prototype, 'open');
    await t.sshd.stop();
    // Of the sink, and of the end of the transfer.
    await vi.waitFor(() => expect(opened.mock.calls.length).toBeGreaterThan(1), { timeout: 20_000 });
    expect(await readdir(t.remote)).toHaveLength(1);
    await t.sshd.restart();
    const { outcome, stderr } = await running;
    expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_cut' });
    expect(stderr).not.toContain('unfinished');
    expect(await readdir(t.remote)).toEqual([]);
  },
);

sshTest('an unfinished file that the target refuses to remove is named in the output', async () => {
  const t = await setupTransfers();
  const running = uploadLarge(t, { ...slow, resume: false, retries: 0 });
  await half(t.remote);
  using opened = vi.spyOn(SshPool.prototype, 'open');
  await t.sshd.stop();
  await vi.waitFor(() => expect(opened.mock.calls.length).toBeGreaterThan(1), { timeout: 20_000 });
  // Nobody may change the folder now, neither another user nor, without root, its owner.
  const { mode } = await stat(t.remote);
  await chmod(t.remote, 0o555);
  await t.sshd.restart();
  const { outcome, stderr } = await running;
  await chmod(t.remote, mode);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_cut' });
  const [name] = await readdir(t.remote);
  expect(stderr).toContain(`${join(t.remote, name ?? '')}: unfinished, and may still be there`);
});

sshTest('an unfinished file is removed although the step is stopped and has no session', async () => {
  const t = await setupTransfers();
  const running = uploadLarge(t, { ...slow, resume: false });
  await half(t.remote);
  t.stop();
  t.sshd.killSessions();
  const { outcome } = await running;
  expect(outcome).toMatchObject({ status: 'cancelled' });
  expect(await readdir(t.remote)).toEqual([]);
});

sshTest('an unfinished file that could not be removed is named in the output', async () => {
  const t = await setupTransfers();
  const running = uploadLarge(t, { ...slow, resume: false });
  await half(t.remote);
  await t.sshd.stop();
  t.stop();
  const { outcome, stderr } = await running;
  expect(outcome).toMatchObject({ status: 'cancelled' });
  const [name] = await readdir(t.remote);
  expect(stderr).toContain(`${join(t.remote, name ?? '')}: unfinished, and may still be there`);
});

sshTest(
  'a file that has another size on the target than it was sent with does not get its name',
  async () => {
    const t = await setupTransfers();
    const running = uploadLarge(t, { ...slow, retries: 0 });
    await half(t.remote);
    const [name = ''] = await readdir(t.remote);
    await truncate(join(t.remote, name), large.length + 1);
    const { outcome } = await running;
    expect(outcome).toMatchObject({ status: 'failed', reason: 'checksum_mismatch' });
    expect(await readdir(t.remote)).toEqual([]);
  },
);

sshTest('a partial file of other content is not resumed', async () => {
  const t = await setupTransfers();
  const running = uploadLarge(t, { ...slow, retries: 0 });
  await half(t.remote);
  t.sshd.killSessions();
  await running;
  const [left = ''] = await readdir(t.remote);
  await writeFile(join(t.remote, left), Buffer.alloc(6_000_000, 'z'), { flag: 'r+' });
  const again = await uploadLarge(t);
  expect(again.report?.totals.bytes).toBe(large.length);
  expect(sha256(await readFile(join(t.remote, 'large')))).toBe(sha256(large));
});

sshTest.each([
  ['upload', 'remote'],
  ['download', 'local'],
] as const)(
  'the unfinished file that a cancelled %s leaves is named in the output, and not once it is complete',
  async (type, side) => {
    const t = await setupTransfers();
    const other = side === 'remote' ? 'local' : 'remote';
    await t.put(other, 'large', large);
    const paths = { local_path: join(t.local, 'large'), remote_path: join(t.remote, 'large') };
    const stop = new AbortController();
    const running = t.run(type, { ...paths, ...slow }, { signal: stop.signal });
    await half(t[side]);
    // A cut before it, which the transfer survives, changes nothing.
    t.sshd.killSessions();
    await half(t[side], 6_500_000);
    stop.abort({ cause: 'cancelled', killGraceMs: 1_000 });
    const { outcome, stderr, stdout } = await running;
    expect(outcome).toMatchObject({ status: 'cancelled' });
    expect(stdout).toMatch(/: 0 created, 0 changed, 0 unchanged, 1 unfinished\.\n$/);
    const [name = ''] = await readdir(t[side]);
    expect(name).toContain(temporaryPrefix);
    expect(stderr).toBe(
      `${join(t[side], name)}: unfinished, of large; the same transfer goes on with it when it is run again\n`,
    );
    t.sshd.killSessions();
    const again = await t.run(type, paths);
    expect(again.outcome).toMatchObject({ status: 'succeeded' });
    expect(again.report?.totals.bytes).toBeLessThan(large.length);
    expect(again.stderr).toBe('');
    expect(await readdir(t[side])).toEqual(['large']);
  },
);

sshTest('a cancelled download says so, and leaves nothing under the name', async () => {
  const t = await setupTransfers();
  await t.put('remote', 'large', large);
  const running = t.run('download', {
    remote_path: join(t.remote, 'large'),
    local_path: join(t.local, 'large'),
    resume: false,
    ...slow,
  });
  await half(t.local, 1_000_000);
  t.stop();
  expect((await running).outcome).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
  expect(await readdir(t.local)).toEqual([]);
});

sshTest.each(['upload', 'download'] as const)(
  'directories have their permissions even if the %s that made them was cancelled',
  async (type) => {
    const t = await setupTransfers();
    const [from, to] = type === 'upload' ? (['local', 'remote'] as const) : (['remote', 'local'] as const);
    await t.put(from, 'set/d/e/large', large);
    await t.put(from, 'set/d/done/f', '');
    const modes = { set: 0o755, 'set/d': 0o775, 'set/d/e': 0o705, 'set/d/done': 0o755 };
    for (const [path, mode] of Object.entries(modes)) await chmod(join(t[from], path), mode);
    // A directory that is read-only at the source stays writable for its owner: the next try has to fill it.
    await chmod(join(t[from], 'set/d/e'), 0o505);
    onTestFinished(() => chmod(join(t[from], 'set/d/e'), 0o705));
    const running = t.run(type, {
      local_path: join(t.local, 'set'),
      remote_path: join(t.remote, 'set'),
      preserve_permissions: true,
      ...slow,
    });
    await half(join(t[to], 'set/d/e'), 1_000_000);
    t.stop();
    expect((await running).outcome).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
    const found: Record<string, number> = {};
    for (const path of Object.keys(modes)) found[path] = (await stat(join(t[to], path))).mode & 0o777;
    expect(found).toEqual(modes);
  },
);

sshTest('a file that changes while it is read does not get its final name', async () => {
  const t = await setupTransfers();
  const running = uploadLarge(t, { ...slow, retries: 0 });
  await half(t.remote, 1_000_000);
  await appendFile(join(t.local, 'large'), 'more');
  expect((await running).outcome).toMatchObject({ status: 'failed', reason: 'file_changed' });
  expect(await readdir(t.remote)).toEqual([]);
});

sshTest(
  'a permission lost during a transfer is reported, and once it is back the rest is copied',
  async () => {
    const t = await setupTransfers();
    const running = uploadLarge(t, { ...slow, retries: 0 });
    await half(t.remote);
    // Also for the owner: if the suite runs as a plain user, the owner is the one who logs in.
    await chmod(t.remote, 0o555);
    expect((await running).outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
    expect(await readdir(t.remote)).not.toContain('large');
    await chmod(t.remote, 0o777);
    expect((await uploadLarge(t)).outcome).toMatchObject({ status: 'succeeded' });
    expect(sha256(await readFile(join(t.remote, 'large')))).toBe(sha256(large));
  },
);

sshTest('an unfinished file that the target does not let be removed is named in the output', async () => {
  const t = await setupTransfers();
  const running = uploadLarge(t, { ...slow, retries: 0, resume: false });
  await half(t.remote);
  await chmod(t.remote, 0o555);
  const { outcome, stderr } = await running;
  expect(outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
  const [left] = await readdir(t.remote);
  expect(stderr).toContain(`${left}: unfinished, and may still be there`);
});

sshTest.each(['upload', 'download'] as const)(
  'a destination that is replaced by a link during the %s does not lead elsewhere',
  async (type) => {
    const t = await setupTransfers();
    const [source, destination] =
      type === 'upload' ? (['local', 'remote'] as const) : (['remote', 'local'] as const);
    await t.put(source, 'set/large', large);
    const at = (path: string) => join(t[destination], path);
    for (const name of ['set', 'elsewhere']) {
      await mkdir(at(name));
      await chmod(at(name), 0o777);
    }
    const running = t.run(type, {
      local_path: join(t.local, 'set'),
      remote_path: join(t.remote, 'set'),
      retries: 0,
      ...slow,
    });
    await half(at('set'), 1_000_000);
    await rename(at('set'), at('moved'));
    await symlink('elsewhere', at('set'));
    const { outcome } = await running;
    expect(await readdir(at('elsewhere'))).toEqual([]);
    // The agent holds its own directories open; on the target the started file is no longer found by its path.
    if (type === 'download') expect(sha256(await readFile(at('moved/large')))).toBe(sha256(large));
    else expect(outcome).toMatchObject({ status: 'failed', reason: 'path_missing' });
  },
);

sshTest.each([
  ['a server without SFTP', 'Subsystem sftp /bin/false', 'sshd_config'],
  ['something else in its place', 'Subsystem sftp /bin/echo hello there, this is no SFTP', 'startup file'],
])('%s has its own message', async (_, line, advice) => {
  const t = await setupTransfers({ config: [line] });
  const file = await t.put('local', 'f', 'x');
  const { outcome } = await t.run('upload', { local_path: file, remote_path: join(t.remote, 'f') });
  expect(outcome).toMatchObject({
    status: 'failed',
    reason: 'sftp_missing',
    advice: expect.stringContaining(advice),
  });
});

sshTest('a link in place of a directory is not entered, on either side', async () => {
  const t = await setupTransfers();
  await t.put('local', 'set/d/f', 'x');
  await mkdir(join(t.remote, 'set'));
  await mkdir(join(t.remote, 'elsewhere'));
  for (const name of ['set', 'elsewhere']) await chmod(join(t.remote, name), 0o777);
  await symlink(join(t.remote, 'elsewhere'), join(t.remote, 'set/d'));
  const up = await t.run('upload', { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') });
  expect(up.outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
  expect(await readdir(join(t.remote, 'elsewhere'))).toEqual([]);
  await t.put('remote', 'theirs/d/f', 'x');
  await mkdir(join(t.local, 'mine'));
  await symlink(join(t.remote, 'elsewhere'), join(t.local, 'mine/d'));
  const down = await t.run('download', {
    remote_path: join(t.remote, 'theirs'),
    local_path: join(t.local, 'mine'),
  });
  expect(down.outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
  expect(await readdir(join(t.remote, 'elsewhere'))).toEqual([]);
});

sshTest('links of a target that lead out of the tree fail alone', async () => {
  const t = await setupTransfers();
  await t.put('remote', 'set/good', 'x');
  await symlink('/etc/passwd', join(t.remote, 'set/absolute'));
  await symlink('../../up', join(t.remote, 'set/relative'));
  await symlink('good', join(t.remote, 'set/inside'));
  const { outcome, report } = await t.run('download', {
    remote_path: join(t.remote, 'set'),
    local_path: join(t.local, 'set'),
  });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
  expect(report?.totals).toMatchObject({ created: 1, links: 1, failed: 2 });
  expect((await readdir(join(t.local, 'set'))).sort()).toEqual(['good', 'inside']);
});
