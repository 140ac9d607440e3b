// A kept connection has the login shell, the groups and the server's configuration of the time when it logged in. Once
// these have failed a step, the next one logs in anew, because they may have been mended.
import { chownSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { accountTest, sshTest } from '../../ssh/sshd-setup.ts';
import { type SftpSetup, setupTransfers, withoutSftp } from './sftp-setup.ts';

const account = { name: 'opsdeploy' };

function edit({ sshd }: SftpSetup, file: string, from: RegExp, to: string): void {
  const path = join(sshd.dir, file);
  writeFileSync(path, readFileSync(path, 'utf8').replace(from, to));
}

async function upload(t: SftpSetup, type: 'upload' | 'copy' = 'upload', more: object = {}) {
  const file = await t.put('local', 'file', 'content');
  return (await t.run(type, { local_path: file, remote_path: join(t.remote, 'file'), ...more })).outcome;
}

const logins = ({ sshd }: SftpSetup) => sshd.log().split('Accepted publickey').length - 1;

accountTest('a transfer works once the login shell that let nobody in was mended', async () => {
  const t = await setupTransfers({ account: { ...account, shell: '/usr/sbin/nologin' } });
  expect(await upload(t)).toMatchObject({ reason: 'sftp_missing' });
  edit(t, 'etc/passwd', /^(opsdeploy:.*):[^:]*$/m, '$1:/bin/sh');
  expect(await upload(t)).toMatchObject({ status: 'succeeded' });
});

accountTest('a transfer works once its user was added to the group that may write', async () => {
  const t = await setupTransfers({ account });
  await chmod(t.remote, 0o770);
  chownSync(t.remote, 0, 20_777);
  expect(await upload(t)).toMatchObject({ reason: 'permission_denied' });
  edit(t, 'etc/group', /$/, 'writers:x:20777:opsdeploy\n');
  expect(await upload(t)).toMatchObject({ status: 'succeeded' });
});

accountTest('a copy by SCP works once its user was added to the group that may write', async () => {
  const t = await setupTransfers({ account, ...withoutSftp });
  await chmod(t.remote, 0o770);
  chownSync(t.remote, 0, 20_777);
  expect(await upload(t, 'copy')).toMatchObject({ reason: 'permission_denied' });
  edit(t, 'etc/group', /$/, 'writers:x:20777:opsdeploy\n');
  expect(await upload(t, 'copy')).toMatchObject({ status: 'succeeded' });
});

accountTest('a transfer as another user works once the sudoers file lets its user', async () => {
  const t = await setupTransfers({ account: { ...account, sudoers: ['%admins ALL=(ALL) NOPASSWD: ALL'] } });
  const become = { become: { method: 'sudo' as const, user: 'root' } };
  const file = await t.put('local', 'file', 'content');
  const config = { local_path: file, remote_path: join(t.remote, 'file') };
  const password = { ...become.become, password: undefined };
  expect((await t.run('upload', config, { become: password })).outcome.status).toBe('failed');
  edit(t, 'etc/group', /$/, 'admins:x:20778:opsdeploy\n');
  expect((await t.run('upload', config, { become: password })).outcome).toMatchObject({
    status: 'succeeded',
  });
});

sshTest('copies to a target that has no SFTP go over one login', async () => {
  const t = await setupTransfers(withoutSftp);
  for (let n = 0; n < 2; n += 1)
    expect(await upload(t, 'copy', { overwrite: 'always' })).toMatchObject({ status: 'succeeded' });
  expect(logins(t)).toBe(1);
});
