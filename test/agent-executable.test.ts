// The agent as an executable that contains its own Node.js, for machines that have none.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setup } from './support/system.ts';

const script = resolve(import.meta.dirname, '../scripts/package-agent.mjs');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-executable-'));
  await chmod(folder, 0o755);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Answer {
  code: number;
  said: string;
}

function run(program: string, args: string[], cwd = folder): Promise<Answer> {
  return new Promise((done) => {
    execFile(program, args, { cwd }, (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, said: `${stdout}${stderr}` }),
    );
  });
}

const packaged = (...args: string[]) => run(process.execPath, [script, ...args]);

test('the executable enrolls by itself, runs commands and moves files, and says how it is called', {
  timeout: 180_000,
}, async ({ skip }) => {
  if (process.platform !== 'linux' || (process.config.variables as { node_shared?: boolean }).node_shared)
    skip('executables are made on Linux only, by a Node.js that is one file');
  const program = join(folder, 'opsconductor-agent');
  const made = await packaged('--out', program);
  expect(made).toEqual({ code: 0, said: expect.stringContaining(`Agent 0.1.0: ${program} (`) });
  expect(await run('sha256sum', ['-c', 'opsconductor-agent.sha256'])).toMatchObject({ code: 0 });
  expect((await readdir(folder)).sort()).toEqual(['opsconductor-agent', 'opsconductor-agent.sha256']);

  await using t = await setup({ agentProgram: program, files: true });
  await writeFile(join(t.filesDir, 'motd'), 'carried by the executable\n');
  const inbox = join(t.sshd.dir, `inbox-${randomUUID()}`);
  await mkdir(inbox);
  await chmod(inbox, 0o777);
  const runId = await t.runSteps([
    {
      name: 'up',
      type: 'sftp.upload',
      config: { local_path: `${t.filesDir}/motd`, remote_path: `${inbox}/motd` },
    },
    { name: 'read', type: 'ssh.exec', config: { command: `cat ${inbox}/motd` } },
  ]);
  await t.until(async () => {
    expect((await t.steps(runId)).map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);
  });
  expect(await readFile(join(inbox, 'motd'), 'utf8')).toBe('carried by the executable\n');

  expect(await run(program, ['status', '--data', t.agent.dataDir])).toMatchObject({
    code: 0,
    said: expect.stringContaining('agent      agent-a'),
  });
  expect(await run(program, ['status', '--data', join(folder, 'none')])).toMatchObject({
    said: expect.stringContaining('Run "./opsconductor-agent enroll", or name'),
  });
});

test('what can hold no agent is refused with the reason, and nothing is left', async () => {
  const about = { version: '22.1.0', platform: 'linux', arch: 'x64' };
  const notNode = join(folder, 'not-node');
  await writeFile(notNode, '#!/bin/sh\necho 12\nexit 3\n', { mode: 0o755 });
  for (const [answer, reason] of [
    [{ ...about, version: '18.20.4' }, 'is Node.js 18.20.4; the agent needs 20.19 or newer'],
    [{ ...about, platform: 'darwin' }, 'is for darwin. Executables of the agent are made for Linux only'],
    [{ ...about, shared: true }, 'was built without single executable applications'],
    [about, 'was built without single executable applications'],
  ] as const) {
    const node = join(folder, 'node');
    await writeFile(node, `#!/bin/sh\necho '${JSON.stringify(answer)}'\n`, { mode: 0o755 });
    const told = await packaged('--node', node, '--out', join(folder, 'out/agent'));
    expect(told).toEqual({ code: 1, said: expect.stringContaining(`error: ${node} ${reason}`) });
  }
  expect(await packaged('--node', notNode)).toEqual({
    code: 1,
    said: `error: ${notNode} is no Node.js: 12. Name one from nodejs.org with --node.\n`,
  });
  expect((await packaged('--node', join(folder, 'nowhere'))).said).toContain("can't be run: spawnSync");
  expect((await packaged('--out', join(notNode, 'agent'))).said).toContain('error: EEXIST: ');
  expect((await packaged('--nod')).said).toContain("error: Unknown option '--nod'");
  expect(await readdir(folder)).not.toContain('out');
});
