// A trivial step on 300 targets, from the POST until every result is stored, cold and warm, against real sshd and
// against targets that cost next to nothing.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { startSshd } from '../test/support/sshd.ts';
import { type BenchSystem, type BenchTarget, benchAccount, startBenchSystem, until } from './bench-system.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { FanoutPeers, type Measured } from './fanout-peers.ts';
import { writeReport } from './report.ts';
import { createSecretJob, plainCommands, type SecretJob, secretCount } from './secret-runs.ts';
import { readRun } from './sse-reader.ts';
import { median, percentile } from './statistics.ts';

// With Ansible a round takes most of a minute, so only a few.
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3);
const hostCount = 300;
const concurrency = 50;
// All of 127/8 is this machine, but to every client each address is a separate host.
const hosts = Array.from({ length: hostCount }, (_, n) => `127.1.${Math.floor(n / 250)}.${(n % 250) + 1}`);

interface Server {
  target: BenchTarget;
  /** Closes all connections to it. */
  dropAll(): Promise<void>;
}

type Samples = Map<string, Measured[]>;

export async function benchFanout(): Promise<void> {
  const real = await withSystem(realServer, async (fanout) => ({
    cold: await fanout.cold(true),
    warm: await fanout.warm(),
  }));
  const cheap = await withSystem(cheapServer, async (fanout) => ({ cold: await fanout.cold(false) }));
  await writeReport({
    name: 'fanout',
    title: `A trivial step on ${hostCount} hosts`,
    rows: [
      ['cold, real sshd: product', times(real.cold, 'product'), ''],
      ['bare ssh2 ÷ product', ratio(real.cold, 'ssh2'), 'at least 0.9'],
      ['`xargs -P50 ssh` ÷ product', ratio(real.cold, 'xargs'), 'at least 1.0'],
      ['`ansible -m raw -f 50` ÷ product', ratio(real.cold, 'ansible'), 'at least 2.5'],
      [`product with ${secretCount} secrets of the run ÷ without`, ratio(real.cold, 'secrets'), ''],
      ['CPU of server, database and agent per host', cpu(real.cold, 'product'), ''],
      ['that CPU ÷ ansible’s', cpuRatio(real.cold, 'ansible'), 'at most 0.25'],
      ['warm, real sshd: product', times(real.warm, 'product'), ''],
      ['warm bare ssh2 ÷ product', ratio(real.warm, 'ssh2'), 'at least 0.6'],
      ['warm ansible ÷ product', ratio(real.warm, 'ansible'), 'at least 10'],
      [`warm product with ${secretCount} secrets of the run ÷ without`, ratio(real.warm, 'secrets'), ''],
      [
        'CPU of server, database and agent per host, without and with secrets',
        `${cpu(real.warm, 'product')} and ${cpu(real.warm, 'secrets')}`,
        '',
      ],
      ['cold, cheap targets: product', times(cheap.cold, 'product'), ''],
      ['cheap targets, bare ssh2 ÷ product', ratio(cheap.cold, 'ssh2'), 'at least 0.5'],
      ['cheap targets, `xargs -P50 ssh` ÷ product', ratio(cheap.cold, 'xargs'), 'at least 1.5'],
    ],
    notes: [
      `One step, \`true\`, on ${hostCount} addresses of this machine. All of them work on ${concurrency} hosts at a time (slots of the agent, loop, \`-P\`, forks). The product is timed from before the POST until the end of the run is read from its event stream, when all results are stored; a peer is timed until it ends.`,
      `${rounds} rounds, in which they take turns, after one that is not counted; medians of pairs. Cold: all connections were closed beforehand. Warm: over the connections of the previous round; on the product’s, but not on the peers’, shells are waiting that were started when the previous run was over.`,
      'The agent opens the secrets and looks for them in what each host prints; the step does not use them.',
      'Cheap targets: one ssh2.Server process plays all hosts, and the shells that run its commands were started before the timing began.',
    ],
  });
}

class Fanout {
  readonly #system: BenchSystem;
  readonly #peers: FanoutPeers;
  readonly #server: Server;
  readonly #jobId: number;
  readonly #secretJob: SecretJob;

  constructor(
    system: BenchSystem,
    peers: FanoutPeers,
    server: Server,
    jobs: { plain: number; secret: SecretJob },
  ) {
    this.#system = system;
    this.#peers = peers;
    this.#server = server;
    this.#jobId = jobs.plain;
    this.#secretJob = jobs.secret;
  }

