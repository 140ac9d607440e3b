// The checks that every SSH server goes through, and which of them each one passes. The table is in
// docs/ssh-servers.md.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
// biome-ignore-start lint/style/noRestrictedImports: only tests use the servers that test/ provides
import { startOtherSshd } from '../../../test/support/other-sshd.ts';
import { ensureOtherSshd } from '../../../test/support/packages.ts';
import { fixturePassword } from '../../../test/support/sshd.ts';
// biome-ignore-end lint/style/noRestrictedImports: see above
import { checkLogin } from '../scans/check-login.ts';
import { accountTest, type ServerFixture, setupServer } from '../ssh/sshd-setup.ts';
import { testConnection } from '../ssh/test-connection.ts';
import { type ExecSetup, setupExec, setupExecOn } from './ssh-exec/ssh-exec-setup.ts';

type Setup = ExecSetup<ServerFixture>;
const account = { name: 'opsdeploy' };

const checks = {
  /** Host key, login, a shell, and SFTP if there is any. */
  connection: async (t: Setup) => {
    const limit = AbortSignal.timeout(60_000);
    const tested = await testConnection(t.target, t.credential, {
      checkAddresses: () => {},
      check: (connection) =>
        checkLogin(connection, {
          ...{ host: t.target.host, user: t.credential.user, shellLimit: limit, sftpLimit: limit },
          masked: (text) => text,
        }),
    });
    return tested.ok ? 'ok' : tested.error.reason;
  },
  /** A long script with input and environment: both streams and the exit code come back. */
  command: async (t: Setup) => {
    const outcome = await t.run({
      command: `# ${'x'.repeat(100_000)}\ncat; echo "$A" >&2; exit 3`,
      stdin: 'in\n',
      environment: { A: "it's" },
    });
    if (outcome.reason !== 'exit_code') return outcome.reason;
    return [outcome.exitCode, t.sink.stdout, t.sink.stderr].join() === "3,in\n,it's\n" ? 'ok' : 'garbled';
  },
  /** A command that survives its agent is collected to its end. */
  survives: async (t: Setup) => {
    const outcome = await t.run({ command: 'echo kept; exit 4', survive_agent_restart: true });
    if (outcome.reason !== 'exit_code') return outcome.reason;
    return outcome.exitCode === 4 && t.sink.stdout.includes('kept') ? 'ok' : 'garbled';
  },
  /** Nothing is left of a cancelled command, and the agent confirms it. */
  cancel: async (t: Setup) => {
    const running = t.run({ command: 'sleep 1000 & echo pid $!; wait' });
    const ended = running.then(({ reason }) => reason);
    const seen = await Promise.race([t.sink.seen(/pid (\d+)/), ended]);
    if (!Array.isArray(seen)) return seen;
    t.stop('cancelled', 100);
    const { status, reason } = await running;
    return status === 'cancelled' && !isRunning(seen[1]) ? 'ok' : reason;
  },
  /** It works as a jump host. */
  jump: async (t: Setup) => {
    const jump = { target: { ...t.target, name: 'hop' }, credential: t.credential, checkAddresses: () => {} };
    const through = { ...t.target, jumps: [jump] };
    const tested = await testConnection(through, t.credential, { checkAddresses: () => {} });
    return tested.ok ? 'ok' : tested.error.reason;
  },
};
type Passes = Record<keyof typeof checks, string | undefined>;

async function passesOf(t: Setup): Promise<Passes> {
  const passes = {} as Passes;
  for (const [name, check] of Object.entries(checks)) {
    passes[name as keyof Passes] = await check(t);
    t.sink.parts.length = 0;
  }
  return passes;
}

function isRunning(pid: string | undefined): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const all: Passes = { connection: 'ok', command: 'ok', survives: 'ok', cancel: 'ok', jump: 'ok' };
const strict = [
  'KexAlgorithms ecdh-sha2-nistp384',
  'Ciphers aes256-ctr',
  'MACs hmac-sha2-512',
  'HostKeyAlgorithms rsa-sha2-512',
  'PubkeyAcceptedAlgorithms ssh-ed25519',
];

accountTest('OpenSSH passes every check', async () => {
  expect(await passesOf(await setupExec({ account }))).toEqual(all);
});

accountTest(
  'OpenSSH with few algorithms, or with one session per connection, passes every check',
  async () => {
    const few = await setupExec({ account, hostKeys: ['rsa'], config: strict });
    expect(await passesOf(few)).toEqual(all);
    const one = await setupExec({ account, config: ['MaxSessions 1'] });
    expect(await passesOf(one)).toEqual(all);
  },
);

accountTest('OpenSSH that asks for the password by keyboard-interactive passes every check', async () => {
  const t = await setupExec({ account, login: ['keyboard'] });
  t.credential = { kind: 'ssh_password', id: '8', version: 1, user: t.sshd.user, password: fixturePassword };
  const run = t.run;
  t.run = (config, more) => run(config, { credential: t.credential, ...more });
  expect(await passesOf(t)).toEqual(all);
});

accountTest(
  'OpenSSH with a forced command accepts the login, but starts none of our commands, and the test says so',
  async () => {
    const t = await setupExec({ account, config: ['ForceCommand echo only this'] });
    expect(await checks.connection(t)).toBe('channel_refused');
    expect(await checks.command(t)).toBe('channel_refused');
    expect(await checks.survives(t)).toBe('no_supervisor');
    expect(await checks.jump(t)).toBe('ok');
  },
);

for (const [name, passes] of [
  ['dropbear', all],
  ['tinyssh', { ...all, jump: 'jump_host_failed' }],
] as const) {
  const missing = 'missing' in (await ensureOtherSshd(name));
  (missing ? test.skip : accountTest)(
    `${name} passes the checks that its row of the table lists`,
    async () => {
      expect(await passesOf(setupExecOn(setupServer(await startOtherSshd(name))))).toEqual(passes);
    },
  );
}
