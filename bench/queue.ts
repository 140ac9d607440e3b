// No-op steps through one server and the real protocol, against a queue in SQL that commits a lease and a completion
// for each job.
import { join } from 'node:path';
import type { Run } from '@opsconductor/protocol';
import { startEmbeddedPostgres } from '../server/src/database/embedded-postgres.ts';
import { connect, type Sql } from '../server/src/store/database/connection.ts';
import { type BenchSystem, startBenchSystem, until } from './bench-system.ts';
import { writeReport } from './report.ts';
import { createSecretJob, plainCommands, secretCount } from './secret-runs.ts';
import { readRun } from './sse-reader.ts';
import { median } from './statistics.ts';

const rounds = 5;
const targets = 500;
const stepsPerTarget = 20;
const peerJobs = 5_000;
const peerWorkers = 8;

export async function benchQueue(): Promise<void> {
  const system = await startBenchSystem({
    targets,
    slots: 512,
    agentArgs: ['--import', 'tsx', join(import.meta.dirname, 'noop-agent.ts')],
  });
  const postgres = await startEmbeddedPostgres({ dataDir: join(system.dir, 'peer'), log: () => {} });
  const sql = connect(postgres.url, { max: peerWorkers });
  try {
    const { targetIds } = system;
    const jobId = await system.createJob('true', stepsPerTarget);
    const secretJob = await createSecretJob(system, plainCommands('true', stepsPerTarget));
    const ours: number[] = [];
    const theirs: number[] = [];
    const ratios: number[] = [];
    const masked: number[] = [];
    const maskedRatios: number[] = [];
    for (let round = -1; round < rounds; round += 1) {
      const peer = await peerRate(sql);
      const product = await productRate(system, jobId, { targetIds });
      const secret = await productRate(system, secretJob.id, await secretJob.request(targetIds));
      process.stdout.write(
        `round ${round}: ${product.toFixed(0)} steps/s, with secrets ${secret.toFixed(0)}, peer ${peer.toFixed(0)} jobs/s\n`,
      );
      if (round < 0) continue;
      ours.push(product);
      theirs.push(peer);
      ratios.push(product / peer);
      masked.push(secret);
      maskedRatios.push(secret / product);
    }
    await writeReport({
      name: 'queue',
      title: 'No-op steps through one server',
      rows: [
        ['completed steps per second, median', median(ours).toFixed(0), 'at least 3000'],
        [
          'SQL queue with a commit for each lease and each completion',
          `${median(theirs).toFixed(0)} jobs/s`,
          '',
        ],
        ['product ÷ SQL queue, median of pairs', median(ratios).toFixed(2), ''],
        [
          `completed steps per second, runs with ${secretCount} secrets, median`,
          median(masked).toFixed(0),
          '',
        ],
        ['with secrets ÷ without, median of pairs', median(maskedRatios).toFixed(2), ''],
      ],
      notes: [
        `Runs of ${targets} targets with ${stepsPerTarget} steps each through one agent with 512 slots: real agent process, WebSocket, journal fsyncs, sealed credential, leases, events, but a step type that does nothing instead of SSH. Timed from before the POST (so including the creation of the run) to the end of its event stream.`,
        `Each lease carries the secrets, as any step may print them, and the agent opens them.`,
        'Rows per step: one job_run_steps row inserted and updated twice (lease, end), one job_run_step_attempts row inserted; run, target run and event rows are shared by the steps of a transaction.',
        `The peer is a hand-written SKIP LOCKED queue on the same embedded PostgreSQL: ${peerWorkers} workers, one statement to lease and one to complete, no attempts, no events.`,
      ],
    });
  } finally {
    await sql.end();
    await postgres.stop();
    await system.stop();
  }
}

/** Returns steps per second, from just before the POST to the end of the run. */
async function productRate(system: BenchSystem, jobId: number, request: object): Promise<number> {
  const startedMs = performance.now();
  const run = await system.startWith(jobId, request);
  const read = await readRun(`${system.baseUrl}/api/v1/runs/${run.id}/events`, system.token);
  const elapsedS = (performance.now() - startedMs) / 1000;
  if (read.status !== 'succeeded') throw new Error(`run ${run.id} ${read.status}`);
  await until(
    async () => (await system.api<Run>('GET', `/runs/${run.id}`)).completedSteps === targets * stepsPerTarget,
  );
  return (targets * stepsPerTarget) / elapsedS;
}

async function peerRate(sql: Sql): Promise<number> {
  await sql`drop table if exists peer_jobs`;
  await sql`create table peer_jobs (id bigint primary key, status text not null default 'ready', worker int)`;
  await sql`create index on peer_jobs (id) where status = 'ready'`;
  await sql`insert into peer_jobs (id) select generate_series(1, ${peerJobs}::int)`;
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: peerWorkers }, (_, worker) => work(sql, worker)));
  return peerJobs / ((performance.now() - startedMs) / 1000);
}

async function work(sql: Sql, worker: number): Promise<void> {
  for (;;) {
    const [job] = await sql<{ id: number }[]>`
      update peer_jobs set status = 'running', worker = ${worker}
      where id = (select id from peer_jobs where status = 'ready' order by id limit 1 for update skip locked)
      returning id`;
    if (job === undefined) return;
    await sql`update peer_jobs set status = 'succeeded' where id = ${job.id}`;
  }
}
