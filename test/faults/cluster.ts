// The system under test, kept running over many rounds: two servers on one PostgreSQL, three agents of one segment, an
// OpenSSH server that acts as four targets, and a relay on every connection between machines.
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Agent, EnrollmentTokenReply, SealingKey } from '@opsconductor/protocol';
import { connect, type Sql } from '../../server/src/store/database/connection.ts';
import { ApiClient } from '../support/api-client.ts';
import { freePort } from '../support/free-port.ts';
import { privateKeySecret, storeCredential } from '../support/sealed-credential.ts';
import { hostKeyFingerprintOf, type SshdFixture, startSshd } from '../support/sshd.ts';
import { ClockFile } from './agent-clock.ts';
import { FaultDatabase } from './fault-database.ts';
import { agents as agentCount, blobBytes, type Direction, servers as serverCount } from './plan-round.ts';
import { Prng } from './prng.ts';
import { Program } from './program.ts';
import { Relay } from './relay.ts';
import { fail, until } from './waiting.ts';

const root = resolve(import.meta.dirname, '../..');
const buildFolder = join(root, '.cache/build');
const leaseTtlMs = 2_000;
const timings = { heartbeatIntervalMs: 400, leaseTtlMs };
const unknownAfterS = 4;
const slots = 16;
const targetCount = 4;
const token = createHash('sha256').update('faults').digest('hex');

export interface Member {
  program: Program;
  /** Between an agent and the servers, or between a server and PostgreSQL. */
  relay: Relay;
}
export interface ServerMember extends Member {
  port: number;
  api: ApiClient;
}
export interface AgentMember extends Member {
  id: number;
  dataDir: string;
  clock: ClockFile;
}

export class Cluster {
  readonly dir: string;
  readonly servers: ServerMember[] = [];
  readonly agents: AgentMember[] = [];
  readonly targetIds: number[] = [];
  /** In the same order. */
  targetPorts: readonly number[] = [];
  /** The prefix of its markers, to distinguish its processes from those of other systems on the machine. */
  installationId = '';
  /** Where the steps' commands write their lines, and where their long outputs are read from. */
  readonly linesDir: string;
  readonly blobPath: string;
  readonly gatePath: string;
  readonly blob: Buffer;
  /** Called for each frame between agents and servers. */
  onFrame: (direction: Direction, type: string, when: 'before' | 'after') => void = () => undefined;
  sshd!: SshdFixture;
  /** How often the database was restored. */
  restores = 0;
  /** The harness's own connection to the database. */
  sql!: Sql;
  database!: FaultDatabase;
  #sqlRelay: Relay | undefined;
  readonly #say: (text: string) => void;

  private constructor(dir: string, linesDir: string, say: (text: string) => void) {
    this.dir = dir;
    this.#say = say;
    this.linesDir = linesDir;
    this.blobPath = join(linesDir, 'blob');
    this.gatePath = join(dir, 'gate');
    this.blob = makeBlob();
  }

