import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LeaseWinrm } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { SshError } from '../../ssh/ssh-error.ts';
import type { OpenedCredential } from '../step-type.ts';
import { winrmLogin } from './winrm-login.ts';

const user = 'deploy@CORP.EXAMPLE';
const id = { id: '1', version: 1, user };
const winrm: LeaseWinrm = { transport: 'https', authentication: 'ntlm', certificateCheck: 'verify' };

function refusal(credential: OpenedCredential): SshError {
  try {
    winrmLogin(credential, winrm, []);
  } catch (error) {
    if (error instanceof SshError) return error;
  }
  throw new Error('it was not refused');
}

test('the target chooses the method for a password, and for nothing else', () => {
  const password = { kind: 'winrm_password', ...id, password: 'secret' } as const;
  expect(winrmLogin(password, winrm, [])).toEqual({ method: 'ntlm', user, password: 'secret' });
  const kerberos = { ...winrm, authentication: 'kerberos', principal: 'HTTP/a@B' } as const;
  expect(winrmLogin(password, kerberos, [])).toEqual({
    ...{ method: 'kerberos', user, principal: 'HTTP/a@B' },
    from: { password: 'secret' },
  });
  expect(winrmLogin({ kind: 'winrm_keytab', ...id, keytab: 'BQIA' }, winrm, [])).toEqual({
    ...{ method: 'kerberos', user },
    from: { keytab: Buffer.from([5, 2, 0]) },
  });
  const cache = { kind: 'winrm_ticket_cache', ...id, cache: 'deploy' } as const;
  expect(winrmLogin(cache, winrm, [{ name: 'deploy', path: '/run/deploy.cc' }])).toEqual({
    ...{ method: 'kerberos', user },
    from: { cache: 'FILE:/run/deploy.cc' },
  });
  expect(refusal(cache).message).toContain('names no ticket cache deploy');
});

test('a client certificate is checked before the host is contacted, and each mistake has its message', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-certificate-'));
  try {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    const make = async (name: string, more: string[]) => {
      const file = (end: string) => join(dir, `${name}.${end}`);
      const out = ['-keyout', file('key'), '-out', file('pem'), '-subj', '/CN=deploy'];
      execFileSync('openssl', ['req', '-x509', ...key, ...out, ...more], { stdio: 'ignore' });
      const [certificate = '', privateKey = ''] = await Promise.all(
        ['pem', 'key'].map((end) => readFile(file(end), 'utf8')),
      );
      return { kind: 'winrm_certificate', ...id, certificate, privateKey } as const;
    };
    const plain = await make('plain', ['-nodes', '-days', '10']);
    const locked = await make('locked', ['-passout', 'pass:open sesame', '-days', '10']);
    const old = await make('old', [
      '-nodes',
      '-not_before',
      '20200101000000Z',
      '-not_after',
      '20210101000000Z',
    ]);
    expect(winrmLogin(plain, winrm, [])).toMatchObject({ method: 'certificate' });
    expect(winrmLogin({ ...locked, passphrase: 'open sesame' }, winrm, [])).toMatchObject({
      passphrase: 'open sesame',
    });
    expect(refusal(locked).message).toContain('needs a passphrase');
    expect(refusal({ ...locked, passphrase: 'wrong' }).message).toContain('with its passphrase');
    expect(refusal({ ...plain, privateKey: old.privateKey }).message).toContain(
      'does not belong to its certificate',
    );
    expect(refusal(old).message).toContain('was valid until');
    expect(refusal({ ...plain, certificate: 'nothing' }).message).toContain('can’t be read');
  } finally {
    await rm(dir, { recursive: true });
  }
});
