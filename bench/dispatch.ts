// The product's queue, from a run's POST through the real protocol to its end, compared with queue libraries:
// throughput, start latency, enqueueing. Claims next to a long history are in claims.ts, because they take long.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { startEmbeddedPostgres } from '../server/src/database/embedded-postgres.ts';
import { connect, type Sql } from '../server/src/store/database/connection.ts';
import { type BenchSystem, startBenchSystem, until } from './bench-system.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { type EnqueuePair, enqueueTimes } from './enqueue-times.ts';
import type { PeerReply } from './queue-peer.ts';
import { ensureQueuePeers, QueuePeer, queuePeerVersions } from './queue-peers.ts';
import { writeReport } from './report.ts';
import { readRun } from './sse-reader.ts';
import { StartTimes } from './start-times.ts';
import { median, medianRatio, percentile } from './statistics.ts';

const targets = 1_000;
const stepsPerTarget = 10;
const steps = targets * stepsPerTarget;
const stepsOfEnqueue = 100;
const startRuns = 1_000;
// For trying out the benchmark; the goals refer to the default.
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5);

interface Drained {
  perSecond: number;
  cpuS: number;
  /** Not counting the time for putting the jobs into the queue. */
  drainPerSecond?: number;
}

type Peers = Record<'graphile' | 'pgboss', QueuePeer>;

export async function benchDispatch(): Promise<void> {
  ensureQueuePeers();
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  // Run by root, PostgreSQL uses another account, which needs access.
  await chmod(dir, 0o755);
  const place = { systemFolder: join(dir, 'system'), log: () => {} };
  const database = await startEmbeddedPostgres({ dataDir: join(dir, 'product'), ...place });
  const peerDatabase = await startEmbeddedPostgres({ dataDir: join(dir, 'peers'), ...place });
  const sql = connect(database.url, { max: 2 });
  const peerSql = connect(peerDatabase.url, { max: 1 });
  const startsFile = join(dir, 'starts');
  process.env['BENCH_STARTS'] = startsFile;
  const system = await startBenchSystem({
    targets,
    slots: 512,
    databaseUrl: database.url,
    agentArgs: ['--import', 'tsx', join(import.meta.dirname, 'noop-agent.ts')],
  });
  const peers: Peers = {
    graphile: await QueuePeer.start('graphile', peerDatabase),
    pgboss: await QueuePeer.start('pgboss', peerDatabase),
  };
  const rows: [string, string, string][] = [];
  try {
    const vacuum = async () => {
      await sql`vacuum`;
      await peerSql`vacuum`;
    };
    const drained = await throughput(system, peers, { databasePid: database.pid, vacuum });
    const starts = await startLatency(
      new StartTimes(system, sql, await system.createJob('true'), startsFile),
      peers,
    );
    rows.push(...drained, ...starts, ...(await enqueue(system, sql)));
  } finally {
    for (const peer of Object.values(peers)) peer.stop();
    await system.stop();
    await sql.end();
    await peerSql.end();
    await database.stop();
    await peerDatabase.stop();
    await rm(dir, { recursive: true, force: true });
  }
  await writeReport({
    name: 'dispatch',
    title: 'Dispatch compared with queue libraries',
    rows,
    notes: notes(),
  });
}

async function throughput(
  system: BenchSystem,
  peers: Peers,
  { databasePid, vacuum }: { databasePid: number; vacuum(): Promise<void> },
): Promise<[string, string, string][]> {
  const jobId = await system.createJob('true', stepsPerTarget);
  const samples: Record<'product' | keyof Peers, Drained[]> = { product: [], graphile: [], pgboss: [] };
  for (let round = -1; round < rounds; round += 1) {
    await vacuum();
    const product = await drainProduct(system, jobId, databasePid);
    const graphile = drainedBy(await peers.graphile.ask({ do: 'drain', jobs: steps }));
    const pgboss = drainedBy(await peers.pgboss.ask({ do: 'drain', jobs: steps }));
    process.stdout.write(
      `round ${round}: ${[product, graphile, pgboss].map((one) => `${one.perSecond.toFixed(0)}/s ${one.cpuS.toFixed(2)} s`).join(', ')}\n`,
    );
    if (round < 0) continue;
    samples.product.push(product);
    samples.graphile.push(graphile);
    samples.pgboss.push(pgboss);
  }
  const rate = (name: keyof typeof samples) =>
    `${median(samples[name].map((one) => one.perSecond)).toFixed(0)}/s`;
  const drain = (name: keyof Peers) =>
    `${rate(name)}, without enqueueing ${median(samples[name].map((one) => one.drainPerSecond ?? 0)).toFixed(0)}/s`;
  const cpu = (name: keyof typeof samples) =>
    `${((median(samples[name].map((one) => one.cpuS)) / steps) * 1000).toFixed(3)} ms`;
  const ratio = (name: keyof Peers) =>
    medianRatio(
      samples.product.map((ours, n) => ({
        ours: ours.perSecond,
        theirs: samples[name][n]?.perSecond ?? Number.NaN,
      })),
    ).toFixed(2);
  return [
    ['steps, from the POST to the end of the run', rate('product'), ''],
    ['graphile-worker', drain('graphile'), ''],
    ['pg-boss', drain('pgboss'), ''],
    ['product ÷ graphile-worker', ratio('graphile'), 'at least 0.5'],
    ['product ÷ pg-boss', ratio('pgboss'), 'at least 1.0'],
    ['CPU per step: server, agent, database', cpu('product'), ''],
    ['CPU per job: graphile-worker, database', cpu('graphile'), ''],
    ['CPU per job: pg-boss, database', cpu('pgboss'), ''],
  ];
}

