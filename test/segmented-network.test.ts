// The reason for this product: nothing connects into a segment, and an agent needs only one way out.
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { EnrollmentTokenReply, Segment, Target, TestResult } from '@opsconductor/protocol';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { parseHostKeyLine } from '../server/src/targets/host-key-line.ts';
import { pinOfCertificate } from '../server/src/tls/certificate-pin.ts';
import { ApiClient } from './support/api-client.ts';
import { ensureNetworkTools } from './support/packages.ts';
import { privateKeySecret, storeCredential } from './support/sealed-credential.ts';
import {
  agentAddress,
  inside,
  makeSegmentNetwork,
  type SegmentNetwork,
  serverAddress,
  targetAddress,
} from './support/segment-network.ts';
import { type SshdFixture, startSshd } from './support/sshd.ts';
import { WatchedProcess } from './support/watched-process.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

const repository = resolve(import.meta.dirname, '..');
const serverPort = 7700;
const proxyPort = 3128;
const token = randomBytes(24).toString('hex');
const missing = await ensureNetworkTools();

let folder: string;
let network: SegmentNetwork;
let server: WatchedProcess;
let relay: WatchedProcess;
let sshd: SshdFixture;
let api: ApiClient;

beforeAll(async () => {
  if (missing !== undefined) return;
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-segment-'));
  network = await makeSegmentNetwork();
  await network.allowOut(serverPort);
  sshd = await startSshd({ networkNamespace: network.target, address: targetAddress, port: 22 });
  server = runIn(network.server, [
    process.execPath,
    join(repository, 'scripts/start.mjs'),
    ...['--no-demo', '--data', join(folder, 'data'), '--listen', serverAddress, '--port', String(serverPort)],
  ]);
  await server.says(/OpsConductor is at https:\/\/10\.201\.1\.1:7700/);
  const path = join(folder, 'server.socket');
  relay = runRelay(['socket', path, serverAddress, String(serverPort)]);
  await relay.says(/ready/);
  const ca = await readFile(join(folder, 'data/tls/ca.pem'), 'utf8');
  api = new ApiClient({ url: `https://${serverAddress}:${serverPort}`, token, ca, socketPath: path });
});

afterAll(async () => {
  await relay?.killAll();
  await server?.interrupt().finally(() => server.killAll());
  await sshd?.stop();
  await network?.remove();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing.missing);
});

function runIn(
  namespace: string,
  command: string[],
  rest: { cwd?: string; env?: Record<string, string>; input?: string } = {},
) {
  return new WatchedProcess({
    command: inside(namespace, command),
    cwd: rest.cwd ?? folder,
    env: { HOME: folder, OPSCONDUCTOR_BOOTSTRAP_TOKEN: token, ...rest.env },
    ...(rest.input === undefined ? {} : { input: rest.input }),
    marks: [`${folder}/data/`],
  });
}

function runRelay(args: string[]): WatchedProcess {
  return runIn(network.server, [
    process.execPath,
    '--import',
    join(repository, 'node_modules/tsx/dist/loader.mjs'),
    join(repository, 'test/support/namespace-relay.ts'),
    ...args,
  ]);
}

/** A machine in the segment: a working folder, and its own /var/lib. */
async function makeMachine(name: string) {
  const home = join(folder, name);
  await mkdir(join(home, 'lib'), { recursive: true });
  const shell = (line: string, rest: { input?: string; env?: Record<string, string> } = {}) => {
    const script = 'mount --bind "$HOME/lib" /var/lib && eval "$1"';
    const process = runIn(network.agent, ['sh', '-c', script, 'sh', line], {
      cwd: home,
      ...rest,
      env: { HOME: home, OPSCONDUCTOR_BOOTSTRAP_TOKEN: '', ...rest.env },
    });
    onTestFinished(() => process.killAll());
    return process;
  };
  return { home, shell };
}

async function makeSegment(name: string): Promise<{ segment: Segment; invitation: EnrollmentTokenReply }> {
  const segment = await api.made<Segment>('/api/v1/segments', { name });
  const invitation = await api.made<EnrollmentTokenReply>(`/api/v1/segments/${segment.id}/enrollment-tokens`);
  return { segment, invitation };
}

/** The host in the segment as a target, with the credential for it. */
async function makeTarget(segment: Segment): Promise<Target> {
  const secret = privateKeySecret(sshd, { hosts: [targetAddress], ports: [22] });
  const credentialId = await storeCredential(api, segment.id, `key for ${segment.name}`, secret);
  const fields = {
    segmentId: segment.id,
    name: `host of ${segment.name}`,
    host: targetAddress,
    credentialId,
  };
  return api.made<Target>('/api/v1/targets', fields);
}

async function acceptHostKey(target: Target): Promise<void> {
  const offered = parseHostKeyLine(sshd.hostKeyLine)?.fingerprint;
  const first = await api.made<TestResult>(`/api/v1/targets/${target.id}/test`);
  expect(first).toMatchObject({ ok: false, reason: 'host_key_unknown', offeredFingerprint: offered });
  const { body: seen } = await api.get<Target>(`/api/v1/targets/${target.id}`);
  expect(seen.hostKeys).toMatchObject([{ fingerprint: offered, state: 'pending' }]);
  await api.made(`/api/v1/targets/${target.id}/host-keys`, { fingerprint: offered });
  const second = await api.made<TestResult>(`/api/v1/targets/${target.id}/test`);
  expect(second).toMatchObject({ ok: true, reason: null });
}

