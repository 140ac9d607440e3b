// One of the queues that dispatch is compared with, in its own process: jobs that do nothing, with the settings that
// its makers recommend for throughput. Started and controlled by queue-peers.ts.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import postgres from 'postgres';

export type PeerName = 'graphile' | 'pgboss';
export type PeerRequest = { do: 'drain'; jobs: number } | { do: 'starts'; jobs: number; perSecond: number };
export interface PeerReply {
  /** Until all jobs were in the queue. */
  enqueueMs?: number;
  /** Until all were durably completed. */
  elapsedMs?: number;
  /** From the call that adds a job to its start. */
  startsMs?: number[];
}

interface Peer {
  /** Adds jobs that carry these numbers. */
  add(numbers: readonly number[]): Promise<void>;
  openJobs(): Promise<number>;
}

/** The parts of the packages that are used; the packages are absent when this project is compiled. */
interface GraphileWorker {
  run(options: {
    preset: object;
    taskList: Record<string, (payload: { n: number }) => void>;
  }): Promise<unknown>;
  makeWorkerUtils(options: { preset: object }): Promise<{
    migrate(): Promise<void>;
    addJobs(jobs: { identifier: string; payload: { n: number } }[]): Promise<unknown>;
  }>;
  Logger: new (write: () => () => void) => object;
}
interface PgBossModule {
  PgBoss: new (
    options: object,
  ) => {
    on(event: 'error', told: (error: unknown) => void): void;
    start(): Promise<unknown>;
    createQueue(name: string, options: object): Promise<void>;
    work(
      name: string,
      options: object,
      handler: (jobs: { data: { n: number } }[]) => Promise<void>,
    ): Promise<unknown>;
    insert(name: string, jobs: { data: { n: number } }[]): Promise<unknown>;
  };
}

const [name, url = '', folder = ''] = process.argv.slice(2);
const sql = postgres(url, { max: 1, onnotice: () => {} });
const addAtATime = 10_000;
const startedAt = new Map<number, number>();

const peer = name === 'graphile' ? await graphile() : await pgBoss();
process.on('message', (request: PeerRequest) => {
  const work = request.do === 'drain' ? drain(request.jobs) : starts(request);
  work.then((reply) => process.send?.(reply));
});
process.on('disconnect', () => process.exit(0));
process.send?.({});

async function load<T>(module: string): Promise<T> {
  const path = createRequire(`${folder}/package.json`).resolve(module);
  return (await import(pathToFileURL(path).href)) as T;
}

async function graphile(): Promise<Peer> {
  const { run, makeWorkerUtils, Logger } = await load<GraphileWorker>('graphile-worker');
  const worker = {
    connectionString: url,
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger: new Logger(() => () => {}),
  };
  const utils = await makeWorkerUtils({ preset: { worker } });
  await utils.migrate();
  await run({
    preset: { worker },
    taskList: {
      noop: ({ n }: { n: number }) => {
        startedAt.set(n, performance.now());
      },
    },
  });
  return {
    async add(numbers) {
      await utils.addJobs(numbers.map((n) => ({ identifier: 'noop', payload: { n } })));
    },
    async openJobs() {
      const [row] = await sql`select count(*)::int as n from graphile_worker._private_jobs`;
      return row?.['n'] ?? 0;
    },
  };
}

async function pgBoss(): Promise<Peer> {
  const { PgBoss } = await load<PgBossModule>('pg-boss');
  const boss = new PgBoss({ connectionString: url, useListenNotify: true });
  boss.on('error', (error: unknown) => process.stderr.write(`${String(error)}\n`));
  await boss.start();
  await boss.createQueue('noop', { notify: true });
  const options = { batchSize: 1_000, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
  await boss.work('noop', options, async (jobs) => {
    for (const { data } of jobs) startedAt.set(data.n, performance.now());
  });
  return {
    async add(numbers) {
      const jobs = numbers.map((n) => ({ data: { n } }));
      await boss.insert('noop', jobs);
    },
    async openJobs() {
      const [row] =
        await sql`select count(*)::int as n from pgboss.job where name = 'noop' and state < 'completed'`;
      return row?.['n'] ?? 0;
    },
  };
}

async function drain(jobs: number): Promise<PeerReply> {
  startedAt.clear();
  const begunMs = performance.now();
  for (let at = 0; at < jobs; at += addAtATime) {
    await peer.add(Array.from({ length: Math.min(addAtATime, jobs - at) }, (_, n) => at + n));
  }
  const enqueueMs = performance.now() - begunMs;
  await allDone(jobs);
  return { enqueueMs, elapsedMs: performance.now() - begunMs };
}

async function starts({ jobs, perSecond }: { jobs: number; perSecond: number }): Promise<PeerReply> {
  startedAt.clear();
  const begunMs = performance.now();
  const addedMs: number[] = [];
  const adding: Promise<void>[] = [];
  for (let n = 0; n < jobs; n += 1) {
    await pause(begunMs + (n * 1000) / perSecond - performance.now());
    addedMs.push(performance.now());
    adding.push(peer.add([n]));
  }
  await Promise.all(adding);
  await allDone(jobs);
  return { startsMs: addedMs.map((ms, n) => (startedAt.get(n) ?? Number.NaN) - ms) };
}

async function allDone(jobs: number): Promise<void> {
  while (startedAt.size < jobs) await pause(2);
  // Infrequently, because each check reads rows that are dead by then.
  while ((await peer.openJobs()) > 0) await pause(20);
}

async function pause(ms: number): Promise<void> {
  if (ms > 0) await new Promise((next) => setTimeout(next, ms));
}
