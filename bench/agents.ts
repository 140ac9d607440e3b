// A thousand agents on one server over TLS: what an idle one costs, how soon all are back after the server was killed,
// and how soon steps begin meanwhile and afterwards. The agents are real, many of them in each process.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm, statfs } from 'node:fs/promises';
import { Agent as HttpsAgent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type {
  EnrollmentTokenReply,
  ExecutorStatus,
  RunDetail,
  RunSteps,
  SealingKey,
  Target,
} from '@opsconductor/protocol';
import { passwordSecret, sealSecret } from '../test/support/sealed-credential.ts';
import { freePort, until } from './bench-system.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { writeReport } from './report.ts';
import type { FromAgents, NewAgent, ToAgents } from './simulated-agents.ts';
import { monotonicMs } from './start-times.ts';
import { percentile } from './statistics.ts';

const agents = Number(process.env['BENCH_AGENTS'] ?? 1_000);
const processes = 8;
const agentsPerSegment = 50;
const segmentCount = Math.ceil(agents / agentsPerSegment);
const targetsPerSegment = 2;
const nameOf = (n: number | '') => `agent-${n}`;
/** Enrollment is limited per address, so the agents are spread over as many addresses as necessary. */
const agentsPerAddress = 25;
const sleepers = 200;
const sleepS = 60;
const runsPerSecond = 20;
const serverBundle = resolve(import.meta.dirname, '../.cache/build/server.mjs');

export async function benchAgents(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  const agentsDir = await mkdtemp(join(await agentsDisk(), 'opsconductor-bench-agents-'));
  // Run by root, PostgreSQL uses another account, which needs access.
  await chmod(dir, 0o755);
  const bench = new AgentsBench({ dir, agentsDir }, await freePort());
  try {
    await bench.run();
  } finally {
    await bench.stop();
    for (const each of [dir, agentsDir]) await rm(each, { recursive: true, force: true });
  }
}

/** In memory if there is room: in reality each agent has its own disk, and none of them syncs the server's. */
async function agentsDisk(): Promise<string> {
  const memory = await statfs('/dev/shm').catch(() => undefined);
  return memory !== undefined && memory.bavail * memory.bsize > 2 ** 30 ? '/dev/shm' : tmpdir();
}

/** Milliseconds from each POST to the start of its step, and to its answer. */
interface Dispatched {
  begunMs: number[];
  answeredMs: number[];
  /** Steps whose segment had no agent yet when the POST was answered: they wait for one, whatever the server does. */
  withoutAgent: number;
}

interface Posted {
  step: number;
  /** Index of the target's segment, in the order in which segments were made. */
  segment: number;
  postedMs: number;
  answeredMs: number;
}

interface Answer {
  /** 0 if there was none. */
  status: number;
  text: string;
}

function noAnswer(error: NodeJS.ErrnoException): Answer {
  if (error.code === 'ECONNRESET') return { status: 0, text: '' };
  throw error;
}

class AgentsBench {
  readonly #dir: string;
  readonly #agentsDir: string;
  readonly #port: number;
  readonly #token = randomBytes(24).toString('hex');
  // The benchmark trusts the server that it started itself; agents verify it with the pin in their tokens.
  readonly #https = new HttpsAgent({ keepAlive: true, rejectUnauthorized: false });
  readonly #children: ChildProcess[] = [];
  #server: ChildProcess | undefined;

  constructor({ dir, agentsDir }: { dir: string; agentsDir: string }, port: number) {
    this.#dir = dir;
    this.#agentsDir = agentsDir;
    this.#port = port;
  }

  async run(): Promise<void> {
    await this.#startServer();
    const segments = await this.#segments();
    const idleBytes = this.#serverBytes();
    const enrolledS = await this.#startAgents(segments);
    const targets = await this.#targets(segments);
    // Long enough for the garbage of connecting to be collected.
    await new Promise((next) => setTimeout(next, 30_000));
    const perAgentKb = (this.#serverBytes() - idleBytes) / agents / 1024;
    // The first step makes each process of agents load the code that it needs.
    await this.#dispatch(targets, 5);
    const before = await this.#dispatch(targets, 10);
    const held = await this.#hold(targets);
    const killedMs = monotonicMs();
    const cpuBefore = this.#cpuSeconds();
    this.#server?.kill('SIGKILL');
    await this.#startServer();
    const serverBackS = (monotonicMs() - killedMs) / 1000;
    const back = this.#allBack(killedMs).then(() => {
      const cpuS = this.#cpuSeconds();
      return {
        backS: (monotonicMs() - killedMs) / 1000,
        cpuS: { ...cpuS, agents: cpuS.agents - cpuBefore.agents },
      };
    });
    const meanwhile = await this.#dispatch(targets, 20, killedMs);
    const { backS, cpuS } = await back;
    const after = await this.#dispatch(targets, 20);
    const lost = await this.#lost(held);
    await this.#report({ perAgentKb, enrolledS, serverBackS, backS, cpuS, before, meanwhile, after, lost });
  }

  async #report(figures: {
    perAgentKb: number;
    enrolledS: number;
    serverBackS: number;
    backS: number;
    cpuS: { server: number; agents: number };
    before: Dispatched;
    meanwhile: Dispatched;
    after: Dispatched;
    lost: number;
  }): Promise<void> {
    const { perAgentKb, enrolledS, serverBackS, backS, cpuS, before, meanwhile, after, lost } = figures;
    const perAgentMs = (seconds: number) => `${((seconds / agents) * 1000).toFixed(1)} ms`;
    const both = (samples: number[]) =>
      `p50 ${percentile(samples, 50).toFixed(0)} ms, p99 ${percentile(samples, 99).toFixed(0)} ms`;
    const times = ({ begunMs, answeredMs }: Dispatched) =>
      `${both(begunMs)}; the POST’s answer ${both(answeredMs)}`;
    await writeReport({
      name: 'agents',
      title: `${agents} agents on one server`,
      rows: [
        ['server memory per idle agent', `${perAgentKb.toFixed(0)} KiB`, ''],
        [
          'all agents back after SIGKILL of the server',
          `${backS.toFixed(1)} s, of which the server took ${serverBackS.toFixed(1)} s`,
          'at most 60 s',
        ],
        [
          'CPU until then, per agent',
          `server (including its start) and database ${perAgentMs(cpuS.server)}, agent ${perAgentMs(cpuS.agents)}`,
          '',
        ],
        [`leases lost, of ${sleepers} steps that were running`, String(lost), '0'],
        ['from the POST to the start of a step, before the SIGKILL', times(before), ''],
        ['while the agents come back', times(meanwhile), 'p99 under 500 ms'],
        ['afterwards', times(after), 'p99 under 100 ms'],
      ],
      notes: [
        `${agents} agents, ${agentsPerSegment} per segment, in ${processes} processes, over TLS with the private CA, ${agentsPerAddress} per address. They were enrolled, connected and had the keys of their segments within ${enrolledS.toFixed(0)} s.`,
        `${runsPerSecond} runs of one step are started each second, on targets of all segments in rotation; the step type does nothing. Timed from before the POST until the step starts in the agent, with its start in the journal. The first 5 s are not counted. The ${sleepers} running steps sleep for ${sleepS} s.`,
        `While the agents came back, ${meanwhile.withoutAgent} of ${meanwhile.begunMs.length} steps were started before any agent of their segment was back, and had to wait for one.`,
        `The server, its PostgreSQL and all agents share the machine, so the times include the CPU that the agents use. The agents’ files are ${this.#agentsDir.startsWith('/dev/shm') ? 'in memory, as if they had disks of their own: the fsync of their journals is not in the times' : 'on the same disk as the database'}.`,
      ],
    });
  }

  async #startServer(): Promise<void> {
    this.#server = spawn(
      process.execPath,
      [serverBundle, '--no-demo', '--tls', '--port', String(this.#port), '--data', join(this.#dir, 'data')],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, OPSCONDUCTOR_BOOTSTRAP_TOKEN: this.#token, LOG_LEVEL: 'error' },
      },
    );
    await until(async () => (await this.#send('GET', '/readyz')).status === 200);
  }

  async #segments(): Promise<number[]> {
    const ids: number[] = [];
    while (ids.length < segmentCount) {
      ids.push((await this.#api<{ id: number }>('POST', '/segments', { name: `site-${ids.length}` })).id);
    }
    return ids;
  }

  /**
   * Enrolls and connects all agents, the first of each segment first because it makes the segment's key. Returns
   * seconds.
   */
  async #startAgents(segments: readonly number[]): Promise<number> {
    const startedMs = monotonicMs();
    for (let n = 0; n < processes; n += 1) {
      this.#children.push(
        fork(join(import.meta.dirname, 'simulated-agents.ts'), { execArgv: ['--import', 'tsx'] }),
      );
    }
    const all = Array.from({ length: agents }, (_, n) => n);
    await this.#startSome(
      all.filter((n) => n < segments.length),
      segments,
    );
    await this.#startSome(
      all.filter((n) => n >= segments.length),
      segments,
    );
    await this.#allAble();
    return (monotonicMs() - startedMs) / 1000;
  }

  async #startSome(numbers: readonly number[], segments: readonly number[]): Promise<void> {
    const byProcess = this.#children.map((): NewAgent[] => []);
    for (const n of numbers) {
      const segmentId = segments[n % segments.length];
      const path = `/segments/${segmentId}/enrollment-tokens`;
      const { token } = await this.#api<EnrollmentTokenReply>('POST', path, {});
      const localAddress = `127.0.1.${Math.floor(n / agentsPerAddress) + 1}`;
      byProcess[n % processes]?.push({ port: this.#port, localAddress, token, name: nameOf(n) });
    }
    await Promise.all(
      this.#children.map(async (child, index) => {
        const message: ToAgents = { dir: this.#agentsDir, agents: byProcess[index] ?? [] };
        const reply = await ask(child, message);
        if ('failed' in reply) throw new Error(reply.failed);
      }),
    );
  }

  /**
   * Whether all have had a session since then. Asks the agents, because the database still lists those of a killed
   * server.
   */
  async #allBack(sinceMs: number): Promise<void> {
    await until(async () => (await this.#connected(sinceMs)).length === agents, 600_000);
  }

  /** Waits until all are connected and have the segment's key, so that they can take steps. */
  async #allAble(): Promise<void> {
    await until(async () => {
      const { segments } = await this.#api<ExecutorStatus>('GET', '/executor/status');
      return segments.reduce((sum, { ableAgents }) => sum + ableAgents, 0) === agents;
    }, 600_000);
  }

  async #targets(segments: readonly number[]): Promise<number[]> {
    const ids: number[] = [];
    for (const segmentId of segments) {
      const key = await this.#api<SealingKey>('GET', `/segments/${segmentId}/sealing-key`);
      const credentialId = await this.#credential(segmentId, key);
      const fingerprint = `SHA256:${createHash('sha256').update(randomBytes(8)).digest('base64').replace(/=+$/, '')}`;
      for (let n = 1; n <= targetsPerSegment; n += 1) {
        const name = `host-${segmentId}-${n}`;
        const fields = { segmentId, name, host: '10.0.0.1', credentialId, hostKeyFingerprint: fingerprint };
        ids.push((await this.#api<Target>('POST', '/targets', fields)).id);
      }
    }
    return ids;
  }

  async #credential(segmentId: number, key: SealingKey): Promise<string> {
    const credential = await sealSecret(key, passwordSecret('bench', 'bench'));
    await this.#api('POST', '/credentials', { segmentId, name: `key-${segmentId}`, ...credential });
    return credential.id;
  }

  readonly #jobs = new Map<string, Promise<number>>();

  #job(command: string): Promise<number> {
    const known =
      this.#jobs.get(command) ??
      this.#api<{ id: number }>('POST', '/jobs', {
        name: command,
        steps: [{ name: 'step', type: 'ssh.exec', config: { command, timeout: 120 } }],
      }).then(({ id }) => id);
    this.#jobs.set(command, known);
    return known;
  }

  /**
   * Starts runs at a steady rate over all targets.
   *
   * @param sinceMs from when agents count as connected.
   */
  async #dispatch(targets: readonly number[], seconds: number, sinceMs = 0): Promise<Dispatched> {
    const jobId = await this.#job('true');
    await this.#begun();
    const startMs = monotonicMs();
    const posts: Promise<Posted>[] = [];
    for (let n = 0; n < seconds * runsPerSecond; n += 1) {
      const waitMs = startMs + (n * 1000) / runsPerSecond - monotonicMs();
      if (waitMs > 0) await new Promise((next) => setTimeout(next, waitMs));
      posts.push(this.#post(jobId, targets, n));
    }
    const posted = await Promise.all(posts);
    const begunMs = new Map<number, number>();
    await until(async () => {
      for (const [step, atMs] of await this.#begun()) begunMs.set(step, atMs);
      return posted.every(({ step }) => begunMs.has(step));
    }, 120_000);
    const firstMs = await this.#firstOfSegments(sinceMs);
    return {
      withoutAgent: posted.filter(({ segment, answeredMs }) => (firstMs.get(segment) ?? 0) > answeredMs)
        .length,
      begunMs: posted.map(({ step, postedMs }) => (begunMs.get(step) ?? Number.NaN) - postedMs),
      answeredMs: posted.map(({ answeredMs, postedMs }) => answeredMs - postedMs),
    };
  }

  async #post(jobId: number, targets: readonly number[], n: number): Promise<Posted> {
    const at = n % targets.length;
    const postedMs = monotonicMs();
    const run = await this.#api<RunDetail>('POST', `/jobs/${jobId}/run`, { targetIds: [targets[at]] });
    const answeredMs = monotonicMs();
    const { steps } = await this.#api<RunSteps>('GET', `/runs/${run.id}/steps`);
    const segment = Math.floor(at / targetsPerSegment);
    return { step: steps[0]?.id ?? 0, segment, postedMs, answeredMs };
  }

  /** Returns when the first agent of each segment had a session, among sessions that began since then. */
  async #firstOfSegments(sinceMs: number): Promise<Map<number, number>> {
    const first = new Map<number, number>();
    for (const [name, ms] of await this.#connected(sinceMs)) {
      const segment = Number(name.slice(nameOf('').length)) % segmentCount;
      first.set(segment, Math.min(ms, first.get(segment) ?? Number.POSITIVE_INFINITY));
    }
    return first;
  }

  async #connected(sinceMs: number): Promise<[string, number][]> {
    const replies = await Promise.all(this.#children.map((child) => ask(child, { connectedSince: sinceMs })));
    return replies.flatMap((reply) => ('connected' in reply ? reply.connected : []));
  }

  async #begun(): Promise<[number, number][]> {
    const replies = await Promise.all(this.#children.map((child) => ask(child, 'begun')));
    return replies
      .flatMap((reply) => ('begun' in reply ? reply.begun : []))
      .map(([marker, atMs]) => [Number(marker.split('.')[1]), atMs]);
  }

  /** Starts runs whose steps last while the server is killed; returns once all have begun. */
  async #hold(targets: readonly number[]): Promise<number[]> {
    const jobId = await this.#job(`sleep ${sleepS}`);
    await this.#begun();
    const runs: number[] = [];
    while (runs.length < sleepers) {
      const targetIds = [targets[runs.length % targets.length]];
      runs.push((await this.#api<RunDetail>('POST', `/jobs/${jobId}/run`, { targetIds })).id);
    }
    let begun = 0;
    await until(async () => {
      begun += (await this.#begun()).length;
      return begun === sleepers;
    });
    return runs;
  }

  /** Returns how many of these runs did not succeed. */
  async #lost(runs: readonly number[]): Promise<number> {
    let lost = 0;
    for (const id of runs) {
      let status = '';
      await until(async () => {
        const run = await this.#api<RunDetail>('GET', `/runs/${id}`);
        status = run.status;
        return run.completedAt !== null;
      }, 300_000);
      if (status !== 'succeeded') lost += 1;
    }
    return lost;
  }

  #cpuSeconds(): { server: number; agents: number } {
    const named = this.#children.map((child, n) => [`agents-${n}`, child.pid ?? 0] as const);
    const { server = 0, ...children } = cpuSeconds({
      server: this.#server?.pid ?? 0,
      ...Object.fromEntries(named),
    });
    return { server, agents: Object.values(children).reduce((sum, each) => sum + each, 0) };
  }

  #serverBytes(): number {
    const status = readFileSync(`/proc/${this.#server?.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  /** Behaves like a script: repeats a request that got no answer, with the same key. */
  async #api<T>(method: string, path: string, body?: unknown): Promise<T> {
    const key = randomUUID();
    for (;;) {
      const { status, text } = await this.#send(method, `/api/v1${path}`, body, key).catch(noAnswer);
      if (status >= 200 && status < 300) return (text === '' ? undefined : JSON.parse(text)) as T;
      // An administrator's requests are rate-limited too.
      if (status !== 429 && status !== 0) throw new Error(`${method} ${path}: ${status} ${text}`);
      await new Promise((next) => setTimeout(next, 200));
    }
  }

  async #send(method: string, path: string, body?: unknown, key?: string): Promise<Answer> {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      Authorization: `Bearer ${this.#token}`,
      ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(key !== undefined && path.endsWith('/run') ? { 'Idempotency-Key': key } : {}),
    };
    const sent = request({ host: '127.0.0.1', port: this.#port, method, path, headers, agent: this.#https });
    // A lost connection may emit more than one error.
    sent.on('error', () => undefined);
    sent.end(json);
    const [reply] = await once(sent, 'response');
    const parts: Buffer[] = [];
    for await (const part of reply) parts.push(part as Buffer);
    return { status: reply.statusCode ?? 0, text: Buffer.concat(parts).toString() };
  }

  async stop(): Promise<void> {
    const ended = this.#children.map(async (child) => {
      if (child.exitCode !== null) return;
      child.send('stop' satisfies ToAgents);
      await once(child, 'exit');
    });
    await Promise.all(ended);
    this.#https.destroy();
    if (this.#server === undefined || this.#server.exitCode !== null) return;
    this.#server.kill('SIGTERM');
    await once(this.#server, 'exit');
  }
}

const asked = new WeakMap<ChildProcess, Promise<unknown>>();

/** One question at a time, because replies don't say which question they answer. */
function ask(child: ChildProcess, message: ToAgents): Promise<FromAgents> {
  const answer = (asked.get(child) ?? Promise.resolve()).then(async () => {
    const reply = once(child, 'message');
    child.send(message);
    return ((await reply) as [FromAgents])[0];
  });
  asked.set(
    child,
    answer.catch(() => undefined),
  );
  return answer;
}
