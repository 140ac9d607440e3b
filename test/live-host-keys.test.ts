// Bulk handling of host keys, with a server, an agent and two real OpenSSH servers, one of them with a host
// certificate.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApproveHostKeysReply, HostScanDetail, HostScanItem } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { privateKeySecret, storeCredential } from './support/sealed-credential.ts';
import { type SshdFixture, startSshd } from './support/sshd.ts';
import { setup, type TestSystem } from './support/system.ts';

/** Gives an sshd a host certificate; returns the authority's public key line. */
async function certify(sshd: SshdFixture): Promise<string> {
  const authority = join(sshd.dir, 'ca');
  const hostKey = join(sshd.dir, 'host_ed25519');
  const keygen = (...args: string[]) => execFileSync('ssh-keygen', ['-q', ...args], { stdio: 'pipe' });
  keygen('-t', 'ed25519', '-N', '', '-f', authority);
  writeFileSync(`${hostKey}.pub`, `${sshd.hostKeyLine}\n`);
  keygen('-s', authority, '-I', 'certified-1', '-h', '-n', sshd.host, `${hostKey}.pub`);
  const config = join(sshd.dir, 'sshd_config');
  writeFileSync(config, `HostCertificate ${hostKey}-cert.pub\n${readFileSync(config, 'utf8')}`);
  await sshd.stop();
  await sshd.restart();
  return readFileSync(`${authority}.pub`, 'utf8').trim();
}

async function makeTarget(t: TestSystem, name: string, sshd: SshdFixture): Promise<number> {
  const { host, port } = sshd;
  const credentialId = await storeCredential(t.api, t.segmentId, name, privateKeySecret(sshd));
  const target = { segmentId: t.segmentId, name, host, port, credentialId };
  return (await t.api.made<{ id: number }>('/api/v1/targets', target)).id;
}

test('two hosts are scanned, one is approved, the other is certified, and a job runs on both', async () => {
  await using t = await setup();
  const certified = await startSshd();
  try {
    const authority = await certify(certified);
    const targetIds = [await makeTarget(t, 'certified', certified), await makeTarget(t, 'plain', t.sshd)];
    const trust = { kind: 'authority', publicKey: authority };
    await t.api.made(`/api/v1/segments/${t.segmentId}/host-trust`, trust);
    const { id } = await t.api.made<HostScanDetail>('/api/v1/host-scans', {
      kind: 'keys',
      selection: { targetIds },
    });
    const detail = async () => (await t.api.get<HostScanDetail>(`/api/v1/host-scans/${id}`)).body;
    await t.until(async () => expect((await detail()).completedAt).not.toBeNull());
    const { items } = (await t.api.get<{ items: HostScanItem[] }>(`/api/v1/host-scans/${id}/items`)).body;
    expect(items.map(({ name, finding }) => [name, finding])).toEqual([
      ['certified', 'certified'],
      ['plain', 'new'],
    ]);
    expect(items[0]?.certified?.keyId).toBe('certified-1');
    const { review } = await detail();
    const reply = await t.api.post<ApproveHostKeysReply>(`/api/v1/host-scans/${id}/approve`, {
      all: { finding: 'new', digest: review.new.digest },
    });
    expect(reply.body).toEqual({ targets: 1, keys: 1, replaced: 0 });
    const { reader, stepIds } = await t.run(['echo on $SSH_CONNECTION'], { targetIds });
    expect(await reader.end()).toBe('succeeded');
    const ports = stepIds.map((step) => Number(reader.text(step).trim().split(' ').at(-1)));
    expect(ports.sort()).toEqual([certified.port, t.sshd.port].sort());
  } finally {
    await certified.stop();
  }
});
