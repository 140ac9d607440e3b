import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { AgentError } from '../agent-error.ts';
import { readPolicy } from './agent-policy.ts';
import { CurrentPolicy } from './current-policy.ts';

async function setup() {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'opsconductor-policy-')));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const [data, files, etc] = [join(dir, 'data'), join(dir, 'files'), join(dir, 'etc')];
  for (const each of [data, files, etc]) await mkdir(each);
  const policy = join(etc, 'policy.yaml');
  const read = async (text: string) => {
    await writeFile(policy, text, { mode: 0o644 });
    return readPolicy(policy, data);
  };
  const refusal = async (text: string) => {
    const error = await read(text).catch((reason: unknown) => reason);
    if (error instanceof AgentError) return `${error.message} ${error.fix}`;
    throw new Error(`not refused: ${JSON.stringify(error)}`);
  };
  return { dir, data, files, etc, policy, read, refusal };
}

test('roots are read from YAML or JSON, and are writable by default', async () => {
  const t = await setup();
  const roots = [
    { path: t.files, mayWrite: true },
    { path: t.files, mayWrite: false },
  ];
  const yaml = `file_roots:\n  - ${t.files}/\n  - {path: ${t.files}, access: read}\n`;
  expect(await t.read(yaml)).toMatchObject({ fileRoots: roots, rules: {} });
  const json = JSON.stringify({ file_roots: [t.files, { path: t.files, access: 'read' }] });
  expect(await t.read(json)).toMatchObject({ fileRoots: roots });
  expect(await t.read('{}')).toMatchObject({ fileRoots: [], rules: {} });
});

test.each(['', '\n', '# step_types: [ssh.exec]\n', '---\n', '~\n'])(
  'a file that says nothing (%j) is refused, because it would lift every rule',
  async (text) => {
    const t = await setup();
    expect(await t.refusal(text)).toContain('says nothing, which would allow everything');
  },
);

const everyRule = `
step_types: [ssh.exec, sftp.upload]
targets:
  hosts: [web-*.example.com]
  networks: [10.0.0.0/8]
  ports: [22]
users: [deploy]
hours:
  timezone: Europe/Berlin
  windows:
    - { days: [mon, tue], from: "22:00", to: "06:00" }
parallelism: 4
raw_splices: false
survive_agent_restart: false
insecure_transports: []
`;

test('every rule is read, and its line is known', async () => {
  const t = await setup();
  const { rules, source } = await t.read(everyRule);
  expect(rules).toMatchObject({ users: ['deploy'], targets: { ports: [22] }, raw_splices: false });
  expect(source?.lineOf('users')).toBe(7);
  expect(source?.lineOf('targets.networks[0]')).toBe(5);
  expect(source?.lineOf('hours.windows[0].from')).toBe(11);
});

test('everything that is wrong is reported at once, each with line and place', async () => {
  const t = await setup();
  expect(await t.refusal('file_roots: [relative]')).toContain('line 1, file_roots[0]');
  const many = await t.refusal('step_types: [ssh.exce]\ntargets:\n  ports: [0]\nusers: []\n');
  for (const part of ['line 1, step_types[0]', 'ssh.exec', 'line 3, targets.ports[0]', 'line 4, users'])
    expect(many).toContain(part);
  expect(await t.refusal('user: [root]')).toContain('user');
  expect(await t.refusal('a: [')).toContain('neither YAML nor JSON');
  expect(await t.refusal('a: 1\na: 2')).toContain('line 2');
});

test('rule problems in well-formed parts are reported together with the form of others', async () => {
  const t = await setup();
  const many = await t.refusal(`targets: { networks: [10.0.0.1/8] }
hours: { timezone: Berlin, windows: [{ from: "08:00", to: "18:00" }] }
users: []
sources:
  - { name: a, file: deploy-key, bounds: { hosts: ['*'], ports: [22], user: deploy } }
  - { name: b, bounds: { hosts: ['*'], ports: [22], user: deploy } }
`);
  expect(many).toContain(
    'line 5, sources[0].file: Must be an absolute path, such as /etc/opsconductor-agent/',
  );
  for (const part of [
    'targets.networks[0]',
    'hours.timezone',
    'line 3, users',
    'sources[1]: must have one of',
  ])
    expect(many).toContain(part);
});