async function runOn(target: Target) {
  const command = 'echo "from inside $(echo "$SSH_CONNECTION" | cut -d" " -f3)"; echo careful >&2';
  const { id } = await api.made<{ id: number }>('/api/v1/jobs', {
    name: `job for ${target.name}`,
    steps: [{ name: 'say', type: 'ssh.exec', config: { command, timeout: 30 } }],
  });
  return api.run(id, [target.id]);
}

/** Connections from the agent's host to anywhere outside the segment. */
async function waysOut(): Promise<string[]> {
  const peers = (await network.sockets(network.agent, 'established')).map((socket) => socket.peer);
  return [...new Set(peers)].filter((peer) => peer !== `${targetAddress}:22`);
}

test('an agent enrolled with the printed lines runs a job where the server can not connect', async () => {
  const { segment, invitation } = await makeSegment('dmz');
  const machine = await makeMachine('machine');
  const lines = invitation.steps.map((step) => step.command);
  expect(lines.join('\n')).not.toContain(invitation.token);
  for (const step of invitation.steps.slice(0, -1)) {
    const line = machine.shell(step.command, step.takesToken ? { input: `${invitation.token}\n` } : {});
    expect([step.command, await line.ended(), line.output]).toEqual([step.command, 0, expect.anything()]);
  }
  const agent = machine.shell(lines.at(-1) ?? '');
  await agent.says(/"msg":"connected"/);

  // The pin that the server printed is that of the authority which the agent was told to trust.
  const ca = await readFile(join(machine.home, 'lib/opsconductor-agent/ca.pem'), 'utf8');
  expect(server.output).toContain(`Certificate authority pin: ${pinOfCertificate(ca)}`);

  const target = await makeTarget(segment);
  await acceptHostKey(target);
  const ended = await runOn(target);
  expect(ended).toMatchObject({ status: 'succeeded', steps: [{ status: 'succeeded', exitCode: 0 }] });
  expect(ended.output[0]).toBe(`from inside ${targetAddress}\ncareful\n`);

  expect(await network.tryConnect(network.server, targetAddress, 22)).toBe('ENETUNREACH');
  expect(await network.tryConnect(network.target, serverAddress, serverPort)).toBe('ENETUNREACH');
  expect(await network.tryConnect(network.server, agentAddress, 22)).toBe('ETIMEDOUT');
  expect(await network.sockets(network.agent, 'listening')).toEqual([]);
  expect(await waysOut()).toEqual([`${serverAddress}:${serverPort}`]);
  expect(await network.refusedOut()).toBe(0);
  // Checks the test itself: the agent's host really can't connect to anything else.
  expect(await network.tryConnect(network.agent, serverAddress, serverPort)).toBe('connected');
  expect(await network.tryConnect(network.agent, serverAddress, serverPort + 1)).toBe('ECONNREFUSED');
  expect(await network.refusedOut()).toBeGreaterThan(0);

  const [program] = agent.processes(/^\S*node agent\.mjs run/);
  process.kill(program?.pid ?? 0, 'SIGTERM');
  expect(await agent.ended()).toBe(0);
});

test('behind a proxy an agent reaches the server with HTTPS_PROXY, and trusts the CA it was given', async () => {
  const proxy = runRelay(['proxy', serverAddress, String(proxyPort)]);
  onTestFinished(() => proxy.killAll());
  await proxy.says(/ready/);
  await network.allowOut(proxyPort);
  onTestFinished(() => network.allowOut(serverPort));
  const { segment, invitation } = await makeSegment('behind-proxy');
  const machine = await makeMachine('proxied');
  const [download = '', save = '', enroll = '', start = ''] = invitation.steps.map((step) => step.command);
  const env = { HTTPS_PROXY: `http://${serverAddress}:${proxyPort}` };
  expect(await machine.shell(download, { env }).ended()).toBe(0);
  expect(await machine.shell(save, { input: `${invitation.token}\n` }).ended()).toBe(0);
  await writeFile(join(machine.home, 'ca.pem'), await readFile(join(folder, 'data/tls/ca.pem')));

  const direct = machine.shell(`${enroll} --ca-file ca.pem`);
  expect(await direct.ended(60_000)).not.toBe(0);
  expect(direct.output).toContain(`https://${serverAddress}:${serverPort}`);
  expect((await api.get<{ items: { segmentId: number }[] }>('/api/v1/agents')).body.items).not.toContainEqual(
    expect.objectContaining({ segmentId: segment.id }),
  );

  const enrolled = machine.shell(`${enroll} --ca-file ca.pem --name proxied`, { env });
  expect([await enrolled.ended(), enrolled.output]).toEqual([0, expect.stringContaining('Enrolled')]);
  const agent = machine.shell(start, { env });
  await agent.says(/"msg":"connected"/);
  const target = await makeTarget(segment);
  await acceptHostKey(target);
  expect((await runOn(target)).status).toBe('succeeded');
  expect(await waysOut()).toEqual([`${serverAddress}:${proxyPort}`]);
  expect(new Set(proxy.output.match(/CONNECT \S+/g))).toEqual(
    new Set([`CONNECT ${serverAddress}:${serverPort}`]),
  );
});
