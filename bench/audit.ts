// What auditing costs: the product's writes with and without their audit row, alternating, while the log is being
// sealed. Requests go to the server's HTTP layer without a socket, which would only hide the difference.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { AuditSealer } from '../server/src/audit/sealing/sealer.ts';
import { Authority } from '../server/src/auth/authority.ts';
import { openInstallation } from '../server/src/auth/installation/open-installation.ts';
import { hashSecretToken, makeSecretToken } from '../server/src/auth/secret-token.ts';
import type { Caller } from '../server/src/caller.ts';
import { createCategory } from '../server/src/categories/edit-categories.ts';
import { startEmbeddedPostgres } from '../server/src/database/embedded-postgres.ts';
import { createLog } from '../server/src/log.ts';
import { createSegment } from '../server/src/segments/create-segment.ts';
import { createServices, type Services } from '../server/src/services.ts';
import { countUnsealed } from '../server/src/store/audit/audit-seals.ts';
import { connect, type Sql } from '../server/src/store/database/connection.ts';
import { migrate, readMigrations } from '../server/src/store/database/migrate.ts';
import { insertApiToken } from '../server/src/store/people/api-tokens.ts';
import { insertUser } from '../server/src/store/people/users.ts';
import { writeReport } from './report.ts';
import { median } from './statistics.ts';

const rounds = 15;
const writesPerRound = 400;
const workers = 8;

interface Side {
  sql: Sql;
  app: Services['app'];
}

interface Bench {
  audited: Side;
  unaudited: Side;
  sealer: AuditSealer;
  caller: Caller;
  token: string;
  segmentId: number;
}

/** Writes that differ in how much else they do; each gets a unique number. */
type Write = (bench: Bench, side: Side, number: number) => Promise<unknown>;
const steps = [{ name: 'only', type: 'ssh.exec', config: { command: 'uptime' } }];
const writes: Record<string, Write> = {
  'POST targets': (bench, side, n) =>
    post(bench, side, 'targets', { segmentId: bench.segmentId, name: `target-${n}`, host: '10.0.0.1' }),
  'POST jobs': (bench, side, n) => post(bench, side, 'jobs', { name: `job ${n}`, steps }),
  'POST categories': (bench, side, n) => post(bench, side, 'categories', { name: `category ${n}` }),
  'a category, by calling the function directly': ({ caller }, { sql }, n) =>
    createCategory(sql, { name: `bare category ${n}` }, caller),
};

