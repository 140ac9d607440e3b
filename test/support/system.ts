// The whole product for one test: a server and its agents as processes that may be killed, a real OpenSSH target, and a
// separate database.
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Agent, EnrollmentTokenReply, RunDetail, RunSteps, Step } from '@opsconductor/protocol';
import { vi } from 'vitest';
import { databaseName, serverRole } from '../../server/src/database/cluster-passwords.ts';
import { connect, type Sql } from '../../server/src/store/database/connection.ts';
import { setupDatabase } from '../../server/src/store/database/testing.ts';
import { ApiClient } from './api-client.ts';
import { freePort } from './free-port.ts';
import { Gate } from './gate.ts';
import { RunReader, type RunReaderOptions } from './run-reader.ts';
import { privateKeySecret, storeCredential } from './sealed-credential.ts';
import { buildPrograms, TestAgent, TestServer } from './server-and-agents.ts';
import { hostKeyFingerprintOf, ownUser, type SshdFixture, startSshd } from './sshd.ts';
import { TcpProxy } from './tcp-proxy.ts';

const waitMs = 30_000;

export interface SystemOptions {
  /** A separate embedded PostgreSQL, which may be killed; otherwise a clone in the suite's. */
  ownPostgres?: boolean;
  /** Concurrent steps of each agent; default: 4. */
  slots?: number;
  /**
   * The target has a separate user if the machine supports it, and in any case a separate home, `home` in its folder.
   */
  account?: boolean;
  /** Lines of the target's own sudoers file. */
  sudoers?: string[];
  /** Puts a relay between the first agent and the server. */
  proxy?: boolean;
  /** The first agent may read and write below a directory of its own: `filesDir`. */
  files?: boolean;
  /** An executable that the first agent is, in place of the agent's file for Node.js. */
  agentProgram?: string;
  /** Additional settings of the server. */
  serverEnvironment?: Record<string, string>;
}

export class TestSystem {
  readonly api: ApiClient;
  readonly server: TestServer;
  readonly agent: TestAgent;
  readonly sshd: SshdFixture;
  readonly sql: Sql;
  readonly segmentId: number;
  readonly targetId: number;
  readonly proxy: TcpProxy | undefined;
  /** URL in the suite's PostgreSQL; `undefined` if the system has its own. */
  readonly databaseUrl: string | undefined;
  readonly #parts: Parts;
  readonly #agents: TestAgent[] = [];
  readonly #gates: Gate[] = [];
  readonly #readers: RunReader[] = [];

  constructor(parts: Parts, segmentId: number, targetId: number) {
    this.#parts = parts;
    this.api = parts.api;
    this.server = parts.server;
    this.agent = parts.agent;
    this.sshd = parts.sshd;
    this.sql = parts.sql;
    this.proxy = parts.proxy;
    this.databaseUrl = parts.databaseUrl;
    this.segmentId = segmentId;
    this.targetId = targetId;
    this.#agents.push(parts.agent);
  }