async function drainProduct(system: BenchSystem, jobId: number, database: number): Promise<Drained> {
  const pids = { server: system.serverPid, agent: system.agentPid, database };
  const before = cpuSeconds(pids);
  const startedMs = performance.now();
  const run = await system.startRun(jobId, system.targetIds);
  const read = await readRun(`${system.baseUrl}/api/v1/runs/${run.id}/events`, system.token);
  const elapsedS = (performance.now() - startedMs) / 1000;
  if (read.status !== 'succeeded') throw new Error(`run ${run.id} ${read.status}`);
  const after = cpuSeconds(pids);
  const used = Object.keys(pids).map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)] as const);
  process.stdout.write(`${used.map(([name, s]) => `${name} ${s.toFixed(2)} s`).join(', ')}\n`);
  return { perSecond: steps / elapsedS, cpuS: used.reduce((sum, [, s]) => sum + s, 0) };
}

function drainedBy({ elapsedMs = 0, enqueueMs = 0, cpuS }: PeerReply & { cpuS: number }): Drained {
  const perSecond = (ms: number) => steps / (ms / 1000);
  return { perSecond: perSecond(elapsedMs), drainPerSecond: perSecond(elapsedMs - enqueueMs), cpuS };
}

async function startLatency(product: StartTimes, { graphile }: Peers): Promise<[string, string, string][]> {
  process.stdout.write('start latency\n');
  // This process is the runs' clients, which in use are on machines of their own.
  setFlagsFromString('--concurrent-marking-max-worker-num=1');
  await product.sustained(startRuns / 2, 16);
  const perSecond = (await product.sustained(startRuns / 2, 16)) / 2;
  const ours: number[] = [];
  const theirs: number[] = [];
  const pairs: { ours: number; theirs: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    process.stdout.write(`round ${round}: ${perSecond.toFixed(0)} runs/s\n`);
    const mine = await product.at(perSecond, startRuns / rounds);
    const { startsMs = [] } = await graphile.ask({ do: 'starts', jobs: startRuns / rounds, perSecond });
    ours.push(...mine);
    theirs.push(...startsMs);
    pairs.push({ ours: median(mine), theirs: median(startsMs) });
  }
  const both = (ms: readonly number[]) =>
    `p50 ${percentile(ms, 50).toFixed(1)} ms, p99 ${percentile(ms, 99).toFixed(1)} ms`;
  return [
    ['start of a step at half load', `${both(ours)}, at ${perSecond.toFixed(0)} runs/s`, 'p99 under 25 ms'],
    ['graphile-worker at that rate', both(theirs), ''],
    ['p50, product ÷ graphile-worker', medianRatio(pairs).toFixed(2), 'at most 0.5'],
  ];
}

async function enqueue(system: BenchSystem, sql: Sql): Promise<[string, string, string][]> {
  process.stdout.write('enqueue\n');
  const jobId = await system.createJob('true', stepsOfEnqueue);
  const { items } = await system.api<{ items: { id: number }[] }>('GET', '/agents');
  for (const { id } of items) await system.api('POST', `/agents/${id}/drain`, {});
  await until(
    async () => (await sql`select from job_run_steps where status = 'running' limit 1`).length === 0,
  );
  const pairs = await enqueueTimes(system, sql, { jobId, rounds });
  const ms = (of: keyof EnqueuePair) => `${median(pairs.map((pair) => pair[of])).toFixed(0)} ms`;
  const swapped = pairs.map(({ ours, theirs }) => ({ ours: theirs, theirs: ours }));
  return [
    [`creating a run of ${targets * stepsOfEnqueue} steps`, ms('ours'), ''],
    ['INSERT … SELECT into the same tables', ms('theirs'), ''],
    ['INSERT … SELECT ÷ product', medianRatio(swapped).toFixed(2), 'at least 0.5'],
  ];
}

function notes(): string[] {
  return [
    `Product: runs of ${targets} targets with ${stepsPerTarget} steps each through one agent with 512 slots, with a step type that does nothing instead of SSH, timed from before the POST to the end of the run’s event stream. Peers: ${steps} jobs that do nothing, timed from before the first is added until none is open. ${rounds} rounds, in which they take turns, after one that is not counted; medians of pairs. All databases are vacuumed before each round.`,
    'Rows per step: one job_run_steps row inserted and updated twice (lease, end), one job_run_step_attempts row inserted; run, target run and event rows are shared by the steps of a transaction. graphile-worker: one row inserted, updated, deleted. pg-boss: one row inserted and updated twice.',
    `${queuePeerVersions()}. graphile-worker: 24 jobs at a time, local queue of 500, batched completion. pg-boss: batches of 1000, fetched without a pause while they are full, woken by NOTIFY. Each runs on its own embedded PostgreSQL, with the product’s settings.`,
    'Start of a step: from before POST /jobs/:id/run (for the peer: before addJobs) until the agent is about to run the step’s code, with its `starting` record on disk. Half load is half of the rate that 16 clients achieve.',
  ];
}
