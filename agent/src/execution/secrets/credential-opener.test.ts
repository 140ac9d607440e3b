import { randomUUID } from 'node:crypto';
import type { LeaseCredential, LeaseTarget } from '@opsconductor/protocol';
import {
  type CredentialBounds,
  type CredentialSecret,
  generateSegmentKey,
  sealCredential,
} from '@opsconductor/protocol/sealing';
import { describe, expect, test } from 'vitest';
import { emptyPolicy, type PolicyRules } from '../../policy/agent-policy.ts';
import { PolicyGuard } from '../../policy/policy-guard.ts';
import { SourceReader } from '../../sources/source-reader.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { CredentialOpener, NoSegmentKey } from './credential-opener.ts';

const installationId = 'installation-1';
const segmentId = 3;
const target: LeaseTarget = { id: 1, name: 'web-1', host: 'web-1.example', port: 22, hostKeys: [] };
const bounds: CredentialBounds = {
  hosts: ['*.example'],
  networks: ['10.0.0.0/8'],
  ports: [22],
  protocols: ['ssh'],
  user: 'root',
  authentication: ['password'],
};

async function setup(rules?: PolicyRules) {
  const segment = await generateSegmentKey();
  const clock = { ms: 0 };
  const refused: string[] = [];
  const environment: NodeJS.ProcessEnv = { DEPLOY: 'battery staple' };
  const policy = new PolicyGuard({
    policy: rules === undefined ? emptyPolicy : { fileRoots: [], rules },
    onRefusal: ({ rule }) => refused.push(rule),
  });
  const monotonicMs = () => clock.ms;
  const opener = new CredentialOpener({
    installationId,
    segmentId,
    segmentPrivateKey: (generation) => (generation === 1 ? segment.privateKey : undefined),
    monotonicMs,
    policy,
    sources: new SourceReader({ policy, monotonicMs, environment }),
  });
  const id = randomUUID();
  const seal = async (
    secret: Partial<CredentialSecret> = {},
    at: { id?: string; segmentId?: number } = {},
  ) => {
    const { kind = 'ssh_password' } = secret;
    const sealed = await sealCredential({
      segmentPublicKey: segment.publicKey,
      binding: {
        installationId,
        credentialId: at.id ?? id,
        version: 1,
        kind,
        segmentId: at.segmentId ?? segmentId,
        generation: 1,
      },
      secret: {
        kind: 'ssh_password',
        user: 'root',
        ...(kind === 'ssh_password' ? { password: 'correct horse' } : {}),
        bounds,
        ...secret,
      } as CredentialSecret,
    });
    return { id, version: 1, kind, sealed } satisfies LeaseCredential;
  };
  return { opener, seal, clock, refused, environment };
}

async function refusal(opening: Promise<unknown>): Promise<unknown> {
  return opening.then(
    () => undefined,
    (error: unknown) => error,
  );
}

test('a credential of this segment is opened, and its secret is masked in output', async () => {
  const { opener, seal } = await setup();
  const { credential, secrets } = await opener.open(await seal(), target);
  expect(credential).toMatchObject({ kind: 'ssh_password', user: 'root', password: 'correct horse' });
  expect(secrets.find(Buffer.from('a correct horse b'))).toEqual([{ start: 2, end: 15 }]);
});

test.each([
  ['another host', { ...target, host: 'web-1.evil' }],
  ['another port', { ...target, port: 2222 }],
])('%s than the bounds allow is refused before any name is resolved', async (_, elsewhere) => {
  const { opener, seal } = await setup();
  const error = await refusal(opener.open(await seal(), elsewhere));
  expect(error).toBeInstanceOf(SshError);
  expect(error).toMatchObject({ reason: 'credential_bounds' });
});

test('all addresses must be inside the networks', async () => {
  const { opener, seal } = await setup();
  const { checkAddresses } = await opener.open(await seal(), target);
  expect(() => checkAddresses(['10.1.2.3'])).not.toThrow();
  expect(() => checkAddresses(['10.1.2.3', '192.0.2.1'])).toThrow('192.0.2.1');
  expect(() => checkAddresses([])).toThrow();
});

test('the agent logs in as the user that the target names only if the bounds allow it', async () => {
  const { opener, seal } = await setup();
  const asDeploy = { ...target, username: 'deploy' };
  const refused = await refusal(opener.open(await seal(), asDeploy));
  expect(refused).toMatchObject({ reason: 'credential_bounds' });
  expect((refused as SshError).message).toContain('user deploy');
  expect((refused as SshError).advice).toContain('user name');
  const anyone = await seal({ bounds: { ...bounds, user: '*' } });
  expect((await opener.open(anyone, asDeploy)).credential.user).toBe('deploy');
  expect((await opener.open(anyone, target)).credential.user).toBe('root');
  expect((await opener.open(await seal(), { ...target, username: 'root' })).credential.user).toBe('root');
});

test.each([
  ['another credential', { id: randomUUID() }],
  ['another segment', { segmentId: 4 }],
])('a credential sealed for %s can not be opened as this one', async (_, at) => {
  const { opener, seal } = await setup();
  expect(await refusal(opener.open(await seal({}, at), target))).toMatchObject({
    reason: 'credential_unusable',
  });
});

