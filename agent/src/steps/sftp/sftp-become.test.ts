// Transfers as a different user from the one who logs in, with the real sudo and su.
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
// biome-ignore lint/style/noRestrictedImports: only tests use the programs that test/ provides
import { ensureSudo } from '../../../../test/support/packages.ts';
// biome-ignore lint/style/noRestrictedImports: as above
import { type FixtureAccount, fixturePassword } from '../../../../test/support/sshd.ts';
import { temporaryPrefix } from '../../sftp/tree/temporary-name.ts';
import type { Become } from '../../ssh/become/become.ts';
import { accountTest } from '../../ssh/sshd-setup.ts';
import { type SftpSetup, setupTransfers } from './sftp-setup.ts';

const missing = 'missing' in (await ensureSudo());
const sudoTest = missing ? test.skip : accountTest;
const withPassword = 'opsdeploy ALL=(ALL) ALL';
const large = Buffer.alloc(1_100_000, 'large');
const asRoot = (password?: string): { become: Become } => ({
  become: { method: 'sudo', user: 'root', password },
});

/** Sets up transfers with a directory on the target that only root may enter. */
async function setup(sudoers: string[] = [withPassword], more: Partial<FixtureAccount> = {}) {
  const t = await setupTransfers({ account: { name: 'opsdeploy', sudoers, ...more } });
  await mkdir(join(t.remote, 'closed'), { mode: 0o700 });
  return { ...t, closed: join(t.remote, 'closed') };
}

async function fill(t: SftpSetup): Promise<string> {
  for (let n = 0; n < 14; n += 1) await t.put('local', `set/d/f${n}`, `content ${n}`);
  await t.put('local', 'set/caf\u00e9\n', 'odd');
  await t.put('local', 'set/large', large);
  return join(t.local, 'set');
}

sudoTest('with sudo, files go to a place where only root may write, and come back', async () => {
  const t = await setup();
  const set = await fill(t);
  const seen: string[] = [];
  for (const verify of ['size', 'checksum']) {
    const there = { local_path: set, remote_path: join(t.closed, verify), verify };
    const up = await t.run('upload', there, asRoot(fixturePassword));
    expect(up.outcome).toMatchObject({ status: 'succeeded' });
    const { uid, gid } = await stat(join(there.remote_path, 'd/f7'));
    expect([uid, gid]).toEqual([0, 0]);
    const back = { ...there, local_path: join(t.local, `back-${verify}`) };
    const down = await t.run('download', back, asRoot(fixturePassword));
    expect(down.outcome).toMatchObject({ status: 'succeeded' });
    expect(down.report?.totals).toMatchObject({ created: 16, failed: 0 });
    expect((await readFile(join(back.local_path, 'large'))).equals(large)).toBe(true);
    expect(await readFile(join(back.local_path, 'd/f7'), 'utf8')).toBe('content 7');
    seen.push(up.stdout, up.stderr, down.stdout, down.stderr);
  }
  expect(seen.join('')).not.toContain(fixturePassword);
  expect((await readdir(t.closed)).sort()).toEqual(['checksum', 'size']);
});

sudoTest(
  'as the login user the same is refused; a mirror as root deletes what only root may delete',
  async () => {
    const t = await setup(['opsdeploy ALL=(ALL) NOPASSWD: ALL']);
    const file = await t.put('local', 'set/f', 'new');
    await writeFile(join(t.closed, 'old'), 'old', { mode: 0o600 });
    const places = { local_path: join(t.local, 'set'), remote_path: t.closed };
    const { outcome } = await t.run('upload', { local_path: file, remote_path: `${t.closed}/f` });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
    const mirror = await t.run('sync', { ...places, mode: 'mirror', delete: true }, asRoot());
    expect(mirror.report?.totals).toMatchObject({ created: 1, deleted: 1, failed: 0 });
    expect(await readdir(t.closed)).toEqual(['f']);
  },
);

