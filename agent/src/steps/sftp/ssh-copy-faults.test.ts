// Copies that fail, are cut off or meet a hostile target.
import { execFileSync } from 'node:child_process';
import {
  access,
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { SshPool } from '../../ssh/pool/pool.ts';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { setupTransfers, withoutSftp } from './sftp-setup.ts';

/** A target without SFTP on which a script stands in for scp. */
async function setupStandIn(script: (dir: string) => string) {
  const { remote } = await setupTransfers(withoutSftp);
  const dir = join(remote, 'bin');
  await mkdir(dir);
  await chmod(dir, 0o777);
  await writeFile(join(dir, 'scp'), `#!/bin/sh\n${script(dir)}\n`, { mode: 0o755 });
  const path = `SetEnv SHLVL=1 PATH=${dir}:/usr/bin:/bin`;
  return { t: await setupTransfers({ config: [...withoutSftp.config, path] }), dir };
}

const nextAnswer = 'head -c 1 >/dev/null';

sshTest('a directory copied by SCP does not replace a file', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'set/a/f', 'x');
  await t.put('remote', 'set/a', 'stays');
  await chmod(join(t.remote, 'set'), 0o777);
  const paths = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  const { outcome } = await t.run('copy', paths);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'path_missing' });
  expect(await readFile(join(t.remote, 'set/a'), 'utf8')).toBe('stays');
  expect(await readdir(join(t.remote, 'set'))).toEqual(['a']);
});

sshTest('a file copied by SCP does not replace a directory', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('remote', 'f', 'x');
  const { outcome } = await t.run('copy', {
    direction: 'pull',
    remote_path: join(t.remote, 'f'),
    local_path: t.local,
  });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_failed' });
  expect(outcome.advice).toContain('with a slash at the end');
});

sshTest('a file copied by SCP does not replace a pipe', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('remote', 'f', 'x');
  const pipe = join(t.local, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const paths = { direction: 'pull', remote_path: join(t.remote, 'f'), local_path: pipe };
  const { outcome } = await t.run('copy', paths);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'file_exists' });
  expect((await stat(pipe)).isFIFO()).toBe(true);
});

sshTest.each([
  ['a source that is missing', 'pull', { remote_path: '/nowhere/x' }, 'path_missing'],
  ['a file that may not be read', 'pull', { remote_path: '/etc/shadow' }, 'permission_denied'],
  ['a directory that is missing', 'push', { remote_path: '/nowhere/deep/x' }, 'path_missing'],
  ['a place that may not be written', 'push', { remote_path: '/usr/opsconductor-test' }, 'permission_denied'],
])('%s is reported with its reason', async (_, direction, paths, reason) => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'f', 'x');
  const { outcome } = await t.run('copy', { direction, local_path: join(t.local, 'f'), ...paths });
  expect(outcome).toMatchObject({ status: 'failed', reason, advice: expect.any(String) });
  expect(await readFile(join(t.local, 'f'), 'utf8')).toBe('x');
});

sshTest('what a hostile scp sends goes nowhere but into the destination', async () => {
  // Announces the directory, and in it a name that leads out of it.
  const { t } = await setupStandIn(() =>
    [
      `${nextAnswer}; printf 'D0755 0 set\\n'`,
      `${nextAnswer}; printf 'C0644 4 ../../escaped\\nevil\\0'; cat >/dev/null`,
    ].join('; '),
  );
  const paths = { remote_path: '/srv/set', local_path: join(t.local, 'set') };
  const { outcome } = await t.run('copy', { direction: 'pull', ...paths });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_failed' });
  expect(outcome.message).toContain('leads elsewhere');
  expect(await readdir(t.local, { recursive: true })).toEqual(['set']);
  // Trying again would not change that.
  expect((await stat(join(t.local, 'set'))).mode & 0o777).toBe(0o755);
});