  /** The folder that the first agent may read and write, if enabled. */
  get filesDir(): string {
    return join(this.#parts.dir, 'files');
  }

  /** What the server stores outside its database. */
  get serverDataDir(): string {
    return join(this.#parts.dir, 'data');
  }

  /** A shell line that waits on the target until the test opens the gate. */
  async gate(): Promise<Gate> {
    const gate = await Gate.make(join(this.sshd.dir, `gate-${randomUUID()}`));
    this.#gates.push(gate);
    return gate;
  }

  /** Adds another agent to the segment, connected. */
  async addAgent(name: string): Promise<TestAgent> {
    const agent = new TestAgent(name, join(this.#parts.dir, name), this.#parts.slots);
    this.#agents.push(agent);
    await enrollAndStart(this.api, agent, this.segmentId, this.#parts.url);
    return agent;
  }

  /** Adds an agent to any segment: enrolled, but not started. */
  async enrollAgent(name: string, segmentId: number): Promise<TestAgent> {
    const agent = new TestAgent(name, join(this.#parts.dir, name), this.#parts.slots);
    this.#agents.push(agent);
    await enrollInto(this.api, agent, segmentId, this.#parts.url);
    return agent;
  }

  /** Adds an agent with a copy of another one's data directory. */
  async copyAgent(from: TestAgent): Promise<TestAgent> {
    const copy = new TestAgent(from.name, `${from.dataDir}-copy`, this.#parts.slots);
    this.#agents.push(copy);
    await cp(from.dataDir, copy.dataDir, { recursive: true });
    return copy;
  }

  /** Runs a job of these commands on the target, and follows it. */
  async run(
    commands: readonly string[],
    options: {
      targetIds?: number[];
      startWithin?: number;
      /** For each step, in addition to its command. */
      config?: Record<string, unknown>;
      /** Fields of each step in addition to type and configuration. */
      rules?: readonly Record<string, unknown>[];
    } & Pick<RunReaderOptions, 'beforePiece'> = {},
  ): Promise<{ id: number; stepIds: number[]; reader: RunReader }> {
    const job = await this.api.made<{ id: number }>('/api/v1/jobs', {
      name: `job ${randomUUID()}`,
      steps: commands.map((command, n) => ({
        name: `step ${n + 1}`,
        type: 'ssh.exec',
        config: { ...options.config, command },
        ...options.rules?.[n],
      })),
    });
    const run = await this.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, {
      targetIds: options.targetIds ?? [this.targetId],
      ...(options.startWithin === undefined ? {} : { start_within: options.startWithin }),
    });
    const stepIds = (await this.steps(run.id)).map((step) => step.id);
    return { id: run.id, stepIds, reader: this.read(run.id, options) };
  }

  read(runId: number, options: Pick<RunReaderOptions, 'beforePiece'> = {}): RunReader {
    const url = `${this.#parts.url}/api/v1/runs/${runId}/events?output=all`;
    const reader = new RunReader({ url, token: this.#parts.token, ...options });
    this.#readers.push(reader);
    return reader;
  }

  /** Runs a job of these complete steps on the target; returns the run's id. */
  async runSteps(steps: readonly Record<string, unknown>[]): Promise<number> {
    const job = await this.api.made<{ id: number }>('/api/v1/jobs', { name: `job ${randomUUID()}`, steps });
    const run = await this.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, { targetIds: [this.targetId] });
    return run.id;
  }

  /** Resolves with the data of the first event of that name in the run's stream. */
  async event<T>(runId: number, name: string): Promise<T> {
    const url = `${this.#parts.url}/api/v1/runs/${runId}/events`;
    const reply = await fetch(url, { headers: { authorization: `Bearer ${this.#parts.token}` } });
    if (!reply.ok || reply.body === null) throw new Error(`${url}: ${reply.status}`);
    let text = '';
    for await (const piece of reply.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      const match = new RegExp(`^event: ${name}\n(?:id: .*\n)?data: (.*)\n\n`, 'm').exec(text);
      if (match !== null) return JSON.parse(match[1] ?? '');
    }
    throw new Error(`the stream ended without ${name}: ${text}`);
  }

  async steps(runId: number): Promise<Step[]> {
    return (await this.api.get<RunSteps>(`/api/v1/runs/${runId}/steps`)).body.steps;
  }

  /**
   * Returns the number of a step's newest attempt. It is not 1 if a lease was given back unbegun, as it is when nothing
   * moved for longer than the time of a lease.
   */
  async attempt(runId: number, stepId: number): Promise<number> {
    return (await this.steps(runId)).find(({ id }) => id === stepId)?.attempt ?? 0;
  }

  /** Returns the stored bytes of a step, as downloaded. */
  async stored(runId: number, stepId: number): Promise<{ bytes: number; sha256: string }> {
    const url = `${this.#parts.url}/api/v1/runs/${runId}/steps/${stepId}/output?format=raw`;
    const reply = await fetch(url, { headers: { authorization: `Bearer ${this.#parts.token}` } });
    if (!reply.ok || reply.body === null) throw new Error(`${url}: ${reply.status}`);
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const piece of reply.body as unknown as AsyncIterable<Uint8Array>) {
      hash.update(piece);
      bytes += piece.length;
    }
    return { bytes, sha256: hash.digest('hex') };
  }

  /** Waits for a limited time until the assertions hold. */
  until(assertions: () => Promise<void>): Promise<void> {
    return vi.waitFor(assertions, { timeout: waitMs, interval: 100 });
  }

  async agentState(name: string): Promise<string | undefined> {
    const { body } = await this.api.get<{ items: Agent[] }>('/api/v1/agents');
    return body.items.find((agent) => agent.name === name)?.state;
  }

  /** Pid of the embedded PostgreSQL's postmaster. */
  async postmasterPid(): Promise<number> {
    const home = await databaseHome(join(this.#parts.dir, 'data/postgres'));
    return Number((await readFile(join(home, 'cluster/postmaster.pid'), 'utf8')).split('\n')[0]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.#readers) reader.close();
    for (const gate of this.#gates) await gate.close();
    await endSystem(this.#parts, this.#agents);
  }
}

interface Parts {
  dir: string;
  url: string;
  token: string;
  slots: number;
  api: ApiClient;
  server: TestServer;
  agent: TestAgent;
  sshd: SshdFixture;
  sql: Sql;
  proxy: TcpProxy | undefined;
  databaseUrl: string | undefined;
  closeDatabase(): Promise<void>;
}

/** Starts everything; resolves when the agent can be given steps. */
export async function setup(options: SystemOptions = {}): Promise<TestSystem> {
  await buildPrograms();
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-system-'));
  await chmod(dir, 0o711);
  const port = await freePort();
  const token = randomBytes(24).toString('hex');
  const url = `http://127.0.0.1:${port}`;
  const database = options.ownPostgres === true ? undefined : await setupDatabase();
  const server = new TestServer(port, dir, {
    OPSCONDUCTOR_BOOTSTRAP_TOKEN: token,
    LOG_LEVEL: 'info',
    ...options.serverEnvironment,
    ...(database === undefined ? {} : { DATABASE_URL: database.url }),
  });
  const { sudoers } = options;
  const account = { name: 'opsdeploy', ...(sudoers === undefined ? {} : { sudoers }) };
  const sshd = await startSshd(options.account === true ? ownUser(account) : {});
  await server.start();
  const sql = database?.sql ?? connect(await databaseUrl(join(dir, 'data/postgres')), { max: 2 });
  const parts: Parts = {
    dir,
    url,
    token,
    slots: options.slots ?? 4,
    api: new ApiClient({ url, token }),
    server,
    agent: new TestAgent('agent-a', join(dir, 'agent-a'), options.slots ?? 4, options.agentProgram),
    sshd,
    sql,
    proxy: options.proxy === true ? await TcpProxy.start(port) : undefined,
    databaseUrl: database?.url,
    closeDatabase: database?.close ?? (() => sql.end({ timeout: 1 })),
  };
  if (options.files === true) parts.agent.policy = await writePolicy(dir);
  try {
    return await fill(parts);
  } catch (error) {
    await endSystem(parts, [parts.agent]).catch(() => undefined);
    throw error;
  }
}

async function writePolicy(dir: string): Promise<string> {
  const policy = join(dir, 'policy.yaml');
  await mkdir(join(dir, 'files'));
  await writeFile(policy, `file_roots: [${join(dir, 'files')}]\n`, { mode: 0o644 });
  return policy;
}

/** Enrolls the agent and creates the target. */
async function fill(parts: Parts): Promise<TestSystem> {
  const { api, agent, sshd, proxy, url } = parts;
  const { id: segmentId } = await api.made<{ id: number }>('/api/v1/segments', { name: 'dmz' });
  await enrollAndStart(api, agent, segmentId, proxy === undefined ? url : `http://127.0.0.1:${proxy.port}`);
  return new TestSystem(parts, segmentId, await makeTarget(api, segmentId, sshd));
}

/** Makes the target `host` with its credential. Returns its id. */
export async function makeTarget(api: ApiClient, segmentId: number, sshd: SshdFixture): Promise<number> {
  const credentialId = await storeCredential(api, segmentId, 'key', privateKeySecret(sshd));
  const { id } = await api.made<{ id: number }>('/api/v1/targets', {
    segmentId,
    name: 'host',
    host: sshd.host,
    port: sshd.port,
    credentialId,
    hostKeyFingerprint: hostKeyFingerprintOf(sshd.hostKeyLine),
  });
  return id;
}

async function enrollInto(
  api: ApiClient,
  agent: TestAgent,
  segmentId: number,
  server: string,
): Promise<void> {
  const { token } = await api.made<EnrollmentTokenReply>(`/api/v1/segments/${segmentId}/enrollment-tokens`);
  await agent.enroll(server, token);
}

async function enrollAndStart(
  api: ApiClient,
  agent: TestAgent,
  segmentId: number,
  server: string,
): Promise<void> {
  await enrollInto(api, agent, segmentId, server);
  await agent.start();
  await vi.waitFor(
    async () => {
      const { body } = await api.get<{ items: Agent[] }>('/api/v1/agents');
      const found = body.items.find((each) => each.name === agent.name);
      if (found?.state !== 'connected' || !found.hasSegmentKey)
        throw new Error(`${agent.name} is ${found?.state}, has the segment key: ${found?.hasSegmentKey}`);
    },
    { timeout: waitMs },
  );
}

/** Stops everything in order. Throws if a process of the product has survived. */
async function endSystem(parts: Parts, agents: readonly TestAgent[]): Promise<void> {
  // Without its target, an agent has nothing to wait for.
  await parts.sshd.stop();
  const left: string[] = [];
  for (const agent of agents) left.push(...(await agent.stop()));
  left.push(...(await parts.server.stop()));
  await parts.proxy?.stop();
  await parts.closeDatabase();
  await rm(parts.dir, { recursive: true, force: true });
  if (left.length > 0) throw new Error(`processes were left behind:\n${left.join('\n')}`);
}

async function databaseHome(dataDir: string): Promise<string> {
  const placed = await readFile(join(dataDir, 'placement.json'), 'utf8').catch(() => undefined);
  return placed === undefined ? dataDir : (JSON.parse(placed) as { home: string }).home;
}

async function databaseUrl(dataDir: string): Promise<string> {
  const { password } = JSON.parse(await readFile(join(dataDir, 'credentials.json'), 'utf8'));
  const home = await databaseHome(dataDir);
  const [, , , port] = (await readFile(join(home, 'cluster/postmaster.pid'), 'utf8')).split('\n');
  return `postgres://${serverRole}:${password}@127.0.0.1:${port}/${databaseName}`;
}
