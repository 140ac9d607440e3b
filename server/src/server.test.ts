// Starts a whole server in a process of its own, to see what it has compiled by the time it is ready.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { parseEnrollmentToken, stepTypes } from '@opsconductor/protocol';
import { expect, onTestFinished, test, vi } from 'vitest';
import { readConfig } from './config.ts';
import { examineDefinition } from './jobs/definition/validate-definition.ts';
import { createLog } from './log.ts';
import { startServer } from './server.ts';
import { connect } from './store/database/connection.ts';
import { setupDatabase } from './store/database/testing.ts';
import { loadOrCreateServerTls } from './tls/server-tls.ts';

const compiled: unknown[] = [];
vi.mock(import('ajv/dist/2020.js'), async (original) => {
  const library = await original();
  class Observed extends library.Ajv2020 {
    override compile(...given: unknown[]): never {
      compiled.push(given[0]);
      return Reflect.apply(super.compile, this, given) as never;
    }
  }
  return { ...library, Ajv2020: Observed as typeof library.Ajv2020 };
});

const aStepOf = (type: string, config: unknown) => ({ name: 'a job', steps: [{ name: 's', type, config }] });

/** Another program's port. */
function otherProgram(port = 0) {
  const other = createServer().listen(port, '127.0.0.1');
  onTestFinished(() => void other.close());
  return other;
}

async function setup() {
  const database = await setupDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-server-'));
  await writeFile(join(folder, 'index.html'), '');
  const paths = {
    migrations: join(import.meta.dirname, '../../migrations'),
    console: folder,
    agentBundle: join(folder, 'index.html'),
  };
  const said: string[] = [];
  const logged: string[] = [];
  return {
    sql: database.sql,
    url: database.url,
    paths,
    /** What servers said to the person who starts them. */
    said,
    /** Their warnings. */
    logged,
    start(...flags: string[]) {
      return this.startWith({ DATABASE_URL: database.url }, ...flags);
    },
    startWith(environment: Record<string, string>, ...flags: string[]) {
      return this.startTimed({}, environment, ...flags);
    },
    startTimed(
      timings: Parameters<typeof startServer>[3],
      environment: Record<string, string> = { DATABASE_URL: database.url },
      ...flags: string[]
    ) {
      const given = ['--port', '0', '--data', join(folder, 'data'), ...flags];
      const config = readConfig(given, environment);
      const destination = { write: (line: string) => logged.push(line) };
      const log = createLog({ level: 'warn', plain: true, destination });
      return startServer(config, paths, { log, say: (message) => said.push(message) }, timings);
    },
    async [Symbol.asyncDispose]() {
      await database.close();
      await rm(folder, { recursive: true });
    },
  };
}

test('a server that says it is ready has compiled the checks of job definitions', async () => {
  await using t = await setup();
  const server = await t.start();
  try {
    expect((await fetch(`${server.localUrl}/readyz`)).status).toBe(200);
    expect(compiled).not.toEqual([]);
    compiled.length = 0;
    for (const type of stepTypes) {
      expect(examineDefinition(aStepOf(type, { unknown: 1 })).problems).not.toEqual([]);
    }
    expect(compiled).toEqual([]);
  } finally {
    await server.stop();
  }
});

test('a server compares its clock with that of its database', async () => {
  await using t = await setup();
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
  onTestFinished(() => void vi.useRealTimers());
  const server = await t.start();
  try {
    await expect
      .poll(() => t.logged.join(''), { timeout: 20_000 })
      .toMatch(
        /the clock of this server is 3[56]\d\d s ahead of that of its database; correct the wrong one/,
      );
  } finally {
    await server.stop();
  }
});

test('a server warns of a database that forgets what it has confirmed', async () => {
  await using t = await setup();
  const name = new URL(t.url).pathname.slice(1);
  for (const [setting, times] of [
    ['local', 0],
    ['off', 1],
  ] as const) {
    await t.sql.unsafe(`alter database ${name} set synchronous_commit = ${setting}`);
    const server = await t.start();
    await server.stop();
    expect(t.logged.join('').match(/synchronous_commit is off in the database; set it/g) ?? []).toHaveLength(
      times,
    );
  }
});

test('a server whose connections all wait for a lock says who holds it', async () => {
  await using t = await setup();
  const server = await t.startTimed({ lockWatch: { pauseMs: 20, leastMs: 20 } });
  const admin = connect(t.url, { max: 1 });
  try {
    await admin`set application_name = 'psql'`;
    await admin`begin`;
    await admin`lock table jobs`;
    const reads = Array.from({ length: 8 }, () =>
      server.sql`select count(*) from jobs`.then(() => undefined),
    );
    await expect
      .poll(() => t.logged.join(''), { timeout: 20_000 })
      .toMatch(/requests or runs wait for a lock that others hold in the database/);
    await admin`rollback`;
    await Promise.all(reads);
  } finally {
    await admin.end({ timeout: 0 });
    await server.stop();
  }
});

