// Lists, filters and selections over many targets: the server's work for one request, from the parsed query to the JSON
// of the answer, on embedded PostgreSQL.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Authority } from '../server/src/auth/authority.ts';
import type { Caller } from '../server/src/caller.ts';
import { startEmbeddedPostgres } from '../server/src/database/embedded-postgres.ts';
import { connect, type Sql } from '../server/src/store/database/connection.ts';
import { migrate, readMigrations } from '../server/src/store/database/migrate.ts';
import { createTargetGroup } from '../server/src/target-groups/edit-target-groups.ts';
import { bulkChangeTargets } from '../server/src/targets/bulk-targets.ts';
import { updateTarget } from '../server/src/targets/edit-targets.ts';
import { listTargets } from '../server/src/targets/list-targets.ts';
import { previewSelection } from '../server/src/targets/selection/preview-selection.ts';
import { writeReport } from './report.ts';
import { percentile } from './statistics.ts';

const targets = 12_000;
const segments = 40;
const groups = 60;
const rounds = 200;

export async function benchTargets(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  const postgres = await startEmbeddedPostgres({ dataDir: join(dir, 'postgres'), log: () => {} });
  const sql = connect(postgres.url, { max: 4 });
  try {
    await migrate(sql, await readMigrations(join(import.meta.dirname, '../migrations')));
    const caller = await fill(sql);
    const rows = await measure(sql, caller);
    await writeReport({
      name: 'targets',
      title: `${targets} targets in ${segments} segments and ${groups} groups`,
      rows,
      notes: [
        `p50 and p99 of ${rounds} requests one after the other, from the parsed query to the JSON of the answer: queries, rights, connection settings of the page, host keys. Each request has different words from the one before.`,
        'Lists have 50 targets per page. Selections are resolved completely, including what prevents a run on each target.',
        'The transaction that changes a label also updates the members of all groups that have a selector.',
      ],
    });
  } finally {
    await sql.end();
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function fill(sql: Sql): Promise<Caller> {
  await sql`insert into users (name) values ('bench')`;
  await sql`
    insert into segments (name, root_key, root_key_sealed, key_generation)
    select 'segment-' || n, '\\x00', '\\x00', 1 from generate_series(1, ${segments}::int) n`;
  await sql`
    insert into credentials (id, segment_id, name, kind) select gen_random_uuid(), id, 'deploy', 'ssh_password'
    from segments`;
  await sql`
    insert into targets (segment_id, name, host, operating_system, labels, credential_id, last_contact_at,
      last_contact_ok)
    select s.id, 'host-' || n, 'host-' || n || '.example.com', case n % 5 when 0 then 'windows' else 'linux' end,
      jsonb_build_object('env', (array['prod', 'stage', 'test', 'dev'])[n % 4 + 1], 'app', 'app-' || n % 300)
        || case n % 50 when 0 then '{"canary": ""}' else '{}' end::jsonb,
      case n % 2 when 0 then c.id end, now(), n % 9 > 0
    from generate_series(1, ${targets}::int) n
    join segments s on s.id = n % ${segments}::int + 1 join credentials c on c.segment_id = s.id`;
  const [user] = await sql<{ id: number }[]>`select id from users`;
  const authority = new Authority([{ role: 'admin', permission: null, scope: null }]);
  const origin = { address: '127.0.0.1', requestId: 'bench' };
  const caller = { userId: user?.id ?? 0, name: 'bench', authority, ...origin };
  const credentials = await sql<{ segmentId: number; credentialId: string }[]>`
    select segment_id, id as credential_id from credentials`;
  for (let n = 0; n < groups; n += 1) {
    const selector = `app in (${Array.from({ length: 5 }, (_, at) => `app-${n * 5 + at}`).join(', ')}) os=linux`;
    const more =
      n % 3 === 0 ? { settings: { port: 2200 + n }, credentials: [...credentials], priority: n } : {};
    await createTargetGroup(sql, { name: `group-${n}`, selector, ...more }, caller);
  }
  await sql`vacuum analyze`;
  return caller;
}

async function measure(sql: Sql, caller: Caller): Promise<[string, string, string][]> {
  const everything = caller.authority;
  const limited = new Authority([
    { role: 'operator', permission: null, scope: { kind: 'segment', id: 3 } },
    { role: 'operator', permission: null, scope: { kind: 'segment', id: 7 } },
    { role: 'operator', permission: null, scope: { kind: 'target_group', id: 5 } },
  ]);
  const list = (query: (n: number) => object, authority = everything) =>
    timed((n) => listTargets(sql, query(n), authority.reach('read')));
  const select = (selector: (n: number) => string, authority = everything) =>
    timed((n) => previewSelection(sql, { selector: selector(n) }, authority));
  const cursors: string[] = [];
  for (let cursor: string | undefined, page = 0; page < 40; page += 1) {
    const { nextCursor } = await listTargets(
      sql,
      { ...(cursor && { cursor }), limit: 200 },
      everything.reach('read'),
    );
    cursor = nextCursor ?? undefined;
    if (cursor !== undefined) cursors.push(cursor);
  }
  const [one] = await sql<
    { id: number; name: string; host: string }[]
  >`select id, name, host from targets limit 1`;
  const { id = 0, name = '', host = '' } = one ?? {};
  const under = (ms: number) => `p99 under ${ms} ms`;
  return [
    ['list, any page', await list((n) => ({ cursor: cursors[n % cursors.length] })), under(50)],
    ['list by segment', await list((n) => ({ segmentId: (n % segments) + 1 })), under(50)],
    ['list by group', await list((n) => ({ groupId: (n % groups) + 1 })), under(50)],
    ['list by search, with count', await list((n) => ({ search: `st-${n}`, count: true })), under(50)],
    [
      'list by system, health, activity',
      await list((n) => ({
        operatingSystem: 'windows',
        health: n % 2 ? 'ok' : 'failing',
        isActive: true,
        count: true,
      })),
      under(50),
    ],
    [
      'list by selector, with count',
      await list((n) => ({ selector: `env=prod app=app-${n % 300}`, count: true })),
      under(50),
    ],
    [
      'list as operator of two segments and a group, with count',
      await list((n) => ({ search: `host-${n % 90}`, count: true }), limited),
      under(50),
    ],
    [
      'select by labels (a few hundred targets)',
      await select(
        (n) => `os=linux env in (prod, stage) app in (app-${n}, app-${n + 1}, app-${n + 2}) !canary`,
      ),
      under(100),
    ],
    [
      'select by segment and group pattern',
      await select((n) => `segment:segment-${(n % segments) + 1} or group:group-${n % 10}*`),
      under(100),
    ],
    [
      'select three in four (9000 targets)',
      await select((n) => `env!=dev name:host-* app!=none-${n}`),
      under(100),
    ],
    ['select all 12000', await select((n) => `name:host-* !none-${n}`), under(100)],
    [
      'select as operator of two segments and a group',
      await select((n) => `env!=dev app!=none-${n}`, limited),
      under(100),
    ],
    [
      'change a label of one target',
      await timed((n) => updateTarget(sql, id, { name, host, labels: { app: `app-${n}` } }, caller)),
      '',
    ],
    [
      'change a label of 3000 targets',
      await timed(
        (n) =>
          bulkChangeTargets(
            sql,
            { selection: { selector: 'env=prod' }, setLabels: { round: `${n}` } },
            caller,
          ),
        5,
      ),
      '',
    ],
  ];
}

/** Returns p50 and p99 of the work, after a few warm-up rounds. */
async function timed(work: (n: number) => Promise<unknown>, times = rounds): Promise<string> {
  const samples: number[] = [];
  for (let n = -Math.min(5, times); n < times; n += 1) {
    const startedMs = performance.now();
    JSON.stringify(await work(Math.abs(n)));
    if (n >= 0) samples.push(performance.now() - startedMs);
  }
  return `p50 ${percentile(samples, 50).toFixed(1)} ms, p99 ${percentile(samples, 99).toFixed(1)} ms`;
}
