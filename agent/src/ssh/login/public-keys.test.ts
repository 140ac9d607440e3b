// Logging in with keys, against OpenSSH: with its keys, its certificates and its restrictions.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { refusalOf, type SshSetup, setupSshd, sshTest } from '../sshd-setup.ts';

function keygen(...args: string[]): void {
  execFileSync('ssh-keygen', ['-q', ...args], { stdio: 'pipe' });
}

function makeKey(dir: string, type: string): { path: string; privateKey: string; line: string } {
  const path = join(dir, `user_${type}`);
  keygen('-t', type, '-N', '', '-f', path, ...(type === 'rsa' ? ['-b', '2048'] : []));
  return { path, privateKey: readFileSync(path, 'utf8'), line: readFileSync(`${path}.pub`, 'utf8') };
}

function certify(t: SshSetup, path: string, ...options: string[]): string {
  keygen(
    '-s',
    join(t.sshd.dir, 'user_ca'),
    '-I',
    'deploy of 2026',
    '-n',
    t.sshd.user,
    ...options,
    `${path}.pub`,
  );
  return readFileSync(`${path}-cert.pub`, 'utf8').trim();
}

/** Sets up a server that accepts certificates signed by `user_ca`, and only SHA-2 signatures. */
async function setup(): Promise<SshSetup> {
  const t = await setupSshd({
    config: [
      'CASignatureAlgorithms ssh-ed25519',
      'PubkeyAcceptedAlgorithms -ssh-rsa,ssh-rsa-cert-v01@openssh.com',
    ],
  });
  keygen('-t', 'ed25519', '-N', '', '-f', join(t.sshd.dir, 'user_ca'));
  const path = join(t.sshd.dir, 'sshd_config');
  writeFileSync(path, `TrustedUserCAKeys ${t.sshd.dir}/user_ca.pub\n${readFileSync(path, 'utf8')}`);
  await t.sshd.stop();
  await t.sshd.restart();
  return t;
}

sshTest('keys of each type log in by themselves and with a certificate', async () => {
  const t = await setup();
  const plain = { kind: 'ssh_private_key', id: '7', version: 1, user: t.sshd.user } as const;
  for (const type of ['ed25519', 'ecdsa', 'rsa']) {
    const { path, privateKey, line } = makeKey(t.sshd.dir, type);
    t.credential = { ...plain, privateKey, certificate: certify(t, path) };
    (await t.connect()).close();
    t.credential = { ...plain, privateKey };
    expect((await t.refusal()).reason).toBe('auth_failed');
    writeFileSync(join(t.sshd.dir, 'authorized_keys'), line);
    (await t.connect()).close();
    expect(t.sshd.log()).toContain(`Accepted publickey for ${t.sshd.user}`);
  }
  expect(t.sshd.log()).toMatch(/Accepted publickey .* ssh2: RSA-CERT/);
});

sshTest(
  'each kind of unusable certificate has its own message, if possible before anything is dialed',
  async () => {
    const t = await setup();
    const plain = { kind: 'ssh_private_key', id: '7', version: 1, user: t.sshd.user } as const;
    const { path, privateKey } = makeKey(t.sshd.dir, 'ed25519');
    const refusalWith = (certificate: string) => {
      t.credential = { ...plain, privateKey, certificate };
      return refusalOf(t.connect());
    };
    const other = await refusalWith(certify(t, path, '-n', 'somebody-else'));
    expect(other).toMatchObject({ reason: 'auth_failed' });
    expect(other.message).toContain('publickey with its certificate, publickey');
    expect(other.advice).toContain('principal');
    const unusable = async (certificate: string, words: string) => {
      const error = await refusalWith(certificate);
      expect(error.reason).toBe('credential_unusable');
      expect(error.message).toContain(words);
    };
    await unusable(certify(t, path, '-V', '20200101000000Z:20200102000000Z'), 'expired at 2020-01-02');
    await unusable(certify(t, path, '-h'), 'for hosts');
    const stranger = makeKey(t.sshd.dir, 'ecdsa');
    await unusable(certify(t, stranger.path), 'belongs to another key');
    await unusable('ssh-ed25519-cert-v01@openssh.com AAAA', 'can’t be read');
  },
);
