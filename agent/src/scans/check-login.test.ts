import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { accountTest, type SshSetup, setupSshd, sshTest } from '../ssh/sshd-setup.ts';
import { testConnection } from '../ssh/test-connection.ts';
import { checkLogin } from './check-login.ts';

const account = { name: 'opsdeploy' };

async function testOf(
  { target, credential }: SshSetup,
  limit = AbortSignal.timeout(60_000),
  masked = (text: string) => text,
) {
  const result = await testConnection(target, credential, {
    checkAddresses: () => {},
    check: (connection) =>
      checkLogin(connection, {
        ...{ host: target.host, user: credential.user },
        ...{ shellLimit: limit, sftpLimit: limit },
        masked,
      }),
  });
  if (result.ok) return { ok: true, message: result.found };
  const { reason, message, advice } = result.error;
  return { ok: false, reason, message, advice };
}

/** Changes the account's line in the server's own /etc/shadow, from the third field on. */
function setShadow({ sshd }: SshSetup, fields: string): void {
  const path = join(sshd.dir, 'etc/shadow');
  const lines = readFileSync(path, 'utf8').replace(/^(opsdeploy:[^:]*:).*$/m, `$1${fields}`);
  writeFileSync(path, lines);
  writeFileSync(
    join(sshd.dir, 'etc/pam.d/sshd'),
    'auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n',
  );
}

sshTest('a test runs a command and opens SFTP', async () => {
  expect(await testOf(await setupSshd())).toEqual({
    ok: true,
    message: 'The login works, a command ran, and SFTP answers.',
  });
});

sshTest('a test needs no more than one session at a time', async () => {
  const t = await setupSshd({ config: ['MaxSessions 1'] });
  expect(await testOf(t)).toMatchObject({ ok: true, message: expect.stringContaining('SFTP answers') });
});

sshTest('a host without SFTP passes the test, which says so', async () => {
  const t = await setupSshd({ config: ['Subsystem sftp /nonexistent/sftp-server'] });
  expect(await testOf(t)).toMatchObject({
    ok: true,
    message: expect.stringMatching(/a command ran, but there is no SFTP: .+ use ssh.copy/),
  });
});

sshTest('a user who may only transfer files passes the test, which says that no command runs', async () => {
  const t = await setupSshd({ config: ['ForceCommand internal-sftp'] });
  expect(await testOf(t)).toMatchObject({
    ok: true,
    message: expect.stringMatching(/^The login works, but only for files: .*only transfer files/),
  });
});

sshTest('what the shell printed is masked before its end is quoted', async () => {
  const printed = `secret ${'x'.repeat(295)}`;
  const t = await setupSshd({ config: [`ForceCommand echo ${printed}; exit 3`] });
  const { message } = await testOf(t, undefined, (text) => text.replace('secret', '********'));
  expect(message).toContain(`It printed: “…****${printed.slice(6)}”`);
});

accountTest('an account whose shell is nologin fails the test', async () => {
  const t = await setupSshd({ account: { ...account, shell: '/usr/sbin/nologin' } });
  expect(await testOf(t)).toEqual({
    ok: false,
    reason: 'channel_refused',
    message:
      'The login shell of opsdeploy on 127.0.0.1 lets nobody run a command (exit code 1). It printed: “This account is currently not available”.',
    advice: expect.stringContaining('jump host'),
  });
});

accountTest('an account whose password has expired fails the test, although its key lets it in', async () => {
  const t = await setupSshd({ account, config: ['UsePAM yes'] });
  setShadow(t, '0:0:99999:7:::');
  expect(await testOf(t)).toMatchObject({
    ok: false,
    reason: 'channel_refused',
    message: expect.stringContaining('The password of opsdeploy on 127.0.0.1 has expired'),
    advice: expect.stringContaining('chage'),
  });
});

accountTest('an account that has expired fails the test, which names that among the causes', async () => {
  const t = await setupSshd({ account, config: ['UsePAM yes'] });
  setShadow(t, '19000:0:99999:7::1:');
  const result = await testOf(t);
  expect(result).toMatchObject({ ok: false });
  expect(`${result.message} ${result.advice}`).toContain('expired');
});

accountTest('an account that has expired fails the test also on a server without PAM', async () => {
  const t = await setupSshd({ account });
  setShadow(t, '19000:0:99999:7::1:');
  const result = await testOf(t);
  expect(result).toMatchObject({ ok: false, reason: 'auth_failed' });
  expect(result.advice).toContain('expired');
});

accountTest('a restricted shell fails the test', async () => {
  const t = await setupSshd({ account: { ...account, shell: '/bin/rbash' } });
  expect(await testOf(t)).toMatchObject({
    ok: false,
    reason: 'channel_refused',
    message: expect.stringContaining('is restricted, and does not start /bin/sh'),
  });
});

accountTest('a shell that hangs in a startup file fails the test', async () => {
  // Bash reads the file at its first level only, and the server's sessions otherwise begin at the second.
  const t = await setupSshd({ account: { ...account, shell: '/bin/bash' }, config: ['SetEnv SHLVL=0'] });
  const home = join(t.sshd.dir, 'home');
  writeFileSync(join(home, '.bashrc'), 'touch hangs; exec sleep 600\n');
  const limit = new AbortController();
  const testing = testOf(t, limit.signal);
  await vi.waitFor(() => statSync(join(home, 'hangs')), { timeout: 20_000 });
  limit.abort();
  expect(await testing).toMatchObject({
    ok: false,
    reason: 'channel_refused',
    message: 'The login works, but the login shell of opsdeploy on 127.0.0.1 did not run a command in time.',
  });
});

accountTest(
  'an account whose login shell does not exist fails the test, which names that among the causes',
  async () => {
    const t = await setupSshd({ account: { ...account, shell: '/nonexistent/shell' } });
    const result = await testOf(t);
    expect(result).toMatchObject({ ok: false, reason: 'auth_failed' });
    expect(result.advice).toContain('login shell exists');
  },
);