test('a missing segment key generation is not a failure of the credential', async () => {
  const { opener, seal } = await setup();
  const credential = await seal();
  const later = { ...credential, sealed: { ...credential.sealed, generation: 2 } };
  expect(await refusal(opener.open(later, target))).toBeInstanceOf(NoSegmentKey);
});

test('an opened credential serves other targets, and the bounds are checked for each', async () => {
  const { opener, seal } = await setup();
  const credential = await seal();
  await opener.open(credential, target);
  await opener.open(credential, { ...target, id: 2, host: 'web-2.example' });
  const elsewhere = refusal(opener.open(credential, { ...target, host: 'web.evil' }));
  expect(await elsewhere).toMatchObject({ reason: 'credential_bounds' });
});

test('another seal under the same id and version is opened, not answered from what was opened before', async () => {
  const { opener, seal } = await setup();
  await opener.open(await seal(), target);
  const swapped = await opener.open(await seal({ password: 'battery staple' }), target);
  expect(swapped.credential).toMatchObject({ password: 'battery staple' });
});

test('a user, a host or an address that the owner of the machine does not allow is refused, whatever the bounds say', async () => {
  const refused = (rule: string) => ({
    reason: 'policy_refused',
    message: expect.stringContaining(`rule ${rule}`),
  });
  const users = await setup({ users: ['deploy'] });
  await expect(users.opener.open(await users.seal(), target)).rejects.toMatchObject(refused('users'));
  const hosts = await setup({ targets: { hosts: ['db-*.example'] } });
  await expect(hosts.opener.open(await hosts.seal(), target)).rejects.toMatchObject(refused('targets.hosts'));
  const networks = await setup({ targets: { networks: ['10.1.0.0/16'] } });
  const { checkAddresses } = await networks.opener.open(await networks.seal(), target);
  expect(() => checkAddresses(['10.1.2.3'])).not.toThrow();
  expect(() => checkAddresses(['10.1.2.3', '10.2.2.3'])).toThrow('address 10.2.2.3: rule targets.networks');
});

describe('a password that would be sent to a host behind a jump host', () => {
  // Anyone with the segment's public key can seal, so the server can too: here, a credential for a jump host of its
  // own.
  const hop = (host: string) => ({ id: 9, name: 'hop', host, port: 22, hostKeys: [] });
  const through = async (
    hosts: readonly string[],
    own: Partial<CredentialSecret> = {},
    rules?: PolicyRules,
  ) => {
    const t = await setup(rules);
    const credential = await t.seal({ bounds: { ...bounds, hosts: ['*'], networks: ['*'] } });
    const jumps = hosts.map((host) => ({ target: hop(host), credential }));
    return refusal(t.opener.open(await t.seal(own), { ...target, jumps }));
  };
  const names = (host: string) => ({
    reason: 'credential_bounds',
    message: expect.stringContaining(`jump host “hop” (${host}), which is outside the credential's bounds`),
    advice: expect.stringContaining('log in with a key'),
  });
  const byHosts = { bounds: { ...bounds, networks: [] } };
  const byNetworks = { bounds: { ...bounds, hosts: [], networks: ['10.1.0.0/16'] } };

  test('is sent only if each jump host is within the bounds too', async () => {
    expect(await through(['bastion.example'], byHosts)).toBeUndefined();
    expect(await through(['hop.thief.test'], byHosts)).toMatchObject(names('hop.thief.test'));
    expect(await through(['bastion.example', 'hop.thief.test'], byHosts)).toMatchObject(
      names('hop.thief.test'),
    );
    expect(await through(['10.1.0.9'], byNetworks)).toBeUndefined();
    expect(await through(['10.2.0.9'], byNetworks)).toMatchObject(names('10.2.0.9'));
    // The bounds can't say who resolves the jump host's name.
    expect(await through(['bastion.example'], byNetworks)).toMatchObject(names('bastion.example'));
    const anywhere = { bounds: { ...bounds, hosts: ['*'], networks: ['*'] } };
    expect(await through(['hop.thief.test'], anywhere)).toBeUndefined();
  });

  test('does not exist when a key logs in, unless sudo is sent one', async () => {
    const keyBounds = { ...byHosts.bounds, authentication: ['publickey' as const] };
    const key = {
      kind: 'ssh_private_key' as const,
      privateKey: 'key',
      bounds: keyBounds,
    };
    expect(await through(['hop.thief.test'], key)).toBeUndefined();
    const becomes = { ...key, becomePassword: 'tr0ub4dor' };
    expect(await through(['hop.thief.test'], becomes)).toMatchObject(names('hop.thief.test'));
  });

  test('is subject to this machine’s policy whatever the bounds say: it treats jump hosts like targets', async () => {
    const anywhere = { bounds: { ...bounds, hosts: ['*'], networks: ['*'] } };
    expect(await through(['hop.thief.test'], anywhere, { targets: { hosts: ['*.example'] } })).toMatchObject({
      message: expect.stringMatching(/hop.*does not allow host hop\.thief\.test: rule targets\.hosts/),
    });
  });
});

