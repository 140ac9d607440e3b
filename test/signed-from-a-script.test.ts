// Runs the script from docs/signed-runs.md exactly as printed: a service account starts a run in a segment whose owner
// holds the root, and whose two agents run only what is signed for one of them.
import { randomUUID } from 'node:crypto';
import { access, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Agent, Credential, RunDetail, Segment } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ApiClient } from './support/api-client.ts';
import { Owner } from './support/owner.ts';
import type { TestAgent } from './support/server-and-agents.ts';
import { hostKeyFingerprintOf } from './support/sshd.ts';
import { setup, type TestSystem } from './support/system.ts';
import { WatchedProcess } from './support/watched-process.ts';

const root = resolve(import.meta.dirname, '..');

let t: TestSystem;
beforeAll(async () => {
  t = await setup();
}, 240_000);
afterAll(() => t?.[Symbol.asyncDispose]());

/** The shell lines of the section, block by block. */
async function printedLines(): Promise<[once: string, each: string]> {
  const text = await readFile(join(root, 'docs/signed-runs.md'), 'utf8');
  const [, section = ''] = text.split('## From a script\n');
  const [before = ''] = section.split('\n## ');
  const [once = '', each = ''] = [...before.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, lines]) => lines);
  return [once, each];
}

/** An owner's segment with a target, and two agents admitted by the owner. */
async function ownedSegment() {
  const owner = await Owner.at(join(t.serverDataDir, '../owner'), t.api);
  await owner.segment('init', 'vault');
  const { items } = (await t.api.get<{ items: Segment[] }>('/api/v1/segments')).body;
  const segmentId = items.find(({ name }) => name === 'vault')?.id ?? 0;
  const agents: TestAgent[] = [];
  for (const name of ['vault-a', 'vault-b']) {
    const agent = await t.enrollAgent(name, segmentId);
    await agent.start();
    agents.push(agent);
    await owner.sign('vault', ...(await owner.admits(agent)));
  }
  const known = async () => {
    const { body } = await t.api.get<{ items: Agent[] }>('/api/v1/agents');
    return body.items.filter(({ name, hasSegmentKey }) => name.startsWith('vault-') && hasSegmentKey);
  };
  await t.until(async () => expect(await known()).toHaveLength(2));
  const { user, host, port, privateKey, hostKeyLine } = t.sshd;
  await owner.write('key', privateKey);
  const bounds = ['--host', host, '--port', String(port)];
  const kind = ['--kind', 'ssh_private_key', '--user', user, '--secret-file', owner.file('key')];
  await owner.credential('seal', 'vault key', '--segment', 'vault', ...kind, ...bounds);
  const { body } = await t.api.get<{ items: Credential[] }>(`/api/v1/credentials?segmentId=${segmentId}`);
  const { id: targetId } = await t.api.made<{ id: number }>('/api/v1/targets', {
    ...{ segmentId, name: 'vault-host', host, port, credentialId: body.items[0]?.id },
    hostKeyFingerprint: hostKeyFingerprintOf(hostKeyLine),
  });
  return { segmentId, targetId, agents, known };
}

/** A program that may read and run, with its token. */
async function serviceAccount(): Promise<string> {
  const { id: userId } = await t.api.made<{ id: number }>('/api/v1/users', { name: 'ci', kind: 'service' });
  await t.api.made('/api/v1/grants', { userId, role: 'operator' });
  const { token } = await t.api.made<{ token: string }>(`/api/v1/users/${userId}/tokens`, { name: 'ci' });
  return token;
}

/** A connection to the server on which the answer to the first start is lost. */
async function lossyWay() {
  const bodies: string[] = [];
  const server = createServer(async (asked, reply) => {
    const pieces: Buffer[] = [];
    for await (const piece of asked) pieces.push(piece as Buffer);
    const isStart = asked.url?.endsWith('/run') === true;
    if (isStart) bodies.push(Buffer.concat(pieces).toString());
    const isLost = isStart && bodies.length === 1;
    const { method = 'GET', url = '/', headers } = asked;
    const onward = { method, headers: { ...headers, host: new URL(t.api.url).host } };
    request(new URL(url, t.api.url), onward, (answer) => {
      if (isLost) {
        asked.socket.destroy();
        return answer.resume();
      }
      reply.writeHead(answer.statusCode ?? 502, answer.headers);
      return answer.pipe(reply);
    }).end(Buffer.concat(pieces));
  });
  await new Promise<void>((listens) => server.listen(0, '127.0.0.1', listens));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies };
}

