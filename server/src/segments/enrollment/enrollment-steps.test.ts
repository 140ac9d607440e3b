// The commands are for a person's shell, so a real shell runs them here.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentDownloadPath, enrollmentCaution, enrollmentSteps } from './enrollment-steps.ts';

const program = 'console.log("agent", ...process.argv.slice(2));\n';
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const server = createServer((request, response) => {
  if (request.url === agentDownloadPath) response.end(program);
  else response.writeHead(404).end('not here');
});
let directory: string;
let publicUrl: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'opsc-steps-'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  publicUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  await rm(directory, { recursive: true });
});

async function run(command: string, stdin = ''): Promise<{ code: number; stdout: string }> {
  const child = spawn('/bin/sh', ['-c', command], { cwd: directory, stdio: ['pipe', 'pipe', 'ignore'] });
  let stdout = '';
  child.stdout.on('data', (bytes) => {
    stdout += bytes;
  });
  // A command that reads nothing may have ended before its input is written.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const [code] = await once(child, 'close');
  return { code, stdout };
}

function steps(agentSha256 = sha256(program)) {
  const all = enrollmentSteps({ publicUrl, agentSha256, privateCa: true });
  const [fetch, save, enroll, start] = all.map((step) => step.command);
  return { all, fetch: fetch ?? '', save: save ?? '', enroll: enroll ?? '', start: start ?? '' };
}

describe('the commands for a new agent’s machine', () => {
  it('fetch the agent, save the token for its owner only, enroll and start', async () => {
    const { all, fetch, save, enroll, start } = steps();
    expect((await run(fetch)).code).toBe(0);
    expect(await readFile(join(directory, 'agent.mjs'), 'utf8')).toBe(program);
    await writeFile(join(directory, 'enrollment-token'), 'an older one', { mode: 0o644 });
    expect((await run(save, 'oce_secret.root.pin\nsomething pasted after it\n')).code).toBe(0);
    const token = join(directory, 'enrollment-token');
    expect(await readFile(token, 'utf8')).toBe('oce_secret.root.pin\n');
    expect((await stat(token)).mode & 0o777).toBe(0o600);
    expect((await run(enroll)).stdout).toBe(
      `agent enroll --server ${publicUrl} --token-file enrollment-token\n`,
    );
    expect((await run(start)).stdout).toBe('agent run\n');
    expect(all.map((step) => step.takesToken)).toEqual([false, true, false, false]);
  });

  it('leave an existing agent program in place if the download is not what the console’s server has', async () => {
    await writeFile(join(directory, 'agent.mjs'), 'the old one');
    expect((await run(steps(sha256('another program')).fetch)).code).not.toBe(0);
    expect(await readFile(join(directory, 'agent.mjs'), 'utf8')).toBe('the old one');
  });

  it('accept any certificate for the checked download only if the CA is private', () => {
    const lines = (privateCa: boolean) =>
      enrollmentSteps({ publicUrl: 'https://ops.example.com', agentSha256: sha256(''), privateCa });
    expect(lines(true)[0]?.command).toMatch(/^curl -fsSLk /);
    expect(lines(false)[0]?.command).toMatch(/^curl -fsSL /);
  });

  it('quote an address so that a shell takes it as one word', async () => {
    const address = "https://x/'; touch hacked; '";
    const all = enrollmentSteps({ publicUrl: address, agentSha256: sha256(''), privateCa: false });
    const command = all[2]?.command.replace('node agent.mjs', "printf '%s|'") ?? '';
    expect((await run(command)).stdout).toBe(`enroll|--server|${address}|--token-file|enrollment-token|`);
    await expect(stat(join(directory, 'hacked'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

it.each([
  ['http://127.0.0.1:7700', '127.0.0.1'],
  ['http://localhost:7700', 'localhost'],
  ['https://[::1]:7700', '[::1]'],
])('commands that lead to %s are said to work on the server’s own machine only', (url, host) => {
  expect(enrollmentCaution(url)).toContain(`lead to ${host}, so they work on the server’s own machine only`);
});

it('commands that lead to another address need no such word', () => {
  expect(enrollmentCaution('https://ops.example.com:7700')).toBeUndefined();
});
