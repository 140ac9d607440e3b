// Host certificates against OpenSSH: ssh-keygen makes them, and a real sshd presents them.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hostKeyBlob } from '../host-key.ts';
import { setupSshd, sshTest } from '../sshd-setup.ts';
import { readCertificate, refuseCertificate } from './host-certificate.ts';
import { refuseHostKey } from './refuse-host-key.ts';
import { scanHost } from './scan-host.ts';

interface Authority {
  path: string;
  line: string;
}

function keygen(...args: string[]): void {
  execFileSync('ssh-keygen', ['-q', ...args], { stdio: 'pipe' });
}

function makeAuthority(dir: string, type = 'ed25519', name = 'ca'): Authority {
  const path = join(dir, name);
  keygen('-t', type, '-N', '', '-f', path, ...(type === 'rsa' ? ['-b', '2048'] : []));
  return { path, line: readFileSync(`${path}.pub`, 'utf8').trim() };
}

/** Signs a public key file; returns the certificate line. */
function certify(authority: Authority, publicKey: string, ...options: string[]): string {
  keygen('-s', authority.path, '-I', 'web-1 of 2026', '-h', '-n', '127.0.0.1', ...options, publicKey);
  return readFileSync(publicKey.replace(/\.pub$/, '-cert.pub'), 'utf8').trim();
}

const blobOf = (line: string) => Buffer.from(line.split(' ')[1] ?? '', 'base64');
const hosts = '*';
const certificate =
  'ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAICMxZ0fQtyTZrD4bSxszNrou+CJnWmeAGqNZCzZaRwAFAAAAIAWHXcQTq3zxvTdE1fKdWBqX19LQ34k39wReKdBVwCxCAAAAAAAAAAAAAAACAAAABXdlYi0xAAAACQAAAAV3ZWItMQAAAAAAAAAA//////////8AAAAAAAAAAAAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIEYEbEeZqVc8mJY/W1vdYRASQSHkPg2EsvNzARcnotioAAAAUwAAAAtzc2gtZWQyNTUxOQAAAEAT1m6CsB/meOyM86vQSEbHAeTtMbrJAIRNmKWbjTOgC3X6OovzuLUzz2pySXt+lmM3mDzZYCxctLEdWMQHC18B';

for (const type of ['ed25519', 'ecdsa', 'rsa'] as const) {
  sshTest(`a host with an ${type} certificate of an authority is trusted, also after a rekey`, async () => {
    const t = await setupSshd({ hostKeys: [type] });
    const authority = makeAuthority(
      t.sshd.dir,
      type === 'rsa' ? 'rsa' : type === 'ecdsa' ? 'ecdsa' : 'ed25519',
    );
    const key = hostKeyFile(t.sshd, type);
    certify(authority, `${key}.pub`);
    await restartWith(t, `HostCertificate ${key}-cert.pub\nRekeyLimit 64K`);
    const connection = await t.connect(
      {},
      { hostKeys: [], hostAuthorities: [{ key: authority.line, hosts }] },
    );
    const channel = await connection.exec('head -c 300000 /dev/zero');
    let bytes = 0;
    for await (const chunk of channel) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(300_000);
    expect(t.sshd.hostKeyLine.split(' ')[0]).not.toContain('cert');
    const scanned = await scanHost(
      { id: 1, host: t.target.host, port: t.target.port },
      {
        kind: 'keys',
        signal: AbortSignal.timeout(10_000),
        hostAuthorities: [{ key: authority.line, hosts }],
      },
    );
    expect(scanned.keys).toEqual([t.sshd.hostKeyLine.split(' ').slice(0, 2).join(' ')]);
    expect(scanned.certified?.keyId).toBe('web-1 of 2026');
  });
}

sshTest('a certificate of another authority is worth no more than the key in it', async () => {
  const t = await setupSshd();
  const authority = makeAuthority(t.sshd.dir);
  const other = makeAuthority(t.sshd.dir, 'ed25519', 'other');
  const key = hostKeyFile(t.sshd, 'ed25519');
  certify(other, `${key}.pub`);
  await restartWith(t, `HostCertificate ${key}-cert.pub`);
  const hostAuthorities = [{ key: authority.line, hosts }];
  const refusal = await t.refusal({}, { hostKeys: [], hostAuthorities });
  expect(refusal.reason).toBe('host_key_unknown');
  expect(refusal.message).toContain('which is no host authority of this segment');
  expect(t.sshd.hostKeyLine).toContain(refusal.offeredHostKey?.line);
  // The plain key was accepted before. OpenSSH accepts the host in this case, and so do we.
  await t.connect({}, { hostAuthorities });
});

