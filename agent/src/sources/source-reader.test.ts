import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { PolicyGuard } from '../policy/policy-guard.ts';
import type { SourceRule } from '../policy/policy-schema.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { ed25519KeyPair } from '../testing/ssh-keys.ts';
import { SourceReader } from './source-reader.ts';

const bounds = { hosts: ['*'], ports: [22], user: '*' };

async function setup() {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-sources-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const clock = { ms: 0 };
  const environment: NodeJS.ProcessEnv = { PATH: '/usr/bin:/bin' };
  const reader = (source: Omit<SourceRule, 'name' | 'bounds'>) => {
    const policy = { fileRoots: [], rules: { sources: [{ name: 'deploy', bounds, ...source }] } };
    return new SourceReader({
      policy: new PolicyGuard({ policy }),
      monotonicMs: () => clock.ms,
      environment,
    });
  };
  return {
    file: (name: string) => join(dir, name),
    write: async (name: string, text: string | Buffer) => {
      await writeFile(join(dir, name), text);
      return join(dir, name);
    },
    reader,
    clock,
    environment,
    /** Why a password can't be read. */
    refusal: async (source: Omit<SourceRule, 'name' | 'bounds'>) => {
      const error = await reader(source)
        .password('deploy')
        .catch((reason: unknown) => reason);
      if (!(error instanceof SshError)) throw new Error('it was not refused');
      expect(error.reason).toBe('credential_unusable');
      expect(error.message).toContain('Source deploy of this agent’s policy');
      expect(`${error.message} ${error.advice}`).not.toContain('tr0ub4dor');
      return error.message.replace(/^.*policy /, '');
    },
  };
}

const sh = (script: string) => ({ command: ['/bin/sh', '-c', script] });

test('a password is what a file, a variable or a program contains, without its line end', async () => {
  const t = await setup();
  t.environment.DEPLOY = 'from a variable';
  expect(await t.reader({ file: await t.write('a', 'from a file\n') }).password('deploy')).toBe(
    'from a file',
  );
  expect(await t.reader({ environment: 'DEPLOY' }).password('deploy')).toBe('from a variable');
  expect(await t.reader(sh('echo from a program')).password('deploy')).toBe('from a program');
  const { private: key } = ed25519KeyPair();
  t.environment.KEY = key.trimEnd();
  expect(await t.reader({ environment: 'KEY' }).privateKey('deploy')).toBe(`${key.trimEnd()}\n`);
});

test('for half a key the error names the source, and nothing of the key', async () => {
  const t = await setup();
  const { private: key } = ed25519KeyPair();
  const half = key.slice(0, key.length / 2);
  const reading = t.reader({ file: await t.write('key', half) }).privateKey('deploy');
  const error = await reading.then(
    () => undefined,
    (reason: unknown) => reason as SshError,
  );
  expect(error).toBeInstanceOf(SshError);
  expect(error?.message).toMatch(/^Source deploy of this agent’s policy holds no readable private key/);
  expect(error?.advice).toMatch(/^On the agent’s machine: Make it hold the whole key file/);
  expect(`${error?.message} ${error?.advice}`).not.toContain(half.split('\n')[2]);
});