sshTest(
  'a directory of which the connection brings only the beginning is not said to be copied',
  async () => {
    const { t } = await setupStandIn(() =>
      [
        `${nextAnswer}; printf 'D0755 0 set\\n'; ${nextAnswer}; printf 'C0644 4 first\\n'; ${nextAnswer}`,
        `printf 'text\\0'; ${nextAnswer}`,
      ].join('; '),
    );
    const paths = { remote_path: '/srv/set', local_path: join(t.local, 'set') };
    const { outcome, report } = await t.run('copy', { direction: 'pull', ...paths });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_cut' });
    expect(report?.totals).toMatchObject({ created: 1, failed: 1 });
    expect(report?.rows).toMatchObject([
      { status: 'failed', remotePath: '/srv/set' },
      { status: 'completed', remotePath: '/srv/set/first' },
    ]);
  },
);

sshTest('a file that scp could not read to its end does not get its name', async () => {
  const { t } = await setupStandIn(
    () =>
      `${nextAnswer}; printf 'C0644 4 f\\n'; ${nextAnswer}; printf 'text\\1scp: f: Input/output error\\n'; cat >/dev/null`,
  );
  await t.put('local', 'f', 'the old one');
  const paths = { remote_path: '/srv/f', local_path: join(t.local, 'f') };
  const { outcome, report } = await t.run('copy', { direction: 'pull', ...paths });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_failed' });
  expect(report?.rows).toMatchObject([
    { status: 'failed', remotePath: '/srv/f', localPath: paths.local_path, error: outcome.message },
  ]);
  expect(await readdir(t.local)).toEqual(['f']);
  expect(await readFile(join(t.local, 'f'), 'utf8')).toBe('the old one');
});

sshTest.each([
  [
    'overwritten',
    async (path: string) => {
      await using file = await open(path, 'r+');
      await file.write(Buffer.from('new'), 0, 3, 8_500_000);
    },
  ],
  ['cut short', (path: string) => truncate(path, 8_000_000)],
])('a file that is %s while SCP sends it does not get its name', async (_, change) => {
  // The real scp, which gets the middle of the file only once the test says so.
  const { t, dir } = await setupStandIn(
    (places) =>
      `{ dd bs=64k count=20 2>/dev/null; : >${places}/half; read x <${places}/gate; cat; } | exec /usr/bin/scp "$@"`,
  );
  execFileSync('mkfifo', ['-m', '666', join(dir, 'gate')]);
  const file = await t.put('local', 'f', Buffer.alloc(9_000_000, 'old'));
  await utimes(file, 1_700_000_000, 1_700_000_000);
  const running = t.run('copy', { local_path: file, remote_path: join(t.remote, 'f') });
  await vi.waitFor(() => access(join(dir, 'half')), { timeout: 20_000, interval: 20 });
  await change(file);
  await writeFile(join(dir, 'gate'), '\n');
  expect((await running).outcome).toMatchObject({ status: 'failed', reason: 'file_changed' });
  expect(await readdir(t.remote)).toEqual([]);
});

/** A target without SFTP whose mv only reports that it was called; the copy to `to/f` stands still there. */
async function setupStalled() {
  const t = await setupTransfers(withoutSftp);
  await mkdir(join(t.remote, 'bin'));
  await mkdir(join(t.remote, 'to'));
  await chmod(join(t.remote, 'to'), 0o777);
  const script = `#!/bin/sh\n: > ${t.remote}/called; exec sleep 30\n`;
  await writeFile(join(t.remote, 'bin/mv'), script, { mode: 0o755 });
  const stalled = await setupTransfers({
    config: [...withoutSftp.config, `SetEnv SHLVL=1 PATH=${t.remote}/bin:/usr/bin:/bin`],
  });
  const file = await stalled.put('local', 'f', 'x');
  const running = stalled.run('copy', { local_path: file, remote_path: join(t.remote, 'to/f') });
  await vi.waitFor(() => access(join(t.remote, 'called')), { timeout: 20_000, interval: 20 });
  return { t: stalled, running, left: () => readdir(join(t.remote, 'to')) };
}