sshTest('a revoked key is refused even if it is accepted and certified', async () => {
  const t = await setupSshd();
  const { offeredHostKey } = await t.refusal({}, { hostKeys: [] });
  const revokedHostKeys = [offeredHostKey?.fingerprint ?? ''];
  const refusal = await t.refusal({}, { revokedHostKeys });
  expect(refusal.reason).toBe('host_key_mismatch');
  expect(refusal.message).toContain('was revoked');
});

sshTest('each requirement on a certificate is checked', async () => {
  const t = await setupSshd();
  const dir = t.sshd.dir;
  const authority = makeAuthority(dir);
  const key = `${hostKeyFile(t.sshd, 'ed25519')}.pub`;
  const trusted = [{ key: authority.line, hosts }];
  const now = Date.parse('2026-06-01T00:00:00Z');
  const refused = (line: string, host = '127.0.0.1', authorities = trusted, nowMs = now) => {
    const read = readCertificate(blobOf(line));
    return read === undefined ? 'no certificate' : refuseCertificate(read, host, authorities, nowMs);
  };
  const good = certify(authority, key, '-V', '20260101000000Z:20261231000000Z');
  expect(refused(good)).toBeUndefined();
  expect(refused(good, '127.0.0.2')).toContain('names 127.0.0.1, not 127.0.0.2');
  expect(refused(good, '127.0.0.1', [{ key: authority.line, hosts: '*.example.com' }])).toContain(
    'may not speak',
  );
  expect(refused(good, '127.0.0.1', trusted, Date.parse('2025-12-31T23:59:59Z'))).toContain(
    'not valid before',
  );
  expect(refused(good, '127.0.0.1', trusted, Date.parse('2026-12-31T00:00:00Z'))).toContain('expired at');
  const wildcard = certify(authority, key, '-n', '*.example.com');
  expect(refused(wildcard, 'Web-1.example.com')).toBeUndefined();
  expect(refused(wildcard, 'example.org')).toContain('names *.example.com');
  const ofUser = certifyUser(authority, key);
  expect(refused(ofUser)).toBe('is one for users, not for hosts');
  const odd = certify(authority, key, '-O', 'critical:nobody-knows@example.com=1');
  expect(refused(odd)).toContain('unknown critical options: nobody-knows@example.com');
  const forged = Buffer.from(blobOf(good));
  const at = forged.indexOf('web-1 of 2026');
  forged.write('W', at);
  expect(refused(`x ${forged.toString('base64')}`)).toContain('signature that its authority did not make');
  const withoutEnd = blobOf(good).subarray(0, -1);
  const trust = { hostKeys: [], hostAuthorities: trusted };
  expect(refuseHostKey('127.0.0.1', withoutEnd, trust, now)?.message).toContain('can’t be read');
});

test('reading any bytes as a certificate fails with a WireError at worst', () => {
  const whole = blobOf(certificate);
  expect(hostKeyBlob(certificate)).toBeDefined();
  for (let length = 0; length < whole.length; length += 1) {
    const cut = whole.subarray(0, length);
    expect(refuseHostKey('h', cut, { hostKeys: [] })?.reason).toBe('host_key_unknown');
    const bent = Buffer.from(whole);
    bent[length] = (bent[length] ?? 0) ^ 0xff;
    expect(refuseHostKey('web-1', bent, { hostKeys: [] })?.reason).toBe('host_key_unknown');
  }
});

function certifyUser(authority: Authority, publicKey: string): string {
  keygen('-s', authority.path, '-I', 'someone', '-n', '127.0.0.1', publicKey);
  return readFileSync(publicKey.replace(/\.pub$/, '-cert.pub'), 'utf8').trim();
}

function hostKeyFile({ dir, hostKeyLine }: { dir: string; hostKeyLine: string }, type: string): string {
  const path = join(dir, `host_${type}`);
  writeFileSync(`${path}.pub`, `${hostKeyLine}\n`);
  return path;
}

async function restartWith(t: Awaited<ReturnType<typeof setupSshd>>, lines: string): Promise<void> {
  const path = join(t.sshd.dir, 'sshd_config');
  writeFileSync(path, `${lines}\n${readFileSync(path, 'utf8')}`);
  await t.sshd.stop();
  await t.sshd.restart();
}