test('a wrong time zone is reported together with what is wrong with the windows', async () => {
  const t = await setup();
  const many = await t.refusal('hours:\n  timezone: Berlin\n  windows: [{ from: "8", to: "18:00" }]\n');
  expect(many).toContain('line 3, hours.windows[0].from');
  expect(many).toContain('line 2, hours.timezone: is not a time zone');
  const once = await t.refusal('hours: { timezone: "", windows: [] }');
  expect(once.match(/hours\.timezone/g)).toHaveLength(1);
});

test('hosts, networks and hours that mean nothing are refused', async () => {
  const t = await setup();
  expect(await t.refusal('targets: { hosts: [web-*.*] }')).toContain('targets.hosts[0]');
  expect(await t.refusal('targets: { networks: [10.0.0.1/8] }')).toContain('targets.networks[0]');
  expect(await t.refusal('hours: {timezone: Berlin, windows: [{from: "08:00", to: "18:00"}]}')).toContain(
    'hours.timezone: is not a time zone',
  );
  const caches = 'ticket_caches: [{name: a, path: /run/a}, {name: a, path: /run/b}]';
  expect(await t.refusal(caches)).toContain('ticket_caches[1].name: appears twice');
  const hours = 'hours: {timezone: UTC, windows: [{from: "08:00", to: "08:00"}]}';
  expect(await t.refusal(hours)).toContain('hours.windows[0].to: is the same as from');
});

test('a source has one place and bounds, and lies where no step may read', async () => {
  const t = await setup();
  const bounds = 'bounds: {hosts: ["*"], ports: [22], user: deploy}';
  const { rules } = await t.read(`sources: [{name: a, file: ${t.etc}/secret, ${bounds}}]`);
  expect(rules?.sources).toMatchObject([{ name: 'a', bounds: { user: 'deploy' } }]);
  const many = await t.refusal(
    `sources:\n  - {name: a, ${bounds}}\n  - {name: a, command: [vault], ${bounds}}\n  - {name: b, environment: B, keep_s: 1, bounds: {ports: [22], user: x}}\n`,
  );
  for (const part of [
    'line 2, sources[0]: must have one of file, environment and command',
    'line 3, sources[1].name: appears twice',
    'sources[1].command[0]: must be the path',
    'sources[2].keep_s: is only for a command',
    'sources[2].bounds.hosts: must not be empty if networks is',
  ])
    expect(many).toContain(part);
  expect(await t.refusal(`sources: [{name: a, file: ${t.etc}/secret}]`)).toContain('bounds');
  const inRoot = `file_roots: [{path: ${t.files}, access: read}]\nsources: [{name: a, file: ${t.dir}/link/x, ${bounds}}]`;
  await symlink(t.files, join(t.dir, 'link'));
  await writeFile(join(t.files, 'x'), 'secret');
  expect(await t.refusal(inRoot)).toContain(`is in ${t.files}, which steps may read`);
  expect(await t.refusal(`sources: [{name: a, file: ${t.data}/x, ${bounds}}]`)).toContain('own directory');
});

test('a source that does not exist yet is judged by where it would be', async () => {
  const t = await setup();
  await symlink(t.files, join(t.dir, 'link'));
  await symlink(join(t.files, 'later'), join(t.etc, 'dangling'));
  for (const file of [`${t.dir}/link/new/x`, `${t.etc}/dangling`])
    expect(
      await t.refusal(
        `file_roots: [${t.files}]\nsources: [{name: a, file: ${file}, bounds: {hosts: ["*"], ports: [22], user: x}}]`,
      ),
    ).toContain(`is in ${t.files}, which steps may read`);
});

