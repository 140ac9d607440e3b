// The command itself, in a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, relative, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { closeCodes } from '@opsconductor/protocol';
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { lease, setup } from './testing/agent-setup.ts';
import { temporaryDirectory } from './testing/enrolled-directory.ts';

const root = resolve(import.meta.dirname, '../..');
const program = join(root, '.cache/build/agent.mjs');
const children: ReturnType<typeof command>[] = [];

// Built once into the one file that segments are given: otherwise the sources would be compiled at each start.
beforeAll(async () => {
  const build = await import(join(root, 'scripts/build.mjs'));
  await (build as { buildAgentIfChanged(): Promise<void> }).buildAgentIfChanged();
});

/** @param by a program and its first arguments that start the command, instead of node. */
function command(args: string[], env: Record<string, string> = {}, by: readonly string[] = []) {
  const [file = '', ...rest] = [...by, process.execPath, program, ...args];
  const child = spawn(file, rest, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const exited = once(child, 'exit') as Promise<[code: number | null]>;
  return { child, exited, stdout: text(child.stdout), stderr: text(child.stderr) };
}

function run(...given: Parameters<typeof command>) {
  const started = command(...given);
  children.push(started);
  return started;
}

afterEach(async () => {
  for (const { child, exited } of children.splice(0)) {
    child.kill('SIGKILL');
    await exited;
  }
});

test('no character of the program makes V8 store it with two bytes per character', async () => {
  expect(await readFile(program, 'utf8')).not.toMatch(/[^\0-\xff]/);
});

test('a command whose output nobody reads, or that can’t be written, does its work without a stack trace', async () => {
  await using t = await setup();
  const status = ['status', '--data', t.directory.data.root];
  const unread = run(status);
  unread.stdout.catch(() => undefined);
  unread.child.stdout.destroy();
  const [code] = await unread.exited;
  expect(code).toBe(3);
  expect(await unread.stderr).toBe('');
  const full = run(['--'], {}, ['/bin/sh', '-c', `"$1" "$2" ${status.join(' ')} >/dev/full`, 'sh']);
  expect(await full.exited).toEqual([3, null]);
  expect(await full.stderr).toMatch(
    /^error: What the command says can't be written: ENOSPC.*\n.*elsewhere\.\n$/,
  );
});

test('a wrong argument that an error repeats controls no terminal', async () => {
  const { exited, stderr } = run(['status', '--\x1b[31mred']);
  expect(await exited).toEqual([1, null]);
  expect(await stderr).not.toContain('\x1b');
});

test('an agent that is not enrolled says what to run', async () => {
  await using t = await setup();
  await t.directory.remove();
  const { exited, stderr } = run(['run', '--data', t.directory.data.root]);
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toContain('Run "node agent.mjs enroll" first');
});

test('a log level that does not exist is refused, with those that do', async () => {
  const { exited, stderr } = run(['status'], { OPSCONDUCTOR_LOG_LEVEL: 'loud' });
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toBe(
    'error: OPSCONDUCTOR_LOG_LEVEL is "loud", which is not a level.\n       Use one of trace, debug, info, warn, error, fatal, silent.\n',
  );
});

test('an agent can be started from a directory that has been removed', async () => {
  await using t = await setup();
  await t.directory.remove();
  const data = t.directory.data.root;
  const start = 'mkdir -p "$1" && cd "$1" && rmdir "$1" && shift && exec "$@"';
  const { exited, stderr } = run(['run', '--data', data], {}, ['/bin/sh', '-c', start, 'sh', `${data}-gone`]);
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toContain('enroll" first');
});

test('a data directory that can’t be read is reported in a sentence, not by a stack', async () => {
  await using t = await setup();
  const { journal, root: data } = t.directory.data;
  await rm(journal, { force: true });
  await mkdir(journal);
  const { exited, stderr } = run(['run', '--data', data]);
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toMatch(/^error: EISDIR: [^\n]*\.\n {7}[^\n]*doctor[^\n]*\n$/);
});

test('a token on the command line is refused and not repeated', async () => {
  const token = `oce_${'s'.repeat(43)}.${'r'.repeat(43)}`;
  const { exited, stderr } = run(['enroll', '--server', 'https://127.0.0.1:1', '--token-file', token]);
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toContain('must not be on the command line');
  expect(await stderr).not.toContain(token);
});

test.each(['file', 'standard input', 'environment'])('a token is read from %s', async (from) => {
  const { path, remove } = await temporaryDirectory();
  // Not a token, so that the error shows that it was read.
  const token = 'not-a-token\n';
  const file = join(path, 'token');
  await writeFile(file, token);
  const source =
    { file: ['--token-file', file], 'standard input': ['--token-file', '-'], environment: [] }[from] ?? [];
  const args = ['enroll', '--server', 'https://127.0.0.1:1', '--data', join(path, 'data'), ...source];
  const { child, exited, stderr } = run(
    args,
    from === 'environment' ? { OPSCONDUCTOR_ENROLLMENT_TOKEN: token } : {},
  );
  child.stdin.end(from === 'standard input' ? token : '');
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toContain('This is not an enrollment token');
  await remove();
});

test('without any token the command says how to give one', async () => {
  const { exited, stderr } = run(['enroll', '--server', 'https://127.0.0.1:1']);
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toContain('OPSCONDUCTOR_ENROLLMENT_TOKEN');
});

test('SIGHUP without a policy file ends nothing; SIGTERM drains the agent, and it ends well', async () => {
  await using t = await setup();
  const { child, exited } = run(['run', '--data', t.directory.data.root]);
  const { connection } = await t.server.nextSession();
  await connection.next('heartbeat');
  child.kill('SIGHUP');
  child.kill('SIGTERM');
  await connection.next('agent_drain');
  expect(await exited).toEqual([0, null]);
  expect((await connection.closed).code).toBe(1000);
});

test.runIf(existsSync('/dev/full'))('an agent whose log can’t be written goes on', async () => {
  await using t = await setup();
  const withFullLog = ['/bin/sh', '-c', 'exec "$@" 2>/dev/full', 'sh'];
  const { child, exited } = run(['run', '--data', t.directory.data.root], {}, withFullLog);
  (await t.server.nextSession()).connection.close(closeCodes.serverRestart, 'a restart');
  expect(await Promise.race([exited, t.server.nextSession().then(() => 'goes on')])).toBe('goes on');
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});

test('an agent that is shut out as a copy exits with a code that asks for no restart', async () => {
  await using t = await setup();
  const { exited, stderr } = run(['run', '--data', t.directory.data.root]);
  (await t.server.nextConnection()).close(closeCodes.quarantined, 'a copy');
  expect(await exited).toEqual([78, null]);
  expect(await stderr).toContain('enroll --force');
});

test('a second signal stops at once while a step waits for its target', async () => {
  await using t = await setup();
  const { child, exited } = run(['run', '--data', t.directory.data.root]);
  const { connection } = await t.server.nextSession();
  // Without a segment key a step is handed back. This step keeps the drain open because the server never settles it.
  connection.send({ type: 'leases', leases: [lease(1, { stepType: 'no.such.type' })] });
  await connection.next('complete');
  child.kill('SIGTERM');
  await connection.next('agent_drain');
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});

test('doctor reports a server that the agent refused, and does not advise a restore', async () => {
  await using t = await setup();
  const agent = await t.start();
  const another = await generateSigningKeyPair();
  await (await t.server.nextConnection()).welcome({ transcriptKey: another });
  await t.server.nextConnection();
  await agent.stop();
  const doctor = run(['doctor', '--data', t.directory.data.root]);
  expect(await doctor.exited).toEqual([1, null]);
  const said = await doctor.stdout;
  expect(said).toMatch(/FAIL .*this agent refused the server last[\s\S]*could not prove that it is the one/);
  expect(said).not.toContain('restored');
});

test('doctor finds a data directory that can’t be written, and a proxy that passes no WebSockets', async () => {
  await using t = await setup();
  const { data } = t.directory;
  // Answers as a server does behind a proxy that drops the headers of an upgrade.
  const proxy = createServer((request, response) => {
    response.writeHead(request.url === '/healthz' ? 200 : 404, { 'Content-Type': 'application/json' });
    response.end('{}');
  });
  proxy.on('upgrade', (_, socket) => void socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n'));
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const { port } = proxy.address() as AddressInfo;
  const identity = JSON.parse(await readFile(data.identity, 'utf8'));
  await writeFile(data.identity, JSON.stringify({ ...identity, server: `http://127.0.0.1:${port}` }));
  const { exited, stdout, child } = run(['doctor', '--data', data.root]);
  await mkdir(join(data.root, `doctor-${child.pid}.tmp`));
  expect(await exited).toEqual([1, null]);
  expect(await stdout).toMatch(/FAIL .*can’t be written: EISDIR/);
  expect(await stdout).toMatch(/FAIL .* WebSocket with HTTP 404\.\n .*headers Upgrade and Connection/);
  proxy.close();
});

test('a data directory that is named from where the agent is started has its whole path', async () => {
  await using t = await setup();
  const { root } = t.directory.data;
  const doctor = run(['doctor', '--data', relative(process.cwd(), root)]);
  await doctor.exited;
  expect(await doctor.stdout).toContain(` ${root} can be written`);
});

test('doctor finds a server that does not answer, and one that refuses its agent', async () => {
  await using t = await setup();
  const { data } = t.directory;
  const well = run(['doctor', '--data', data.root]);
  await well.exited;
  expect(await well.stdout).toContain('127.0.0.1 answers directly');
  // That of doctor.
  await t.server.nextConnection();
  expect(await well.stdout).toContain('WebSockets get through');
  expect(await well.stdout).toContain(`${data.root} can be written`);
  // The refusal is known from the running agent, since doctor does not connect in its place.
  const agent = await t.start();
  const { connection } = await t.server.nextSession();
  connection.close(closeCodes.unauthenticated, 'the database was set back');
  const doctor = async () => {
    const asked = run(['doctor', '--data', data.root]);
    return { exit: await asked.exited, said: await asked.stdout };
  };
  await expect.poll(doctor, { timeout: 20_000 }).toMatchObject({
    exit: [1, null],
    said: expect.stringMatching(/FAIL .*refused this agent[\s\S]*npm run restored/),
  });
  await agent.stop();
  await t.server.stop();
  const ill = run(['doctor', '--data', data.root]);
  expect(await ill.exited).toEqual([1, null]);
  expect(await ill.stdout).toMatch(/FAIL .* refused the connection/);
});

test('the exit code of status tells an agent that runs from one that is stopped, not enrolled, or can’t be read', async () => {
  await using t = await setup();
  const { data } = t.directory;
  const status = async () => {
    const asked = run(['status', '--data', data.root]);
    return { exit: (await asked.exited)[0], said: (await asked.stdout) + (await asked.stderr) };
  };
  expect(await status()).toEqual({
    exit: 3,
    said: expect.stringMatching(/agent +agent-one \(id 7\)[\s\S]*running +no/),
  });
  const agent = run(['run', '--data', data.root]);
  await t.server.nextSession();
  expect(await status()).toEqual({
    exit: 0,
    said: expect.stringMatching(new RegExp(`running +yes, process ${agent.child.pid}\n`)),
  });
  agent.child.kill('SIGTERM');
  await agent.exited;
  await writeFile(data.identity, 'not what enrollment wrote');
  expect(await status()).toEqual({ exit: 1, said: expect.stringContaining('identity.json is damaged') });
  await rm(data.identity);
  expect(await status()).toEqual({ exit: 4, said: expect.stringContaining('Not enrolled') });
});

test('a stopped agent is told that its server has another address, and connects there with the keys it has', async () => {
  await using t = await setup();
  const { data } = t.directory;
  const identity = JSON.parse(await readFile(data.identity, 'utf8'));
  await writeFile(data.identity, JSON.stringify({ ...identity, server: 'http://127.0.0.1:1' }));
  const told = run(['use-server', '--server', t.server.url, '--data', data.root]);
  (await t.server.nextConnection()).challenge();
  expect(await told.exited).toEqual([0, null]);
  expect(await told.stdout).toBe(
    `Agent agent-one of segment dmz finds its server at ${t.server.url} from now on. Start it again.\n`,
  );
  expect(JSON.parse(await readFile(data.identity, 'utf8'))).toEqual({ ...identity, server: t.server.url });
  const { child, exited } = run(['run', '--data', data.root]);
  await t.server.nextSession();
  // While it runs, it would go on with what it has read.
  const late = run(['use-server', '--server', 'http://127.0.0.1:1', '--data', data.root]);
  expect(await late.exited).toEqual([1, null]);
  expect(await late.stderr).toContain('Stop that agent first');
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});

test('an agent is not told to use another installation, or an address at which no server is', async () => {
  await using t = await setup();
  const { data } = t.directory;
  const before = await readFile(data.identity, 'utf8');
  const other = run(['use-server', '--server', t.server.url, '--data', data.root]);
  (await t.server.nextConnection()).challenge('installation-2');
  expect(await other.exited).toEqual([1, null]);
  expect(await other.stderr).toContain('is another installation than the one that this agent belongs to');
  const nobody = run(['use-server', '--server', 'http://127.0.0.1:1', '--data', data.root]);
  expect(await nobody.exited).toEqual([1, null]);
  expect(await nobody.stderr).toContain('http://127.0.0.1:1 refused the connection');
  expect(await readFile(data.identity, 'utf8')).toBe(before);
});

test('an empty --data is refused: keys would be made in the folder that the caller stands in', async () => {
  const { exited, stderr } = run(['run', '--data', '']);
  expect(await exited).toEqual([1, null]);
  expect(await stderr).toContain('It is empty: name a folder, or leave the option out.');
});