test('each way to have no secret has its own message, without what was read', async () => {
  const t = await setup();
  expect(await t.refusal({ file: t.file('none') })).toBe('is a file that is not there.');
  await symlink(t.file('loop'), t.file('loop'));
  expect(await t.refusal({ file: t.file('loop') })).toBe('is a file that can not be read (ELOOP).');
  expect(await t.refusal({ file: t.file('.') })).toBe('is not a regular file.');
  expect(await t.refusal({ file: await t.write('empty', '\n') })).toBe('is empty.');
  const large = await t.write('large', `tr0ub4dor${'x'.repeat(40_000)}`);
  expect(await t.refusal({ file: large })).toBe('holds more than 32768 bytes.');
  const lines = await t.write('lines', 'tr0ub4dor\nuser: deploy\n');
  expect(await t.refusal({ file: lines })).toBe('holds several lines.');
  const bytes = await t.write('bytes', Buffer.from([0x74, 0xff, 0xfe]));
  expect(await t.refusal({ file: bytes })).toBe('holds bytes that are not UTF-8 text.');
  const long = await t.write('long', 'x'.repeat(5_000));
  expect(await t.refusal({ file: long })).toBe('holds a password of more than 4096 characters.');
  expect(await t.refusal({ environment: 'NONE' })).toBe('is an environment variable that is not set.');
  expect(await t.refusal({ command: ['/nowhere/vault'] })).toBe(
    'is a program that can not be started (ENOENT).',
  );
  expect(await t.refusal({ command: [`${lines}/vault`] })).toBe(
    'is a program that can not be started (ENOTDIR).',
  );
  expect(await t.refusal(sh('echo tr0ub4dor; echo tr0ub4dor >&2; exit 3'))).toBe(
    'is a program that ended with exit status 3.',
  );
  expect(await t.refusal(sh('exit 0'))).toBe('is a program that wrote nothing.');
});

test('a program that does not end, or writes without end, is ended with everything that it has started', async () => {
  const t = await setup();
  expect(await t.refusal({ ...sh('echo tr0ub4dor; sleep 1000'), timeout_s: 0.05 })).toBe(
    'is a program that did not end within 0.05 s.',
  );
  const begun = `sleep 1000 & echo $! > ${t.file('pid')}; while :; do echo tr0ub4dor; done`;
  expect(await t.refusal(sh(begun))).toBe('holds more than 32768 bytes.');
  const pid = Number(await readFile(t.file('pid'), 'utf8'));
  const status = () => readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  await expect.poll(async () => /^State:\s+[^Z]/m.test(await status())).toBe(false);
});

test('a program gets the variables that are named, and those that every program needs', async () => {
  const t = await setup();
  t.environment.VAULT_TOKEN = 'for the program';
  const script = 'echo "[$VAULT_TOKEN]"';
  expect(await t.reader(sh(script)).password('deploy')).toBe('[]');
  const given = { ...sh(script), pass_environment: ['VAULT_TOKEN'] };
  expect(await t.reader(given).password('deploy')).toBe('[for the program]');
});

test('a program’s output is used for many steps for a while, and a file’s content only for one', async () => {
  const t = await setup();
  const runs = t.file('runs');
  const program = t.reader({ ...sh(`echo x >> ${runs}; wc -l < ${runs} | tr -d ' '`), keep_s: 30 });
  expect(await Promise.all([program.password('deploy'), program.password('deploy')])).toEqual(['1', '1']);
  t.clock.ms = 29_000;
  expect(await program.password('deploy')).toBe('1');
  t.clock.ms = 31_000;
  expect(await program.password('deploy')).toBe('2');
  const file = t.reader({ file: await t.write('rotated', 'old') });
  expect(await file.password('deploy')).toBe('old');
  await t.write('rotated', 'new');
  expect(await file.password('deploy')).toBe('new');
});

test('a program is run again after a host has refused what it had printed', async () => {
  const t = await setup();
  const password = await t.write('password', 'before');
  const reader = t.reader({ command: ['/bin/cat', password], keep_s: 3_600 });
  expect(await reader.password('deploy')).toBe('before');
  await t.write('password', 'after');
  expect(await reader.password('deploy')).toBe('before');
  reader.refused('deploy');
  expect(await reader.password('deploy')).toBe('after');
});

test.each(['key', 'password'] as const)(
  'a program that printed something that is not a %s is run again at once, not only after a while',
  async (kind) => {
    const t = await setup();
    const { private: key } = ed25519KeyPair();
    const [whole, bad] = kind === 'key' ? [key, key.slice(0, key.length / 2)] : ['one', 'one\ntwo'];
    const file = await t.write('printed', bad);
    const reader = t.reader({ command: ['/bin/cat', file], keep_s: 3_600 });
    const read = () => (kind === 'key' ? reader.privateKey('deploy') : reader.password('deploy'));
    await expect(read()).rejects.toThrow(/holds/);
    await t.write('printed', whole);
    expect(await read()).toBe(whole);
  },
);