test('a program that prints a secret, and its arguments, must lie where no step and nobody else can write', async () => {
  const t = await setup();
  const source = (command: string[]) =>
    `sources: [{name: a, command: ${JSON.stringify(command)}, bounds: {hosts: ["*"], ports: [22], user: x}}]`;
  await symlink(t.files, join(t.dir, 'link'));
  for (const command of [
    [`${t.files}/print`],
    ['/bin/sh', `${t.dir}/link/print.sh`],
    ['/bin/cat', `--from=${t.files}/x`],
  ])
    expect(await t.refusal(`file_roots: [${t.files}]\n${source(command)}`)).toContain(
      `is in ${t.files}, which steps may write`,
    );
  const forReading = `file_roots: [{path: ${t.files}, access: read}]\n${source(['/bin/sh', `${t.files}/x`])}`;
  expect(await t.read(forReading)).toMatchObject({ rules: { sources: [{ name: 'a' }] } });
  const program = join(t.etc, 'print');
  await writeFile(program, '#!/bin/sh\n');
  await chmod(program, 0o775);
  expect(await t.refusal(source([program]))).toContain(
    `command[0] of the policy file: ${program} can be changed`,
  );
  await chmod(program, 0o755);
  expect(await t.read(source([program]))).toMatchObject({ rules: { sources: [{ name: 'a' }] } });
});

test('a file that is wrong when it is read again changes nothing, and the server hears nothing of where a secret is', async () => {
  const t = await setup();
  const policy = new CurrentPolicy(await t.read('users: [deploy]'));
  const logged: string[] = [];
  const log = {
    info: () => undefined,
    error: (_: object, message?: string) => void logged.push(message ?? ''),
  };
  const source = `{name: a, file: ${t.files}/x, bounds: {hosts: ["*"], ports: [22], user: x}}`;
  await writeFile(t.policy, `file_roots: [${t.files}]\nsources: [${source}]`);
  expect(await policy.read(t.policy, t.data, log as never)).toEqual({
    accepted: false,
    problem: 'sources[0].file of the policy file is where steps may read.',
  });
  expect(logged.join()).toContain(`${t.files}/x`);
  expect(policy.rules.users).toEqual(['deploy']);
});

test('a root that is not a directory is refused', async () => {
  const t = await setup();
  expect(await t.refusal(`file_roots: [${t.dir}/none]`)).toContain('is not a directory');
});

test('no root contains the agent’s keys, or the policy file', async () => {
  const t = await setup();
  for (const path of [t.data, t.dir, join(t.data, '.')])
    expect(await t.refusal(`file_roots: [${path}]`)).toContain('overlap');
  expect(await t.refusal(`file_roots: [${t.etc}]`)).toContain('holds the policy file');
  expect(await t.read(`file_roots: [{path: ${t.etc}, access: read}]`)).toMatchObject({ fileRoots: [{}] });
});

test('a directory can not be read-only by one name and writable by another', async () => {
  const t = await setup();
  const inner = join(t.files, 'kept');
  await mkdir(inner);
  const [link, innerLink] = [join(t.dir, 'link'), join(t.files, 'link')];
  for (const path of [link, innerLink]) await symlink(inner, path);
  for (const path of [link, innerLink])
    expect(await t.refusal(`file_roots: [${t.files}, {path: ${path}, access: read}]`)).toContain(
      `${path} may be read only, and leads to ${inner} in ${t.files}, which may be written. Name the directory itself`,
    );
  expect(await t.refusal(`file_roots: [{path: ${t.files}, access: read}, ${link}]`)).toContain(
    'may be written',
  );
  await t.read(`file_roots: [${t.files}, {path: ${inner}, access: read}]`);
  await t.read(`file_roots: [${link}, ${t.files}]`);
});

test('a file that others may change is refused, and so is one that does not exist', async () => {
  const t = await setup();
  await t.read('{}');
  await chmod(t.policy, 0o666);
  await expect(readPolicy(t.policy, t.data)).rejects.toThrow('can be changed by users');
  await expect(readPolicy(join(t.etc, 'none'), t.data)).rejects.toThrow('can not be read (ENOENT)');
});