async function post({ token }: Bench, { app }: Side, path: string, json: object): Promise<void> {
  const reply = await app.request(`/api/v1/${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(json),
  });
  if (reply.status !== 201) throw new Error(`POST ${path}: ${reply.status} ${await reply.text()}`);
  await reply.text();
}

export async function benchAudit(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-bench-'));
  const postgres = await startEmbeddedPostgres({ dataDir: join(dir, 'postgres'), log: () => {} });
  const sql = connect(postgres.url, { max: workers + 1 });
  try {
    const bench = await prepare(sql, dir);
    const rows: [string, string, string][] = [];
    for (const [name, write] of Object.entries(writes)) {
      const { audited, ratio } = await compare(bench, name, write);
      const goal = name.startsWith('POST') ? 'at least 0.8' : '';
      rows.push([`${name}: audited and sealed ÷ unaudited`, ratio.toFixed(2), goal]);
      rows.push([`${name}, audited`, `${audited.toFixed(0)}/s`, '']);
    }
    await bench.sealer.stop();
    const [log] = await sql<{ rows: number; checkpoints: number }[]>`
      select (select count(*) from audit_log) as rows, (select count(*) from audit_checkpoints) as checkpoints`;
    await writeReport({
      name: 'audit',
      title: 'Audited writes',
      rows,
      notes: [
        `${rounds} pairs of ${writesPerRound} writes each, ${workers} at a time, passed to the HTTP layer as requests with an API token, on the embedded PostgreSQL. Unaudited writes leave out only the statement that writes the audit row. Medians of pairs.`,
        'The last one is the smallest write there is (one row is inserted and read back), without authentication and validation. It shows the most that an audit row can cost.',
        `The sealer runs as in the product, and the timing of audited writes ends when all their rows are sealed: ${log?.rows ?? 0} rows in ${log?.checkpoints ?? 0} checkpoints.`,
      ],
    });
  } finally {
    await sql.end();
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function prepare(sql: Sql, dir: string): Promise<Bench> {
  await migrate(sql, await readMigrations(resolve(import.meta.dirname, '../migrations')));
  const installation = await openInstallation(sql, join(dir, 'master-key.json'));
  const userId = await insertUser(sql, 'bench', ['admin']);
  const caller: Caller = {
    userId,
    name: 'bench',
    authority: new Authority([{ role: 'admin', permission: null, scope: null }]),
    address: '192.0.2.7',
    requestId: 'bench',
  };
  const segment = await createSegment(sql, installation.masterKey, { name: 'bench' }, caller);
  const token = makeSecretToken('oct_');
  await insertApiToken(sql, {
    userId,
    name: 'bench',
    prefix: token.slice(0, 10),
    tokenHash: hashSecretToken(token),
    createdAt: new Date(),
    expiresAt: null,
    permissions: null,
    scopes: null,
  });
  const log = createLog({ level: 'error', plain: true });
  const side = (sql: Sql): Side => {
    const { app } = createServices({
      sql,
      queue: sql,
      migrations: [],
      installation,
      log,
      access: { hosts: [], origins: [], https: false, behindTlsProxy: false },
      publicUrl: 'http://localhost',
      caPin: () => undefined,
      caPem: undefined,
      console: { answer: () => undefined },
      agentBundle: async () => '',
      agentSha256: async () => '',
    });
    return { sql, app };
  };
  const sealer = new AuditSealer({ sql, installation, log, retentionDays: undefined });
  sealer.start();
  return {
    audited: side(sql),
    unaudited: side(withoutAudit(sql)),
    sealer,
    caller,
    token,
    segmentId: segment.id,
  };
}

async function compare(
  bench: Bench,
  name: string,
  write: Write,
): Promise<{ audited: number; ratio: number }> {
  const rates: { audited: number; unaudited: number }[] = [];
  let next = 0;
  const rateOf = async (side: Side) => {
    const startedMs = performance.now();
    const end = next + writesPerRound;
    const work = async () => {
      while (next < end) await write(bench, side, next++);
    };
    await Promise.all(Array.from({ length: workers }, work));
    while ((await countUnsealed(bench.audited.sql)) > 0) await bench.sealer.seal();
    return writesPerRound / ((performance.now() - startedMs) / 1000);
  };
  for (let round = -1; round < rounds; round += 1) {
    // The order alternates, so that both sides share the cost of growing tables.
    const first = await rateOf(round % 2 === 0 ? bench.audited : bench.unaudited);
    const second = await rateOf(round % 2 === 0 ? bench.unaudited : bench.audited);
    const [audited, unaudited] = round % 2 === 0 ? [first, second] : [second, first];
    if (round >= 0) rates.push({ audited, unaudited });
  }
  const ratio = median(rates.map((pair) => pair.audited / pair.unaudited));
  process.stdout.write(`${name}: ${ratio.toFixed(2)}\n`);
  return { audited: median(rates.map((pair) => pair.audited)), ratio };
}

/** The same pool, but statements that write audit rows are left out. */
function withoutAudit<T extends object>(sql: T): T {
  return new Proxy(sql, {
    apply(target, self, args: unknown[]) {
      const [strings] = args;
      const isAudit =
        Array.isArray(strings) && strings.some((text) => String(text).includes('insert into audit_log'));
      return isAudit ? Promise.resolve([]) : Reflect.apply(target as never, self, args);
    },
    get(target, key) {
      if (key !== 'begin') return Reflect.get(target, key) as unknown;
      const begin = Reflect.get(target, key) as (work: (tx: object) => unknown) => unknown;
      return (work: (tx: object) => unknown) => begin.call(target, (tx) => work(withoutAudit(tx)));
    },
  });
}
