// 50,000 jobs: lists, searches, filters and counts, from the parsed query to the JSON of the answer; and a file of
// 10,000 jobs imported into a running server, with the effect on other requests.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { BundledJob, JobImport } from '@opsconductor/protocol';
import { Authority } from '../server/src/auth/authority.ts';
import { readConfig } from '../server/src/config.ts';
import { startEmbeddedPostgres } from '../server/src/database/embedded-postgres.ts';
import { writeBundle } from '../server/src/jobs/bundles/write-bundle.ts';
import { jobCounts, listJobs } from '../server/src/jobs/list-jobs.ts';
import { createLog } from '../server/src/log.ts';
import { startServer } from '../server/src/server.ts';
import { connect, type Sql } from '../server/src/store/database/connection.ts';
import { migrate, readMigrations } from '../server/src/store/database/migrate.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import { writeReport } from './report.ts';
import { percentile } from './statistics.ts';

const jobs = 50_000;
const categories = 420;
const runs = 200_000;
const imported = 10_000;
const rounds = 1_000;
const root = join(import.meta.dirname, '..');

export async function benchJobs(): Promise<void> {
  const lists = await benchLists();
  const files = await benchFiles();
  await writeReport({
    name: 'jobs',
    title: `${jobs} jobs in ${categories} categories, and ${imported} imported from one file`,
    rows: [...lists, ...files],
    notes: [
      `Lists: p50 and p99 of ${rounds} requests one after the other, and the CPU time that one request takes on the server and PostgreSQL, from the parsed query to the JSON of the answer: the jobs of a page with their last 20 runs, the rights, and the count if the row says so. Each request has different words from the one before. There are ${runs} runs and three versions of each job; one job in fifty has never run.`,
      `Import: a YAML bundle of ${imported} jobs, each with parameters and two steps, is imported into a server without jobs, which runs in the measuring process. Planning reads and checks the file in a separate thread, which takes nine tenths of the plan's processor time: half of it to read YAML, a quarter to find out where values go in scripts.`,
      'The longest stall is that of the server’s event loop (`monitorEventLoopDelay`) during each of these. Another process requests /healthz 10 ms after each answer.',
    ],
  });
}

// ------------------------------------------------------------------ lists

