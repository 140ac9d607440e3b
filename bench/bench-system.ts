// The product as installed, for benchmarks: server and agent as separate processes, embedded PostgreSQL with its
// durable defaults, a real OpenSSH target, encryption and masking on.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { EnrollmentTokenReply, RunDetail, SealingKey, Target } from '@opsconductor/protocol';
import { privateKeySecret, sealSecret } from '../test/support/sealed-credential.ts';
import { accountsMissing, hostKeyFingerprintOf, type SshdFixture, startSshd } from '../test/support/sshd.ts';
import { isOk, readText, send } from './http-client.ts';

/** Where steps run: OpenSSH, or a server that costs next to nothing (cheap-target.ts). */
export type BenchTarget = Pick<
  SshdFixture,
  'host' | 'port' | 'user' | 'privateKey' | 'hostKeyLine' | 'dir' | 'stop'
>;

const root = resolve(import.meta.dirname, '..');
const agentBundle = join(root, '.cache/build/agent.mjs');
const serverBundle = join(root, '.cache/build/server.mjs');
const sourceMaps = pathToFileURL(join(root, 'scripts/source-maps.mjs')).href;

export interface BenchSystem {
  baseUrl: string;
  token: string;
  target: BenchTarget;
  /** Folder for the benchmark's files; removed at the end. */
  dir: string;
  /** Private key of the target's user, as a file for OpenSSH's client. */
  keyFile: string;
  knownHostsFile: string;
  serverPid: number;
  agentPid: number;
  segmentId: number;
  targetIds: number[];
  api<T>(method: string, path: string, body?: unknown): Promise<T>;
  createJob(command: string, steps?: number): Promise<number>;
  startRun(jobId: number, targetIds?: number[]): Promise<RunDetail>;
  /** Starts a run with all fields of a start request. */
  startWith(jobId: number, request: object): Promise<RunDetail>;
  stop(): Promise<void>;
}

export interface BenchOptions {
  targets?: number;
  slots?: number;
  /** Arguments for node to run a different agent than the product's; the data directory is added. */
  agentArgs?: string[];
  /** Directories on the agent that steps may read and write. */
  fileRoots?: string[];
  /** Used instead of the benchmark's own OpenSSH server; stopped with the system. */
  target?: BenchTarget;
  /** Used instead of the product's embedded PostgreSQL. */
  databaseUrl?: string;
  /** Returns the address of target n; by default all have the server's address. */
  hostOf?: (n: number) => string;
}