test('the documented lines make a key and start what is signed; a token alone starts nothing', async () => {
  const { targetId, agents, known } = await ownedSegment();
  const token = await serviceAccount();
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-script-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  await symlink(join(root, 'scripts'), join(dir, 'scripts'));
  const shell = async (lines: string) => {
    const child = new WatchedProcess({ command: ['/bin/sh', '-c', lines], cwd: dir });
    return { code: await child.ended(), output: child.output };
  };
  const [once, each] = await printedLines();
  const made = await shell(once);
  expect(made).toMatchObject({ code: 0, output: expect.stringContaining('purpose      signer') });
  const publicKey = /public key {3}(\S+)/.exec(made.output)?.[1];
  for (const agent of agents) {
    agent.policy = join(dir, `${agent.name}.yaml`);
    const signers = `signers: [{ name: ci, public_key: "${publicKey}" }]`;
    await writeFile(agent.policy, `require_grant: { ${signers}, one_agent: true, max_hours: 1 }\n`);
    await agent.stop();
    await agent.start();
  }

  const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: `job ${randomUUID()}`,
    parameters: { word: { type: 'string' } },
    steps: [{ name: 'say', type: 'ssh.exec', config: { command: 'echo "signed: ${{ parameters.word }}"' } }],
  });
  const asScript = new ApiClient({ url: t.api.url, token });
  const asked = { targetIds: [targetId], parameters: { word: 'hello' } };
  const unsigned = await asScript.post(`/api/v1/jobs/${jobId}/run`, asked);
  expect(unsigned).toMatchObject({ status: 400, text: expect.stringContaining('run only what is signed') });

  const second = (await known()).find(({ name }) => name === 'vault-b');
  const way = await lossyWay();
  const filledIn = each
    .replace('https://ops.example.com', way.url)
    .replaceAll('jobs/7/', `jobs/${jobId}/`)
    .replace('"targetIds":[3]', `"targetIds":[${targetId}]`)
    .replace('"agentIds":[2]', `"agentIds":[${second?.id}]`);
  await writeFile(join(dir, 'token'), `${token}\n`);
  await writeFile(join(dir, 'reviewed'), 'of another job\n');
  expect(await shell(filledIn)).toMatchObject({ code: 1 });
  // The draft that was not signed says what should have been read.
  const draft = JSON.parse(await readFile(join(dir, 'draft.json'), 'utf8')) as { job: { checksum: string } };
  await writeFile(join(dir, 'reviewed'), `${draft.job.checksum}\n`);
  // The answer to its first start is lost; called again, the script reports the run that already exists.
  const runs = async () =>
    (await t.api.get<{ items: unknown[] }>(`/api/v1/runs?jobId=${jobId}`)).body.items.length;
  expect(await shell(filledIn)).toMatchObject({ code: 52 });
  expect(await runs()).toBe(1);
  const begun = new Set<number>();
  for (const total of [1, 2]) {
    const { code, output } = await shell(filledIn);
    expect(code, output).toBe(0);
    const run = JSON.parse(output.slice(output.lastIndexOf('\n{') + 1)) as RunDetail;
    begun.add(run.id);
    expect(await runs()).toBe(total);
    expect(await t.api.runEnds(run.id)).toMatchObject({
      output: ['signed: hello\n'],
      steps: [{ status: 'succeeded', agentName: 'vault-b' }],
    });
    await expect(access(join(dir, 'start.json'))).rejects.toThrow('ENOENT');
  }
  expect(begun.size).toBe(2);
  // What was signed started its own run only, and nobody else can start it.
  expect(way.bodies).toHaveLength(3);
  const start = JSON.parse(way.bodies.at(-1) ?? '') as object;
  const again = await asScript.post(`/api/v1/jobs/${jobId}/run`, start);
  expect(again.text).toContain('a grant starts one run');
  expect((await t.api.post(`/api/v1/jobs/${jobId}/run`, start)).text).toContain('startedBy differs');
}, 180_000);