async function benchLists(): Promise<[string, string, string][]> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  const postgres = await startEmbeddedPostgres({ dataDir: join(dir, 'postgres'), log: () => {} });
  const sql = connect(postgres.url, { max: 4 });
  try {
    await migrate(sql, await readMigrations(join(root, 'migrations')));
    await fill(sql);
    return await measure(sql, postgres.pid);
  } finally {
    await sql.end();
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Fills the tables as in real use: rows written one by one, so that tables and indexes aren't full of the holes that
 * statements over all rows leave behind. One job in fifty never ran.
 */
async function fill(sql: Sql): Promise<void> {
  await sql`insert into users (name) select 'author-' || n from generate_series(1, 40) n`;
  await sql`insert into categories (name) select 'team-' || n from generate_series(1, 20) n`;
  await sql`
    insert into categories (name, parent_id)
    select c.name || '/area-' || n, c.id from categories c, generate_series(1, 20) n where c.name like 'team-%'`;
  await sql`
    insert into jobs (name, description, category_id, step_types, step_count, data_key, created_by, updated_by, state,
      labels, is_template, version, updated_at, has_run)
    select 'job ' || n || ' ' || (array['patch', 'restart', 'backup', 'deploy', 'check', 'rotate'])[n % 6 + 1],
      'Does ' || md5(n::text) || ' on ' || (array['web', 'database', 'cache', 'mail'])[n % 4 + 1] || ' hosts',
      c.id, case n % 5 when 0 then '{winrm.exec}' else '{ssh.exec}' end::text[], n % 7 + 1, 'x', n % 40 + 1, n % 40 + 1,
      (array['active', 'active', 'active', 'inactive', 'draft', 'archived'])[n % 6 + 1],
      jsonb_build_object('env', (array['prod', 'stage', 'test', 'dev'])[n % 4 + 1], 'app', 'app-' || n % 300)
        || case n % 50 when 0 then '{"critical": ""}' else '{}' end::jsonb,
      n % 100 = 0, 3, now() - n * interval '1 minute', n % 50 <> 0
    from generate_series(1, ${jobs}::int) n
    join (select id, row_number() over (order by id) as place from categories) c on c.place = n % ${categories}::int + 1`;
  await sql`
    insert into job_versions (job_id, version, definition, checksum, step_names, step_types, created_by)
    select j.id, v, decode(repeat('00', 900), 'hex'), decode(repeat('00', 32), 'hex'), '{one}', '{ssh.exec}', 1
    from jobs j, generate_series(1, 3) v`;
  for (let round = 0; round < runs / jobs; round += 1) {
    await sql`
      insert into job_runs (job_id, job_version, status, data_key, targets_total, total_steps, start_by, completed_at,
        execution_time_ms)
      select id, 3, (array['succeeded', 'succeeded', 'succeeded', 'failed', 'cancelled'])[(id + ${round}::int) % 5 + 1], 'x', 1,
        1, now(), now(), 1000
      from jobs where has_run order by (id * 7919) % ${jobs}::int`;
    await sql`vacuum job_last_runs`;
  }
  await sql`vacuum analyze`;
}

async function measure(sql: Sql, postgresPid: number): Promise<[string, string, string][]> {
  const everything = new Authority([{ role: 'admin', permission: null, scope: null }]);
  const [team] = await sql<{ ids: number[] }[]>`
    select array_agg(id) as ids from categories where name = 'team-3' or name like 'team-3/%'`;
  const limited = new Authority([
    {
      role: 'operator',
      permission: null,
      scope: { kind: 'category', id: team?.ids[0] ?? 0 },
      categoryIds: team?.ids ?? [],
    },
  ]);
  const list = (query: (n: number) => object, authority = everything) =>
    timed(postgresPid, (n) => listJobs(sql, query(n), authority.reach('read')));
  const cursors: string[] = [];
  for (let cursor: string | undefined, page = 0; page < 60; page += 1) {
    const { nextCursor } = await listJobs(
      sql,
      { ...(cursor && { cursor }), limit: 200 },
      everything.reach('read'),
    );
    cursor = nextCursor ?? undefined;
    if (cursor !== undefined) cursors.push(cursor);
  }
  const hex = (n: number) => ((n * 2_654_435_761) % 0xfff).toString(16).padStart(3, '0');
  const queries: [string, (n: number) => object][] = [
    ['list, any page', (n) => ({ cursor: cursors[n % cursors.length] })],
    ['list, with count', () => ({ count: true })],
    ['search a name, with count', (n) => ({ search: `job ${n * 37}`, count: true })],
    ['search a word of many names', (n) => ({ search: `${n} backup` })],
    ['search descriptions, with count', (n) => ({ search: hex(n), count: true })],
    ['search for something that is nowhere, with count', (n) => ({ search: `nothing ${n}`, count: true })],
    ['search a label, with count', (n) => ({ search: `app=app-${n % 300}`, count: true })],
    ['by label', (n) => ({ label: `env=prod,app=app-${(n * 4) % 300}`, count: true })],
    [
      'by category including its subcategories, with count',
      (n) => ({ category: `team-${(n % 20) + 1}`, count: true }),
    ],
    [
      'by step type and state, with count',
      (n) => ({ stepType: 'winrm.exec', state: n % 2 ? 'active' : 'draft', count: true }),
    ],
    ['by author, with count', (n) => ({ author: `author-${(n % 40) + 1}`, count: true })],
    ['by last result, with count', (n) => ({ lastResult: n % 2 ? 'failed' : 'none', count: true })],
    [
      'by date of change, with count',
      (n) => ({ updatedAfter: new Date(Date.now() - n * 3_600_000).toISOString(), count: true }),
    ],
    ['sorted by change', (n) => ({ sort: 'updated', search: n % 2 ? '' : 'patch' })],
    ['sorted by last run', (n) => ({ sort: 'lastRun', search: n % 2 ? '' : 'patch' })],
    ['templates, with count', () => ({ template: true, count: true })],
  ];
  const rows: [string, string, string][] = [];
  for (const [what, query] of queries) rows.push([what, await list(query), 'p99 under 50 ms']);
  const counts = (authority: Authority) => timed(postgresPid, () => jobCounts(sql, authority.reach('read')));
  rows.push(['counts by state, last result and category', await counts(everything), '']);
  rows.push(['as operator of one category: those counts', await counts(limited), '']);
  for (const [what, query] of queries.filter(([what]) =>
    /list, with|search a name|descriptions|last result|last run/.test(what),
  )) {
    rows.push([`as operator of one category: ${what}`, await list(query, limited), 'p99 under 50 ms']);
  }
  return rows;
}

/** Returns p50 and p99 of the work after a few warm-up rounds, and what a round costs. */
async function timed(postgresPid: number, work: (n: number) => Promise<unknown>): Promise<string> {
  const round = async (n: number) => JSON.stringify(await work(n));
  for (let n = 5; n > 0; n -= 1) await round(n);
  const samples: number[] = [];
  const pids = [process.pid, postgresPid];
  const before = cpuSecondsOf(pids);
  for (let n = 0; n < rounds; n += 1) {
    const startedMs = performance.now();
    await round(n);
    samples.push(performance.now() - startedMs);
  }
  const cpuMs = ((cpuSecondsOf(pids) - before) * 1_000) / rounds;
  return `p50 ${percentile(samples, 50).toFixed(1)} ms, p99 ${percentile(samples, 99).toFixed(1)} ms; CPU ${cpuMs.toFixed(1)} ms`;
}

// ------------------------------------------------------------------ files

async function benchFiles(): Promise<[string, string, string][]> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  const token = 'b'.repeat(40);
  const config = readConfig(['--no-demo', '--port', '0', '--data', dir], {
    OPSCONDUCTOR_BOOTSTRAP_TOKEN: token,
    LOG_LEVEL: 'warn',
  });
  const paths = {
    migrations: join(root, 'migrations'),
    console: join(root, 'ui/dist'),
    agentBundle: join(root, '.cache/build/agent.mjs'),
  };
  const log = createLog({ level: 'warn', plain: true });
  const server = await startServer(config, paths, { log, say: () => {} });
  try {
    return await measureFiles(`${server.localUrl}`, token);
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function measureFiles(url: string, token: string): Promise<[string, string, string][]> {
  const text = writeBundle(
    Array.from({ length: imported }, (_, n) => bundled(n)),
    'yaml',
  );
  const api = apiOf(url, token);
  // A server run from sources compiles its thread's program at the first file; a built one already has it.
  const few = writeBundle(
    Array.from({ length: 300 }, (_, n) => bundled(n)),
    'yaml',
  );
  await until(api, (await api<JobImport>('POST', '/job-imports', few)).id, 'planned');
  const health = await watchHealth(url);
  const plan = await stalls(async () => {
    const { id } = await api<JobImport>('POST', '/job-imports', text);
    return until(api, id, 'planned');
  });
  if (plan.result.counts.create !== imported) throw new Error(JSON.stringify(plan.result));
  const apply = await stalls(async () => {
    await api('POST', `/job-imports/${plan.result.id}/apply`, '{}');
    return until(api, plan.result.id, 'applied');
  });
  const again = await stalls(async () => {
    const { id } = await api<JobImport>('POST', '/job-imports', text);
    return until(api, id, 'planned');
  });
  if (again.result.counts.unchanged !== imported) throw new Error(JSON.stringify(again.result));
  const exported = await stalls(async () =>
    (await fetch(`${url}/api/v1/jobs/export`, { headers: { Authorization: `Bearer ${token}` } })).text(),
  );
  if (exported.result.length < text.length / 2) throw new Error(exported.result.slice(0, 500));
  const asked = await health.stop();
  const row = (
    what: string,
    { ms, stallMs }: { ms: number; stallMs: number },
    goal = '',
  ): [string, string, string] => [
    what,
    `${(ms / 1000).toFixed(1)} s, longest stall ${stallMs.toFixed(0)} ms`,
    goal,
  ];
  return [
    row(`plan an import of ${imported} jobs (${(text.length / 2 ** 20).toFixed(0)} MiB of YAML)`, plan),
    row('apply it', apply),
    row('plan it again, nothing changed', again),
    row(`export ${imported} jobs as YAML`, exported),
    ['requests for /healthz during these', asked, ''],
  ];
}

function bundled(n: number): BundledJob {
  return {
    definition: {
      name: `imported job ${n}`,
      description: `Does the work number ${n}.\n\nAsk before you run it.`,
      category: n % 10 === 0 ? 'general' : `team-${n % 20}/area-${n % 7}`,
      labels: { env: ['prod', 'stage', 'test'][n % 3] ?? '', app: `app-${n % 300}` },
      parameters: {
        service: { type: 'string', enum: ['nginx', 'php-fpm', 'varnish'], default: 'nginx' },
        count: { type: 'integer', minimum: 1, maximum: 50, default: 5 },
      },
      timeout: 1_800,
      steps: [
        {
          name: 'Look',
          type: 'ssh.exec',
          config: {
            command: `set -e\nfor i in 1 2 3; do\n  systemctl is-active "\${{ parameters.service }}"\n  sleep ${n % 9}\ndone\n`,
          },
        },
        {
          name: 'Restart',
          type: 'ssh.exec',
          config: { command: 'sudo systemctl restart ${{ parameters.service }}', timeout: 120 },
        },
      ],
    } as BundledJob['definition'],
    state: n % 20 === 0 ? 'draft' : 'active',
  };
}

type Api = <T>(method: string, path: string, body?: string) => Promise<T>;

function apiOf(url: string, token: string): Api {
  return async <T>(method: string, path: string, body?: string) => {
    const reply = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        Authorization: `Bearer ${token}`,
        'Content-Type': body?.startsWith('{') ? 'application/json' : 'application/yaml',
      },
      ...(body === undefined ? {} : { body }),
    });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text.slice(0, 1_000)}`);
    return JSON.parse(text) as T;
  };
}

async function until(api: Api, id: string, status: string): Promise<JobImport> {
  for (;;) {
    const now = await api<JobImport>('GET', `/job-imports/${id}?limit=1`);
    if (now.status === status) return now;
    if (now.status !== 'reading' && now.status !== 'applying')
      throw new Error(JSON.stringify(now).slice(0, 2_000));
    await delay(200);
  }
}

/** Returns the time of the work, and the longest stall of the event loop. */
async function stalls<T>(work: () => Promise<T>): Promise<{ result: T; ms: number; stallMs: number }> {
  const resolution = 5;
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  const startedMs = performance.now();
  const result = await work();
  const ms = performance.now() - startedMs;
  histogram.disable();
  return { result, ms, stallMs: histogram.max / 1e6 - resolution };
}

const asker = `
  const times = [];
  let isOver = false;
  process.on('message', () => { isOver = true; });
  (async () => {
    while (!isOver) {
      const startedMs = performance.now();
      await (await fetch(process.argv[1] + '/healthz')).text();
      times.push(performance.now() - startedMs);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    process.send(times, () => process.disconnect());
  })();`;

async function watchHealth(url: string): Promise<{ stop(): Promise<string> }> {
  const child: ChildProcess = spawn(process.execPath, ['-e', asker, url], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  return {
    async stop() {
      const answer = once(child, 'message');
      child.send('stop');
      const [times] = (await answer) as [number[]];
      await once(child, 'exit');
      const [half, most, all] = [50, 99, 100].map((p) => percentile(times, p).toFixed(0));
      return `p50 ${half} ms, p99 ${most} ms, longest ${all} ms`;
    },
  };
}