  async cold(withAnsible: boolean): Promise<Samples> {
    return this.#rounds({
      product: () => this.#product(),
      ssh2: () => this.#peers.ssh2Loop({ concurrency, warm: false }),
      xargs: () => this.#peers.xargsSsh(concurrency),
      ...(withAnsible
        ? {
            secrets: () => this.#productWithSecrets(),
            ansible: () => this.#peers.ansibleRaw(concurrency, { warm: false }),
          }
        : {}),
    });
  }

  async warm(): Promise<Samples> {
    const samples = await this.#rounds(
      {
        product: () => this.#product(),
        secrets: () => this.#productWithSecrets(),
        ssh2: () => this.#peers.ssh2Loop({ concurrency, warm: true }),
        ansible: () => this.#peers.ansibleRaw(concurrency, { warm: true }),
      },
      true,
    );
    await this.#peers.endAnsibleMasters();
    return samples;
  }

  async #rounds(contenders: Record<string, () => Promise<Measured>>, keep = false): Promise<Samples> {
    const samples: Samples = new Map(Object.keys(contenders).map((name) => [name, []]));
    for (let round = -1; round < rounds; round += 1) {
      for (const [name, go] of Object.entries(contenders)) {
        if (!keep) await this.#server.dropAll();
        const measured = await go();
        process.stdout.write(
          `round ${round} ${name}: ${(measured.elapsedMs / 1000).toFixed(2)} s, CPU ${measured.cpuS.toFixed(2)} s\n`,
        );
        if (round >= 0) samples.get(name)?.push(measured);
      }
    }
    return samples;
  }

  async #product(): Promise<Measured> {
    return this.#timeRun(this.#jobId, { targetIds: this.#system.targetIds });
  }

  async #productWithSecrets(): Promise<Measured> {
    return this.#timeRun(this.#secretJob.id, await this.#secretJob.request(this.#system.targetIds));
  }

  async #timeRun(jobId: number, request: object): Promise<Measured> {
    const { serverPid, agentPid, baseUrl, token } = this.#system;
    const before = cpuSecondsOf([serverPid, agentPid]);
    const startedMs = performance.now();
    const run = await this.#system.startWith(jobId, request);
    const read = await readRun(`${baseUrl}/api/v1/runs/${run.id}/events`, token);
    if (read.status !== 'succeeded') throw new Error(`run ${run.id} ${read.status}`);
    return {
      elapsedMs: read.endedMs - startedMs,
      cpuS: cpuSecondsOf([serverPid, agentPid]) - before,
    };
  }
}

async function withSystem<T>(start: () => Promise<Server>, use: (fanout: Fanout) => Promise<T>): Promise<T> {
  const server = await start();
  const system = await startBenchSystem({
    targets: hostCount,
    slots: concurrency,
    target: server.target,
    hostOf: (n) => hosts[n] ?? '',
  });
  const peers = await FanoutPeers.start(system, hosts, 'fanout');
  try {
    const plain = await system.createJob('true');
    const secret = await createSecretJob(system, plainCommands('true'));
    return await use(new Fanout(system, peers, server, { plain, secret }));
  } finally {
    peers.stop();
    await system.stop();
  }
}

async function realServer(): Promise<Server> {
  const sshd = await startSshd({
    ...benchAccount(),
    address: '0.0.0.0',
    config: ['MaxStartups 1000'],
  });
  return {
    target: sshd,
    async dropAll() {
      sshd.killSessions();
      await until(async () => sshd.sessionPids().length === 0);
    },
  };
}

async function cheapServer(): Promise<Server> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'cheap-target.ts'), [String(hostCount)], {
    execArgv: ['--import', 'tsx'],
  });
  const [told] = (await once(child, 'message')) as [Pick<BenchTarget, 'port' | 'privateKey' | 'hostKeyLine'>];
  return {
    target: {
      ...told,
      host: '127.0.0.1',
      user: 'bench',
      dir: '/nonexistent',
      async stop() {
        child.disconnect();
        await once(child, 'exit');
      },
    },
    async dropAll() {
      child.send('drop');
      await once(child, 'message');
    },
  };
}

function column(samples: Samples, name: string, of: (measured: Measured) => number): number[] {
  return (samples.get(name) ?? []).map(of);
}

function times(samples: Samples, name: string): string {
  const all = column(samples, name, ({ elapsedMs }) => elapsedMs / 1000);
  return `${median(all).toFixed(2)} s (${percentile(all, 0).toFixed(2)}–${percentile(all, 100).toFixed(2)})`;
}

/** How many times as long the other takes, pair by pair. */
function ratio(samples: Samples, name: string): string {
  const ours = column(samples, 'product', ({ elapsedMs }) => elapsedMs);
  return median(
    column(samples, name, ({ elapsedMs }) => elapsedMs).map((ms, n) => ms / (ours[n] ?? Number.NaN)),
  ).toFixed(2);
}

function cpu(samples: Samples, name: string): string {
  return `${((median(column(samples, name, ({ cpuS }) => cpuS)) / hostCount) * 1000).toFixed(1)} ms`;
}

function cpuRatio(samples: Samples, name: string): string {
  const theirs = column(samples, name, ({ cpuS }) => cpuS);
  return median(
    column(samples, 'product', ({ cpuS }) => cpuS).map((s, n) => s / (theirs[n] ?? Number.NaN)),
  ).toFixed(2);
}