  static async start(say: (text: string) => void): Promise<Cluster> {
    const dir = await mkdtemp(join(await roomyFolder(), 'opsconductor-faults-'));
    await chmod(dir, 0o711);
    const linesDir = join(dir, 'lines');
    await mkdir(linesDir);
    await chmod(linesDir, 0o777);
    const cluster = new Cluster(dir, linesDir, say);
    try {
      await cluster.#start();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Starts what is down, heals what is broken, and waits until every agent can be given steps. */
  async heal(): Promise<void> {
    for (const { relay } of [...this.servers, ...this.agents]) relay.heal();
    await Promise.all([...this.servers, ...this.agents].map(({ program }) => program.thaw()));
    await this.database.thaw();
    await this.databaseAnswers();
    await Promise.all([...this.servers, ...this.agents].map(({ program }) => program.start()));
  }

  async databaseAnswers(): Promise<void> {
    await until('the database answers', async () => {
      await this.sql`select 1`;
      return true;
    });
  }

  /** Returns a server that is answering now; the other one if the first doesn't. */
  api(member: number): ApiClient {
    const { servers } = this;
    const wanted = servers[member % servers.length];
    const found = wanted?.program.isReady === true ? wanted : servers.find(({ program }) => program.isReady);
    return (found ?? wanted ?? fail('there is no server')).api;
  }

  async stop(): Promise<void> {
    for (const { program } of [...this.agents, ...this.servers]) await program.kill();
    for (const { relay } of [...this.agents, ...this.servers]) await relay.stop();
    await this.sshd?.stop();
    await this.sql?.end({ timeout: 1 });
    await this.#sqlRelay?.stop();
    await this.database?.stop();
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  async #start(): Promise<void> {
    await buildPrograms();
    await writeFile(this.blobPath, this.blob, { mode: 0o644 });
    await this.#openDatabase();
    const ports = await Promise.all(Array.from({ length: targetCount }, () => freePort()));
    this.sshd = await startSshd({
      config: ports.slice(1).map((port) => `Port ${port}`),
      port: ports[0] ?? 0,
    });
    for (let n = 0; n < serverCount; n += 1) this.servers.push(await this.#makeServer(n));
    for (const { program } of this.servers) await program.start();
    const { api } = this.servers[0] ?? fail('there is no server');
    const { id: segmentId } = await api.made<{ id: number }>('/api/v1/segments', { name: 'dmz' });
    await this.sql`update segments set unknown_after_s = ${unknownAfterS}`;
    for (let n = 0; n < agentCount; n += 1) this.agents.push(await this.#makeAgent(n, segmentId));
    const { body: key } = await api.get<SealingKey>(`/api/v1/segments/${segmentId}/sealing-key`);
    this.installationId = key.installationId || fail('there is no installation');
    await this.#makeTargets(api, segmentId, ports);
    this.targetPorts = ports;
  }

  async #openDatabase(): Promise<void> {
    this.database = await FaultDatabase.start(this.dir, this.#say);
    this.#sqlRelay = await Relay.start({ targets: () => [this.database.port], isFramed: false });
    this.sql = connect(this.database.urlThrough(this.#sqlRelay.port), { max: 16 });
  }

  async #makeServer(n: number): Promise<ServerMember> {
    const relay = await Relay.start({ targets: () => [this.database.port], isFramed: false });
    const port = await freePort();
    const program = new Program({
      name: `server-${n}`,
      args: [
        join(buildFolder, 'test-server.mjs'),
        '--no-demo',
        '--port',
        String(port),
        '--data',
        join(this.dir, `server-${n}`),
      ],
      env: {
        DATABASE_URL: this.database.urlThrough(relay.port),
        OPSCONDUCTOR_MASTER_KEY_FILE: join(this.dir, 'keys/master-key.json'),
        OPSCONDUCTOR_BOOTSTRAP_TOKEN: token,
        OPSCONDUCTOR_TEST_TIMINGS: JSON.stringify(timings),
        LOG_LEVEL: 'info',
      },
      ready: /listening at/,
      cwd: root,
    });
    return { program, relay, port, api: new ApiClient({ url: `http://127.0.0.1:${port}`, token }) };
  }

  async #makeAgent(n: number, segmentId: number): Promise<AgentMember> {
    let turn = n;
    // Like a load balancer: in turn, skipping servers that don't answer.
    const targets = () => {
      turn += 1;
      return this.servers.map((_, at) => this.servers[(at + turn) % this.servers.length]?.port ?? 0);
    };
    const relay = await Relay.start({
      targets,
      isFramed: true,
      onFrame: (direction, type, when) => this.onFrame(direction, type, when),
    });
    const name = `agent-${n}`;
    const dataDir = join(this.dir, name);
    const { api } = this.servers[0] ?? fail('there is no server');
    const reply = await api.made<EnrollmentTokenReply>(`/api/v1/segments/${segmentId}/enrollment-tokens`);
    const clockPath = join(this.dir, `${name}.clock`);
    const clock = new ClockFile(clockPath);
    const enrolling = new Program({
      name,
      args: [
        join(buildFolder, 'agent.mjs'),
        'enroll',
        '--server',
        `http://127.0.0.1:${relay.port}`,
        '--name',
        name,
        '--data',
        dataDir,
      ],
      env: { OPSCONDUCTOR_ENROLLMENT_TOKEN: reply.token },
      ready: /Enrolled/,
      cwd: root,
    });
    await enrolling.start();
    const program = new Program({
      name,
      args: [join(buildFolder, 'faults-agent.mjs'), dataDir, String(slots), clockPath],
      env: {},
      ready: /"msg":"connected"/,
      cwd: root,
    });
    await program.start();
    let id = 0;
    await until(`${name} has the segment key`, async () => {
      const { body } = await api.get<{ items: Agent[] }>('/api/v1/agents');
      const found = body.items.find((agent) => agent.name === name);
      id = found?.id ?? 0;
      return found?.state === 'connected' && found.hasSegmentKey;
    });
    return { program, relay, id, dataDir, clock };
  }

  async #makeTargets(api: ApiClient, segmentId: number, ports: readonly number[]): Promise<void> {
    const { sshd } = this;
    const secret = privateKeySecret(sshd, { ports: [...ports] });
    const credentialId = await storeCredential(api, segmentId, 'key', secret);
    const hostKeyFingerprint = hostKeyFingerprintOf(sshd.hostKeyLine);
    for (const [at, port] of ports.entries()) {
      const target = await api.made<{ id: number }>('/api/v1/targets', {
        segmentId,
        name: `host-${at + 1}`,
        host: sshd.host,
        port,
        credentialId,
        hostKeyFingerprint,
      });
      this.targetIds.push(target.id);
    }
  }
}

/** Half of it is compressible. */
function makeBlob(): Buffer {
  const random = new Prng('blob');
  const blob = Buffer.alloc(blobBytes);
  for (let at = 0; at < blobBytes; at += 1) {
    const column = at % 128;
    blob[at] = column === 127 ? 10 : column < 64 ? 97 + (column % 26) : 33 + Math.floor(random.next() * 90);
  }
  return blob;
}

async function buildPrograms(): Promise<void> {
  const build = await import(join(root, 'scripts/build.mjs'));
  await (build as { buildForFaults(): Promise<void> }).buildForFaults();
}

async function roomyFolder(): Promise<string> {
  const disk = await statfs('/dev/shm').catch(() => undefined);
  return disk !== undefined && disk.bavail * disk.bsize > 2 * 1024 ** 3 ? '/dev/shm' : tmpdir();
}