sudoTest('~ is the home directory of the user it becomes, also with su', async () => {
  const t = await setup();
  const file = await t.put('local', 'f', 'x');
  const become: Become = { method: 'su', user: 'opsother', password: fixturePassword };
  const { outcome } = await t.run('upload', { local_path: file, remote_path: '~/placed' }, { become });
  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect((await stat(join(t.sshd.dir, 'other/placed'))).uid).toBe(20002);
});

sudoTest('what a failed copy by SCP left in ~ of the user it becomes is removed', async () => {
  const t = await setup(undefined, { without: ['/usr/lib/openssh/sftp-server'] });
  const file = await t.put('local', 'f', 'x');
  const home = join(t.sshd.dir, 'other');
  await mkdir(join(home, 'taken'));
  const become: Become = { method: 'su', user: 'opsother', password: fixturePassword };
  const { outcome } = await t.run('copy', { local_path: file, remote_path: '~/taken' }, { become });
  expect(outcome).toMatchObject({ status: 'failed', message: expect.stringContaining('is a directory') });
  expect((await readdir(home)).filter((name) => name.startsWith(temporaryPrefix))).toEqual([]);
});

sudoTest('failures to become another user are reported as for a command', async () => {
  const t = await setup(['opsdeploy ALL=(opsother) ALL']);
  const file = await t.put('local', 'f', 'x');
  const places = { local_path: file, remote_path: `${t.closed}/f` };
  const reasons = async (type: 'upload' | 'copy') =>
    Promise.all(
      [asRoot(), asRoot('wrong'), asRoot(fixturePassword)].map(
        async (more) => (await t.run(type, places, more)).outcome.reason,
      ),
    );
  const told = ['become_password_missing', 'become_refused', 'become_refused'];
  expect(await reasons('upload')).toEqual(told);
  expect(await reasons('copy')).toEqual(told);
});

sudoTest.each(['upload', 'copy'] as const)(
  'a target that lets the login user do SFTP only says so if it is to become another user (%s)',
  async (type) => {
    const account: FixtureAccount = { name: 'opsdeploy', sudoers: [withPassword] };
    const t = await setupTransfers({ account, config: ['ForceCommand internal-sftp'] });
    const file = await t.put('local', 'f', 'x');
    const places = { local_path: file, remote_path: join(t.remote, 'f') };
    const { outcome } = await t.run(type, places, asRoot(fixturePassword));
    expect(outcome).toMatchObject({ status: 'failed', reason: 'become_refused' });
    expect(outcome.message).toContain(
      'runs no commands for the login user, so it can’t become root: This service',
    );
    expect(outcome.advice).toContain('do without become');
    expect(outcome.advice).not.toContain('sudoers');
    expect((await t.run(type, places)).outcome).toMatchObject({ status: 'succeeded' });
  },
);

sudoTest(
  'without sftp-server a copy uses the SCP protocol as that user, and an upload says what is missing',
  async () => {
    const t = await setup(undefined, { without: ['/usr/lib/openssh/sftp-server'] });
    const file = await t.put('local', 'set/d/f1', 'again');
    const places = { local_path: file, remote_path: join(t.closed, 'f') };
    const { outcome } = await t.run('upload', places, asRoot(fixturePassword));
    expect(outcome).toMatchObject({
      status: 'failed',
      reason: 'sftp_missing',
      message: expect.stringContaining('that root could run'),
    });
    const one = { local_path: join(t.local, 'set/d'), remote_path: join(t.closed, 'd') };
    expect((await t.run('copy', one, asRoot(fixturePassword))).outcome).toMatchObject({
      status: 'succeeded',
    });
    expect((await stat(join(t.closed, 'd/f1'))).uid).toBe(0);
    const back = { direction: 'pull', remote_path: one.remote_path, local_path: join(t.local, 'back') };
    expect((await t.run('copy', back, asRoot(fixturePassword))).outcome).toMatchObject({
      status: 'succeeded',
    });
    expect(await readFile(join(t.local, 'back/f1'), 'utf8')).toBe('again');
  },
);
