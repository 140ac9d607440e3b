// Tests the wiring of the parts, for behaviors that only the whole shows.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bootstrapAdministrator } from './auth/installation/bootstrap-administrator.ts';
import { openInstallation } from './auth/installation/open-installation.ts';
import { createLog } from './log.ts';
import type { AttemptEnd } from './runs/progress/attempt-end.ts';
import { failure } from './runs/testing.ts';
import { createServices, type Services } from './services.ts';
import { connectQueue, type Sql } from './store/database/connection.ts';
import { readMigrations } from './store/database/migrate.ts';
import { setupDatabase, type TestDatabase } from './store/database/testing.ts';

let database: TestDatabase;
let queue: Sql;
let folder: string;
let services: Services;
const logged: string[] = [];
beforeEach(async () => {
  database = await setupDatabase();
  queue = connectQueue(database.sql, { max: 1 });
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-services-'));
  services = createServices({
    sql: database.sql,
    queue,
    migrations: await readMigrations(join(import.meta.dirname, '../../migrations')),
    installation: await openInstallation(database.sql, join(folder, 'master-key.json')),
    log: createLog({ level: 'info', plain: false, destination: { write: (line) => logged.push(line) } }),
    access: { hosts: [], origins: [], https: false, behindTlsProxy: true },
    publicUrl: 'http://127.0.0.1:7700',
    caPin: () => undefined,
    caPem: undefined,
    console: { answer: () => undefined },
    agentBundle: async () => '/nonexistent',
    agentSha256: async () => 'ab'.repeat(32),
  });
});
afterEach(async () => {
  await services.stop();
  await queue.end();
  await database.close();
  await rm(folder, { recursive: true });
});

test('a server is ready on the schema of its build, and not on a database that lacks one of its migrations', async () => {
  expect((await services.app.request('/readyz')).status).toBe(200);
  await database.sql`delete from schema_migrations where number = 1`;
  const reply = await services.app.request('/readyz');
  expect([reply.status, await reply.text()]).toEqual([503, 'not ready\n']);
  expect(logged.join('')).toContain('lacks migrations of this server: 0001_foundation.sql');
});

test('what keeps a server from being ready is logged when it changes, and not for each probe', async () => {
  logged.length = 0;
  const probe = async () => (await services.app.request('/readyz')).status;
  const said = () => logged.map((line) => JSON.parse(line)).filter(({ msg }) => /ready/.test(msg));
  await database.sql`update schema_migrations set name = 'x' || name where number = 1`;
  expect([await probe(), await probe(), await probe()]).toEqual([503, 503, 503]);
  expect(said()).toMatchObject([{ level: 'warn', problems: [expect.stringContaining(': 0001_foundation')] }]);
  await database.sql`update schema_migrations set name = 'x' || name where number = 2`;
  expect([await probe(), await probe()]).toEqual([503, 503]);
  expect(said()).toMatchObject([{}, { problems: [expect.stringMatching(/: 0001\S*, 0002/)] }]);
  await database.sql`update schema_migrations set name = substr(name, 2) where number in (1, 2)`;
  expect([await probe(), await probe()]).toEqual([200, 200]);
  expect(said()).toMatchObject([{}, {}, { level: 'info', msg: 'ready again: /readyz answers 200' }]);
  services.drain();
  expect([await probe(), await probe()]).toEqual([503, 503]);
  expect(said()).toHaveLength(3);
});

test('enrollments are limited by the address that the proxy in front reports', async () => {
  const offer = (address: string) =>
    services.app.request('/api/v1/agent/segment-key', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Forwarded-For': `203.0.113.9, ${address}` },
      body: JSON.stringify({
        agentId: 1,
        segmentPublicKey: `${'A'.repeat(43)}=`,
        wrapped: 'A'.repeat(100),
        signature: `${'A'.repeat(86)}==`,
      }),
    });
  const statuses = new Set<number>();
  for (let n = 0; n < 100; n += 1) statuses.add((await offer('192.0.2.1')).status);
  expect(statuses).toContain(429);
  expect((await offer('192.0.2.2')).status).not.toBe(429);
});

test('requests by two tokens of one person count together, and are still distinguished', async () => {
  const { sql } = database;
  const bootstrapToken = 'bootstrap-token-of-the-first-start-0123456789';
  await bootstrapAdministrator({ sql, bootstrapToken, now: () => new Date() });
  const authorization = `Bearer ${bootstrapToken}`;
  const ask = (headers: Record<string, string>, path: string, init: RequestInit = {}) =>
    services.app.request(path, { ...init, headers: { ...headers, 'Content-Type': 'application/json' } });
  const body = JSON.stringify({ name: 'script' });
  const reply = await ask({ authorization }, '/api/v1/tokens', { method: 'POST', body });
  const { token } = (await reply.json()) as { token: string };
  const askerOf = (headers: Record<string, string>) =>
    services.askerOf({ headers, socket: { remoteAddress: '127.0.0.1' } } as never);
  const other = { authorization: `Bearer ${token}` };
  expect(askerOf(other)).toMatchObject({ isKnown: false });
  await ask(other, '/api/v1/me');
  const [one, two] = [askerOf({ authorization }), askerOf(other)];
  expect([one.isKnown, two.isKnown, two.name]).toEqual([true, true, one.name]);
  expect(two.by).not.toBe(one.by);
});

test('a draining server says that it is not ready, and still answers', async () => {
  services.drain();
  expect((await services.app.request('/readyz')).status).toBe(503);
  expect((await services.app.request('/healthz')).status).toBe(200);
});

test('what agents send is stored over connections that plan each statement once, and they outlive the agents', async () => {
  const end: AttemptEnd = {
    ...{ stepId: 1, epoch: 1, leaseToken: 'of nobody', source: { kind: 'server' } },
    ...{ outcome: failure, output: { state: 'complete', digest: null, gaps: [] } },
  };
  expect(await services.gateway.settler.settle(end)).toMatchObject({ result: 'superseded' });
  await services.stop();
  expect(await queue`show plan_cache_mode`).toEqual([{ planCacheMode: 'force_generic_plan' }]);
  await queue.end();
  await expect(services.gateway.settler.settle(end)).rejects.toMatchObject({ code: 'CONNECTION_ENDED' });
});