describe('a credential that names a source of this machine', () => {
  const source = {
    name: 'deploy',
    environment: 'DEPLOY',
    bounds: { hosts: ['web-*.example'], networks: ['10.1.0.0/16'], ports: [22], user: 'root' },
  };
  const anywhere = { ...bounds, hosts: ['*'], networks: ['*'], user: '*' };
  const named: Partial<CredentialSecret> = {
    kind: 'ssh_password_source',
    source: 'deploy',
    bounds: anywhere,
  };
  const sourced = async (rules: PolicyRules = { sources: [source] }) => {
    const t = await setup(rules);
    return { ...t, credential: await t.seal(named) };
  };
  const outside = (field: string) => ({
    reason: 'policy_refused',
    message: expect.stringContaining(`rule sources[0].bounds.${field}`),
  });

  test('is read again after a host has refused what a program had printed', async () => {
    const { environment: _, ...rest } = source;
    const command = ['/bin/sh', '-c', 'read -r id < /proc/sys/kernel/random/uuid; echo "$id"'];
    const t = await sourced({ sources: [{ ...rest, command, keep_s: 3_600 }] });
    const read = async () => (await t.opener.open(t.credential, target)).credential;
    const first = await read();
    expect(await read()).toEqual(first);
    t.opener.refused({ credential: t.credential, target });
    expect(await read()).not.toEqual(first);
  });

  test('opens with what the source holds, which is masked in output', async () => {
    const t = await sourced();
    const { credential, secrets } = await t.opener.open(t.credential, target);
    expect(credential).toMatchObject({ kind: 'ssh_password', user: 'root', password: 'battery staple' });
    expect(credential).not.toHaveProperty('source');
    expect(secrets.find(Buffer.from('a battery staple b'))).toEqual([{ start: 2, end: 16 }]);
    t.environment.DEPLOY = 'another one';
    const next = await t.opener.open(t.credential, target);
    expect(next.secrets.find(Buffer.from('battery staple, another one'))).toEqual([{ start: 16, end: 27 }]);
  });

  test('is held to the bounds of the source, whatever its own bounds say', async () => {
    const t = await sourced();
    const refusalAt = (elsewhere: Partial<LeaseTarget>) =>
      refusal(t.opener.open(t.credential, { ...target, ...elsewhere }));
    expect(await refusalAt({ host: 'thief.test' })).toMatchObject(outside('hosts'));
    expect(await refusalAt({ port: 2222 })).toMatchObject({ reason: 'credential_bounds' });
    expect(await refusalAt({ username: 'deploy' })).toMatchObject(outside('user'));
    const { checkAddresses } = await t.opener.open(t.credential, target);
    expect(() => checkAddresses(['10.1.2.3'])).not.toThrow();
    expect(() => checkAddresses(['10.2.2.3'])).toThrow('rule sources[0].bounds.networks');
    const hop = {
      target: { ...target, name: 'hop', host: 'hop.thief.test' },
      credential: await t.seal({ bounds: anywhere }),
    };
    expect(await refusalAt({ jumps: [hop] })).toMatchObject(outside('hosts'));
    expect(t.refused).toEqual([
      'sources[0].bounds.hosts',
      'sources[0].bounds.user',
      'sources[0].bounds.networks',
      'sources[0].bounds.hosts',
    ]);
  });

  test('is held to its own bounds too, and reads nothing if the policy names no such source', async () => {
    const t = await sourced();
    const narrow = await t.seal({ ...named, bounds: { ...anywhere, hosts: ['db-*.example'] } });
    expect(await refusal(t.opener.open(narrow, target))).toMatchObject({ reason: 'credential_bounds' });
    const none = await sourced({});
    expect(await refusal(none.opener.open(none.credential, target))).toMatchObject({
      reason: 'credential_unusable',
      message: 'The policy file of this agent names no source deploy.',
    });
  });

  test('is sent to no host for running a command as its user unless its bounds allow that', async () => {
    const windows = { sources: [{ ...source, bounds: { ...source.bounds, ports: [22, 5986] } }] };
    const t = await sourced(windows);
    const own = await t.seal({ bounds: { ...anywhere, authentication: ['password', 'ntlm'] } });
    const runAs = await t.seal({
      kind: 'winrm_password_source',
      source: 'deploy',
      bounds: { ...anywhere, protocols: ['ssh', 'winrm'], authentication: ['ntlm', 'run_as'] },
    });
    expect(await refusal(t.opener.open(own, target, runAs))).toMatchObject(outside('authentication'));
    const named = await sourced({
      sources: [{ ...source, bounds: { ...source.bounds, authentication: ['run_as'] } }],
    });
    const allowed = await named.seal({
      kind: 'winrm_password_source',
      source: 'deploy',
      bounds: { ...anywhere, protocols: ['ssh', 'winrm'], authentication: ['ntlm', 'run_as'] },
    });
    const { runAs: as } = await named.opener.open(await named.seal({ bounds: anywhere }), target, allowed);
    const { id, version } = allowed;
    expect(as).toEqual({ id, version, user: 'root', password: 'battery staple' });
  });
});
