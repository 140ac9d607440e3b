import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import {
  type AgentMessage,
  agentToServer,
  type LeaseCredential,
  type LeaseTarget,
} from '@opsconductor/protocol';
import { pino } from 'pino';
import { Check } from 'typebox/value';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { UsableCredential } from '../execution/secrets/credential-opener.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import { textPatterns } from '../masking/secret-patterns.ts';
import { emptyPolicy } from '../policy/agent-policy.ts';
import { PolicyGuard } from '../policy/policy-guard.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { accountTest, setupSshd, sshTest } from '../ssh/sshd-setup.ts';
import { TargetTester } from './target-tester.ts';

const log = pino({ level: 'silent' });

async function testOf(target: LeaseTarget, timeoutMs = 10_000): Promise<AgentMessage> {
  const tester = new TargetTester({
    opener: {
      open: () => Promise.reject(new Error('There is no credential')),
      openWay: async ({ jumps: _, ...place }) => ({ target: place, patterns: [] }),
      refused: () => {},
    },
    winrmPolicy: {},
    policy: new PolicyGuard({ policy: emptyPolicy }),
    log,
  });
  return new Promise((resolve) => {
    void tester.test({ type: 'test_target', requestId: 'a', target, timeoutMs }, resolve);
  });
}

sshTest('a test without a credential checks the host key, and logs nobody in', async () => {
  const t = await setupSshd();
  const { jumps: _, ...target } = t.target;
  expect(await testOf(target)).toEqual({ type: 'target_tested', requestId: 'a', ok: true });
  expect(await testOf({ ...target, hostKeys: [] })).toMatchObject({
    ok: false,
    reason: 'host_key_unknown',
    offeredHostKey: expect.stringContaining('ssh-ed25519'),
  });
  await t.sshd.stop();
  expect(t.sshd.log()).toContain('Connection');
  expect(t.sshd.log()).not.toMatch(/user|Failed|Accepted/i);
});

/** A tester that opens every credential as this. */
function testerWith(opened: object): TargetTester {
  const opener = {
    open: async () => opened as unknown as UsableCredential,
    openWay: () => Promise.reject(new Error('There is a credential')),
    refused: () => {},
  };
  return new TargetTester({ opener, winrmPolicy: {}, policy: new PolicyGuard({ policy: emptyPolicy }), log });
}

accountTest('a test with a credential fails if the login works and no command runs', async () => {
  const t = await setupSshd({ account: { name: 'opsdeploy', shell: '/usr/sbin/nologin' } });
  const { jumps: _, ...target } = t.target;
  const { credential, request } = t;
  const { checkAddresses } = request;
  const opened = { target, credential, secrets: new PatternSet([]), checkAddresses };
  const tester = testerWith(opened);
  const sealed = { id: '7', version: 1 } as LeaseCredential;
  const told = await new Promise<AgentMessage>((resolve) => {
    const asked = { requestId: 'a', target, credential: sealed, timeoutMs: 20_000 };
    void tester.test({ type: 'test_target', ...asked }, resolve);
  });
  expect(told).toMatchObject({ ok: false, reason: 'channel_refused' });
});

test('a host that accepts the connection and says nothing is told from one that can’t be reached', async () => {
  const silent = createServer();
  onTestFinished(() => void silent.close());
  silent.on('connection', (socket) => onTestFinished(() => void socket.destroy()));
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const { port } = silent.address() as AddressInfo;
  const target = { id: 1, name: 'web-1', host: '127.0.0.1', port, hostKeys: [] };
  expect(await testOf(target, 500)).toMatchObject({
    reason: 'connect_timed_out',
    message: expect.stringContaining('accepted the connection but did not finish the SSH handshake'),
  });
});

test('a test without a credential is subject to the policy', async () => {
  const opener = { open: () => Promise.reject(), openWay: () => Promise.reject(), refused: () => {} };
  const rules = { targets: { ports: [2222] } };
  const policy = new PolicyGuard({ policy: { fileRoots: [], rules } });
  const tester = new TargetTester({ opener, winrmPolicy: {}, policy, log });
  const target = { id: 1, name: 'web-1', host: 'web-1', port: 22, hostKeys: [] };
  const told = await new Promise((resolve) => {
    void tester.test({ type: 'test_target', requestId: 'a', target, timeoutMs: 1_000 }, resolve);
  });
  expect(told).toMatchObject({ ok: false, reason: 'policy_refused' });
});

test('a test that fails in a way that nobody foresaw is in the log, to which its result refers', async () => {
  const logged = vi.fn();
  const failure = new Error('cannot read properties of undefined');
  const opener = { open: () => Promise.reject(), openWay: () => Promise.reject(failure), refused: () => {} };
  const policy = new PolicyGuard({ policy: emptyPolicy });
  const tester = new TargetTester({ opener, winrmPolicy: {}, policy, log: { error: logged } });
  const target = { id: 7, name: 'web-1', host: 'web-1', port: 22, hostKeys: [] };
  const told = await new Promise((resolve) => {
    void tester.test({ type: 'test_target', requestId: 'a', target, timeoutMs: 10_000 }, resolve);
  });
  expect(told).toMatchObject({ reason: 'internal', advice: expect.stringContaining('log') });
  expect(logged.mock.calls).toEqual([[{ err: failure, target: 7 }, expect.stringContaining('test')]]);
});

/** Tests a target with this password, whose host says this. */
async function testThatSays(password: string, said: { message: string; advice: string }) {
  const target = { id: 1, name: 'web-1', host: '127.0.0.1', port: 22, hostKeys: [] };
  const opened = {
    target,
    credential: { kind: 'ssh_password', id: '7', version: 1, user: 'root', password },
    secrets: new PatternSet(textPatterns(password)),
    checkAddresses: () => {
      throw new SshError({ reason: 'auth_failed', ...said });
    },
  };
  const tester = testerWith(opened);
  return new Promise<AgentMessage>((resolve) => {
    const credential = { id: '7', version: 1 } as LeaseCredential;
    void tester.test({ type: 'test_target', requestId: 'a', target, credential, timeoutMs: 20_000 }, resolve);
  });
}

test('what a host said is told with the secrets masked that it was given', async () => {
  const password = 'correct-horse-battery';
  const message = `It printed: ${password} and ${password.slice(0, 12)}…`;
  expect(await testThatSays(password, { message, advice: `Is ${password} right?` })).toMatchObject({
    reason: 'auth_failed',
    message: 'It printed: ******** and ********…',
    advice: 'Is ******** right?',
  });
});

test('what a host said is no longer than a server takes it, even if the masks are longer than the secret', async () => {
  const said = 'door '.repeat(300);
  const told = await testThatSays('door', { message: said, advice: said });
  expect(told).toMatchObject({ message: expect.stringMatching(/^(\*{8} )+.*…$/) });
  expect(Check(agentToServer.target_tested, told)).toBe(true);
});