/** Starts everything; resolves when the agent can be given steps. */
export async function startBenchSystem(options: BenchOptions = {}): Promise<BenchSystem> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  // Run by root, PostgreSQL uses another account, which needs access.
  await chmod(dir, 0o755);
  const port = await freePort();
  const token = randomBytes(24).toString('hex');
  const baseUrl = `http://127.0.0.1:${port}`;
  const target = options.target ?? (await startSshd(benchAccount()));
  const server = run(
    ['--import', sourceMaps, serverBundle, '--no-demo', '--port', String(port), '--data', join(dir, 'data')],
    {
      OPSCONDUCTOR_BOOTSTRAP_TOKEN: token,
      LOG_LEVEL: 'warn',
      ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
    },
  );
  await until(() => fetch(`${baseUrl}/readyz`).then((reply) => reply.ok));
  const api = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const reply = await send(method, `${baseUrl}/api/v1${path}`, token, { body });
    const text = await readText(reply);
    if (!isOk(reply)) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  };
  const segment = await api<{ id: number }>('POST', '/segments', { name: 'bench' });
  const agentData = join(dir, 'agent');
  const enrollment = await api<EnrollmentTokenReply>('POST', `/segments/${segment.id}/enrollment-tokens`, {});
  await writeFile(join(dir, 'token'), enrollment.token, { mode: 0o600 });
  const enroll = run(
    [
      agentBundle,
      'enroll',
      '--server',
      baseUrl,
      '--token-file',
      join(dir, 'token'),
      '--name',
      'bench',
      '--data',
      agentData,
    ],
    {},
  );
  const [code] = (await once(enroll, 'exit')) as [number];
  if (code !== 0) throw new Error('the agent could not be enrolled');
  const slots = String(options.slots ?? 16);
  const agentArgs = options.agentArgs ?? [agentBundle, 'run', ...(await policyArgs(dir, options.fileRoots))];
  const agent = run([...agentArgs, '--data', agentData, '--slots', slots], {
    OPSCONDUCTOR_LOG_LEVEL: 'warn',
    // As in the unit file in docs/operations.md.
    MALLOC_ARENA_MAX: '1',
  });
  const credentialId = await createCredential(api, segment.id, target);
  const targetIds = await createTargets(api, segment.id, credentialId, target, options);
  const keyFile = join(dir, 'key');
  const knownHostsFile = join(dir, 'known_hosts');
  await writeFile(keyFile, target.privateKey, { mode: 0o600 });
  await writeFile(knownHostsFile, `[${target.host}]:${target.port} ${target.hostKeyLine}\n`);
  await until(async () =>
    (await api<{ items: { state: string; hasSegmentKey: boolean }[] }>('GET', '/agents')).items.some(
      (a) => a.state === 'connected' && a.hasSegmentKey,
    ),
  );
  return {
    baseUrl,
    token,
    target,
    dir,
    keyFile,
    knownHostsFile,
    serverPid: server.pid ?? 0,
    agentPid: agent.pid ?? 0,
    segmentId: segment.id,
    targetIds,
    api,
    createJob: async (command, steps = 1) =>
      (
        await api<{ id: number }>('POST', '/jobs', {
          name: `bench ${randomUUID()}`,
          steps: Array.from({ length: steps }, (_, n) => ({
            name: `step ${n + 1}`,
            type: 'ssh.exec',
            config: { command, timeout: 300 },
          })),
        })
      ).id,
    startRun: (jobId, ids = targetIds.slice(0, 1)) =>
      api<RunDetail>('POST', `/jobs/${jobId}/run`, { targetIds: ids }),
    startWith: (jobId, request) => api<RunDetail>('POST', `/jobs/${jobId}/run`, request),
    async stop() {
      for (const child of [agent, server]) {
        if (child.exitCode !== null) continue;
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
      await target.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function policyArgs(dir: string, fileRoots: readonly string[] | undefined): Promise<string[]> {
  if (fileRoots === undefined) return [];
  const file = join(dir, 'policy.json');
  await writeFile(file, JSON.stringify({ file_roots: fileRoots }), { mode: 0o644 });
  return ['--policy', file];
}

/** A dedicated user with a plain shell, so that nobody's ~/.bashrc is part of the measurement. */
export function benchAccount(): { account?: { name: string } } {
  return accountsMissing() === undefined ? { account: { name: 'bench' } } : {};
}

/** Arguments for OpenSSH's client to the same target, with a new connection and the given cipher. */
export function sshArgs(system: BenchSystem, cipher = 'aes128-gcm@openssh.com'): string[] {
  const { target } = system;
  const options = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${system.knownHostsFile}`,
    'IdentitiesOnly=yes',
    `Ciphers=${cipher}`,
  ];
  return [
    '-F',
    'none',
    '-p',
    String(target.port),
    '-i',
    system.keyFile,
    ...options.flatMap((o) => ['-o', o]),
    `${target.user}@${target.host}`,
  ];
}

async function createCredential(
  api: BenchSystem['api'],
  segmentId: number,
  target: BenchTarget,
): Promise<string> {
  let key: SealingKey | undefined;
  await until(async () => {
    key = await api<SealingKey>('GET', `/segments/${segmentId}/sealing-key`);
    return true;
  });
  if (key === undefined) throw new Error('no sealing key');
  const credential = await sealSecret(key, privateKeySecret(target, { hosts: ['*'] }));
  await api('POST', '/credentials', { segmentId, name: 'bench key', ...credential });
  return credential.id;
}

async function createTargets(
  api: BenchSystem['api'],
  segmentId: number,
  credentialId: string,
  target: BenchTarget,
  { targets: count = 1, hostOf = () => target.host }: BenchOptions,
): Promise<number[]> {
  const fingerprint = hostKeyFingerprintOf(target.hostKeyLine);
  const create = async (n: number) => {
    const fields = { segmentId, name: `target-${n}`, host: hostOf(n), port: target.port, credentialId };
    return (await api<Target>('POST', '/targets', { ...fields, hostKeyFingerprint: fingerprint })).id;
  };
  const first = await create(0);
  await until(async () => (await api<{ ok: boolean }>('POST', `/targets/${first}/test`, {})).ok);
  const ids = [first];
  while (ids.length < count) {
    const some = Array.from({ length: Math.min(8, count - ids.length) }, (_, n) => create(ids.length + n));
    ids.push(...(await Promise.all(some)));
  }
  return ids;
}

/** With BENCH_CPU_PROFILE=<folder>, server and agent write a CPU profile there. */
function run(args: string[], env: Record<string, string>): ChildProcess {
  const folder = process.env['BENCH_CPU_PROFILE'];
  const profiling = folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`];
  return spawn(process.execPath, [...profiling, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
    cwd: root,
  });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Waits for a condition; errors count as “not yet”. */
export async function until(condition: () => Promise<boolean>, withinMs = 60_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      if (await condition()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((next) => setTimeout(next, 100));
  }
  throw new Error('the condition did not come true in time', { cause: last });
}
