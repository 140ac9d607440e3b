// The whole path to a target that is reached through another one, as root, across a restart.
import type { HostScanDetail, RunDetail, TestResult } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { ensureSudo } from './support/packages.ts';
import { storeCredential } from './support/sealed-credential.ts';
import { accountsMissing, fixturePassword, type SshdFixture, startSshd } from './support/sshd.ts';
import { setup, type TestSystem } from './support/system.ts';

const sudo = await ensureSudo();
const missing = accountsMissing() ?? ('missing' in sudo ? sudo.missing : undefined);

async function makeTarget(t: TestSystem, sshd: SshdFixture, settings: object): Promise<number> {
  const { host, port, user, privateKey } = sshd;
  const bounds = {
    hosts: [host],
    networks: ['127.0.0.0/8'],
    ports: [port],
    protocols: ['ssh' as const],
    user,
    authentication: ['publickey' as const],
  };
  const credentialId = await storeCredential(t.api, t.segmentId, 'behind', {
    kind: 'ssh_private_key',
    user,
    privateKey,
    becomePassword: fixturePassword,
    bounds,
  });
  const target = { segmentId: t.segmentId, name: 'behind', host, port, credentialId, settings };
  return (await t.api.made<{ id: number }>('/api/v1/targets', target)).id;
}

/** Scans the target through its jump host, and accepts the keys found. */
async function acceptScanned(t: TestSystem, targetId: number): Promise<void> {
  const scans = '/api/v1/host-scans';
  const { id } = await t.api.made<HostScanDetail>(scans, {
    kind: 'keys',
    selection: { targetIds: [targetId] },
  });
  const scan = async () => (await t.api.get<HostScanDetail>(`${scans}/${id}`)).body;
  await t.until(async () => expect((await scan()).completedAt).not.toBeNull());
  const { counts, review } = await scan();
  expect(counts).toMatchObject({ new: 1, unreachable: 0 });
  const all = { finding: 'new', digest: review.new.digest };
  expect((await t.api.post(`${scans}/${id}/approve`, { all })).status).toBe(200);
}

test('a target behind a jump host is scanned, worked on as root, restarted and waited for', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await using t = await setup();
  const sudoers = ['opsdeploy ALL=(ALL) ALL'];
  const behind = await startSshd({ account: { name: 'opsdeploy', sudoers, bootId: 'first' } });
  try {
    const hop = (await t.api.get<{ name: string }>(`/api/v1/targets/${t.targetId}`)).body.name;
    const refused = await t.api.post<{ details: { path: string }[] }>('/api/v1/targets', {
      segmentId: t.segmentId,
      name: 'nowhere',
      host: '127.0.0.1',
      settings: { jump_hosts: ['nobody'] },
    });
    expect(refused.status).toBe(400);
    const id = await makeTarget(t, behind, { jump_hosts: [hop] });
    const tested = async () => (await t.api.post<TestResult>(`/api/v1/targets/${id}/test`, {})).body;
    expect(await tested()).toMatchObject({ ok: false, reason: 'host_key_unknown' });
    await acceptScanned(t, id);
    expect(await tested()).toMatchObject({ ok: true });
    const become = { method: 'sudo', user: 'root' };
    const count = 'print scalar(getpwuid($<)), " of $ENV{NAME}: ", join("", <STDIN>);';
    const job = await t.api.made<{ id: number }>('/api/v1/jobs', {
      name: 'patch',
      steps: [
        {
          name: 'look',
          type: 'ssh.exec',
          config: {
            interpreter: 'perl',
            command: count,
            environment: { NAME: '${{ target.name }}' },
            stdin: 'port ${{ target.port }}',
            become,
          },
        },
        { name: 'restart', type: 'reboot', config: { command: 'id -un', become, timeout: 60 } },
        { name: 'is up', type: 'wait_for', config: { port: behind.port, timeout: 60 } },
      ],
    });
    const run = await t.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, { targetIds: [id] });
    const reader = t.read(run.id);
    const [look = 0, restart = 0, isUp = 0] = (await t.steps(run.id)).map((step) => step.id);
    await t.until(async () => expect(reader.text(restart)).toContain('asked to restart'));
    behind.boots('second', 1);
    expect(await reader.end()).toBe('succeeded');
    expect(reader.text(look)).toBe(`root of behind: port ${behind.port}\n`);
    expect(reader.text(restart)).toMatch(/as boot first\.\nroot\n[\s\S]*as boot second\.\n$/);
    expect(reader.text(isUp)).toContain('is open');
  } finally {
    await behind.stop();
  }
});