test('a server removes by itself what it is told to keep for a limited time', async () => {
  await using t = await setup();
  const { sql } = t;
  await sql`insert into audit_log (actor_kind, actor_name, action) values ('system', 'test', 'test.old')`;
  // Stopping seals the row.
  await (await t.start()).stop();
  await sql.begin(async (tx) => {
    await tx`alter table audit_checkpoints disable trigger user`;
    await tx`update audit_checkpoints set sealed_at = sealed_at - interval '40 days'`;
    await tx`alter table audit_checkpoints enable trigger user`;
  });
  await sql`
    create table run_output_20200102 partition of run_output for values from ('2020-01-02') to ('2020-01-03')`;
  const [file] = await sql`
    insert into files (id, name, category_id, created_at)
    select gen_random_uuid(), 'unused', min(id), now() - interval '40 days' from categories returning id`;
  await sql`
    insert into contents (id, file_id, size, sha256, data_key)
    values (${file?.id}, ${file?.id}, 0, sha256('x'), 'k')`;
  const days = ['--output-retention-days', '20', '--run-retention-days', '30'];
  const server = await t.start(...days, '--file-retention-days', '30', '--audit-retention-days', '30');
  try {
    const isLeft = async () => {
      const [row] = await sql`
        select to_regclass('run_output_20200102') is not null as output,
          exists (select from files) as file,
          exists (select from audit_log where action = 'test.old') as row`;
      return row;
    };
    await expect.poll(isLeft, { timeout: 20_000 }).toEqual({ output: false, file: false, row: false });
  } finally {
    await server.stop();
  }
});

test('a server says that a newer one has upgraded its database, and how to go back', async () => {
  await using t = await setup();
  const start = async () => (await t.start()).stop();
  await start();
  expect(t.said.join('\n')).not.toContain('newer server');
  await t.sql`insert into schema_migrations (number, name) values (9998, '9998_a.sql'), (9999, '9999_b.sql')`;
  await start();
  expect(t.said.join('\n')).toMatch(
    /newer server has upgraded it, by 2 migrations that this one does not know, up to 9999_b\.sql\. .* restore a backup/,
  );
});

test('a port that is busy ends the start before a database is made or asked', async () => {
  await using t = await setup();
  const other = otherProgram();
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const refusal = `Can’t listen on 127.0.0.1, port ${port}: another program listens there.`;
  await expect(t.startWith({}, '--port', String(port))).rejects.toThrow(refusal);
  const elsewhere = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' };
  await expect(t.startWith(elsewhere, '--port', String(port))).rejects.toThrow(refusal);
  expect(t.said).toEqual([]);
});

test('a port that becomes busy while the server starts is reported in the same words', async () => {
  await using t = await setup();
  const other = otherProgram();
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  other.close();
  await once(other, 'close');
  const { migrations } = t.paths;
  // They are read after the port was tried.
  Object.defineProperty(t.paths, 'migrations', {
    get() {
      otherProgram(port);
      return migrations;
    },
  });
  await expect(t.start('--port', String(port))).rejects.toThrow(
    `Can’t listen on 127.0.0.1, port ${port}: another program listens there.`,
  );
});

test('after the certificate was replaced by one of another CA, agents are enrolled with the pin of the new CA', async () => {
  await using t = await setup();
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-server-tls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const make = (name: string) =>
    loadOrCreateServerTls({ directory: join(folder, name), hostNames: ['localhost'] });
  const [first, second] = [await make('first'), await make('second')];
  const files = [join(folder, 'chain.pem'), join(folder, 'key.pem')] as const;
  const write = async (tls: { certPem: string; keyPem: string }) => {
    await writeFile(files[0], tls.certPem);
    await writeFile(files[1], tls.keyPem);
  };
  await write(first);
  const token = 't'.repeat(32);
  const environment = { DATABASE_URL: t.url, OPSCONDUCTOR_BOOTSTRAP_TOKEN: token };
  const server = await t.startWith(environment, '--tls-cert', files[0], '--tls-key', files[1]);
  try {
    const post = async <T>(path: string, body: unknown): Promise<T> => {
      const ca = first.caPem + second.caPem;
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const sent = request(`${server.localUrl}/api/v1/${path}`, {
        method: 'POST',
        agent: false,
        ca,
        headers,
      });
      sent.end(JSON.stringify(body));
      const [answer] = await once(sent, 'response');
      return (await json(answer)) as T;
    };
    const { id } = await post<{ id: number }>('segments', { name: 'dmz' });
    const pinOfToken = async () => {
      const made = await post<{ token: string }>(`segments/${id}/enrollment-tokens`, {});
      return parseEnrollmentToken(made.token)?.caPin;
    };
    expect(await pinOfToken()).toBe(first.caPin);
    await write(second);
    process.kill(process.pid, 'SIGHUP');
    await expect.poll(pinOfToken, { timeout: 10_000 }).toBe(second.caPin);
  } finally {
    await server.stop();
  }
});