sshTest('a target that stops answering does not delay a stop, and nothing is left there', async () => {
  const { t, running, left } = await setupStalled();
  t.stop();
  expect((await running).outcome).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
  expect(await left()).toEqual([]);
});

sshTest('what a copy by SCP left is removed once the target can be reached again', async () => {
  const { t, running, left } = await setupStalled();
  using opened = vi.spyOn(SshPool.prototype, 'open');
  await t.sshd.stop();
  await vi.waitFor(() => expect(opened).toHaveBeenCalled(), { timeout: 20_000 });
  expect(await left()).toHaveLength(1);
  await t.sshd.restart();
  const { outcome, stderr } = await running;
  expect(outcome).toMatchObject({ status: 'failed' });
  expect(stderr).not.toContain('unfinished');
  expect(await left()).toEqual([]);
});

sshTest('what a copy by SCP left and could not remove is named in the output', async () => {
  const { t, running, left } = await setupStalled();
  await t.sshd.stop();
  t.stop();
  const { stderr } = await running;
  const [name] = await left();
  expect(stderr).toMatch(new RegExp(`/to/\\${name}: unfinished, and may still be there`));
});

sshTest('a circular link fails alone', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'set/f', 'x');
  await symlink('.', join(t.local, 'set/again'));
  const { outcome, report } = await t.run('copy', {
    local_path: join(t.local, 'set'),
    remote_path: join(t.remote, 'set'),
  });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
  expect(report?.totals).toMatchObject({ created: 1, failed: 1 });
  expect(await readdir(join(t.remote, 'set'), { recursive: true })).toEqual(['f']);
});

sshTest('a copy by SCP that breaks off has put nothing in its place, and says so', async () => {
  const answered = "read -r line; printf '\\0'";
  const { t } = await setupStandIn(() =>
    [
      `printf '\\0'; ${answered}; ${answered}`,
      "head -c 5 >/dev/null; printf '\\0'; read -r line",
      "printf '\\1scp: second: No space left on device\\n'; cat >/dev/null",
    ].join('; '),
  );
  await t.put('local', 'set/a', 'text');
  await t.put('local', 'set/b', 'more');
  const to = join(t.remote, 'set');
  const paths = { local_path: join(t.local, 'set'), remote_path: to };
  const { outcome, stdout, report } = await t.run('copy', paths);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'no_space' });
  expect(outcome.message).toMatch(
    new RegExp(`^${to}/[ab] on [^ ]+ could not be written: no space is left\\.$`),
  );
  expect(stdout).toContain('Uploaded 0 B');
  expect(report).toMatchObject({ totals: { created: 0, directories: 0, bytes: 0, failed: 1 } });
  expect(report?.rows).toMatchObject([
    {
      status: 'failed',
      remotePath: expect.stringMatching(/set\/[ab]$/),
      error: outcome.message,
      fileSize: 4,
    },
  ]);
  expect(await readdir(t.remote)).toEqual([]);
});

sshTest('a file that scp may not read is named as the target names it', async () => {
  const t = await setupTransfers(withoutSftp);
  const secret = await t.put('remote', 'set/secret', 'text');
  await chmod(secret, 0o000);
  const paths = { remote_path: join(t.remote, 'set'), local_path: join(t.local, 'set') };
  const { outcome, report } = await t.run('copy', { direction: 'pull', ...paths });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
  expect(outcome.message).toContain(`${secret} on`);
  expect(report?.rows).toMatchObject([{ status: 'failed', remotePath: secret }]);
});

sshTest(
  'a directory that may not be written to is reported, and nothing is said to be left in it',
  async () => {
    const t = await setupTransfers(withoutSftp);
    const file = await t.put('local', 'f', 'text');
    const closed = join(t.remote, 'closed');
    await mkdir(closed, { mode: 0o000 });
    const paths = { local_path: file, remote_path: `${closed}/` };
    const { outcome, stderr, report } = await t.run('copy', paths);
    expect(outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
    expect(stderr).not.toContain('unfinished');
    expect(report?.rows).toMatchObject([{ status: 'failed', localPath: file, error: outcome.message }]);
  },
);
