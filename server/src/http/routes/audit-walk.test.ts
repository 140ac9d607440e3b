// Every route that changes something leaves a row in the audit log, and changes nothing if that row can't be written.
// Each request is made twice, the first time while the log refuses all rows.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hashCheaply } from '../../auth/passwords/testing.ts';
import { acts } from './audit-walk-acts.ts';
import { AuditWalk } from './audit-walk-world.ts';

hashCheaply();

let walk: AuditWalk;

beforeAll(async () => {
  walk = await AuditWalk.begin();
  await walk.world.t.sql.unsafe(`
    create function refuse_audit() returns trigger language plpgsql as $$
      begin raise exception 'the audit log is full'; end $$;
    create trigger audit_refused before insert on audit_log for each row execute function refuse_audit();
    alter table audit_log disable trigger audit_refused`);
});
afterAll(() => walk?.close());

/** Routes that are not audited, and why. */
const exempt: Record<string, string> = {
  'PUT files/:id/content': 'bytes of an upload, of which the beginning and the end are written down',
  'POST jobs/preview': 'reads only: what steps would come to',
  'POST jobs/:id/preview': 'reads only: what steps would come to',
  'POST jobs/:id/grant-draft': 'reads only: what is to be signed',
  'POST jobs/:id/sealing-keys': 'reads only: public keys',
  'POST jobs/validate': 'reads only: what a save would say',
  'POST site-rules/try': 'reads only: which jobs would break a rule',
  'POST known-hosts/plan': 'reads only: what an import would do',
  'POST targets/select': 'reads only: what a selection comes to',
  'POST inventories/:id/plan': 'keeps a plan for a while; applying it is what changes something',
  'POST job-imports': 'keeps a plan for a while; applying it is what changes something',
  'POST job-imports/:id/choices': 'changes a plan, which has changed nothing yet',
  'DELETE job-imports/:id': 'forgets a plan; what was applied stays as it is',
  'POST jobs/convert/rundeck': 'reads only: what an import would make of a file',
};

test('docs/audit.md lists the routes that are not audited', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../../docs/audit.md'), 'utf8');
  const [, told = ''] = page.split('## Not audited');
  const named = [...(told.split('\n## ')[0] ?? '').matchAll(/`((?:GET|POST|PUT|DELETE) [^`]+)`/g)];
  expect(named.map(([, route]) => route).sort()).toEqual(Object.keys(exempt).sort());
});

/** Only the rows of these tables are counted, because their use is recorded in the rows themselves. */
const counted = ['api_tokens', 'sessions', 'sign_in_attempts'];

/** Returns a digest of the rows of each table. */
async function stored(): Promise<Record<string, string>> {
  const { sql } = walk.world.t;
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables
    where table_type = 'BASE TABLE' and table_schema = 'public' and table_name not like 'audit%'`;
  const queries = tables.map(({ name }) =>
    counted.includes(name)
      ? `select '${name}' as name, count(*)::text as rows from ${name}`
      : `select '${name}', md5(coalesce(string_agg(t::text, ',' order by t::text), '')) from ${name} t`,
  );
  const rows = await sql.unsafe<{ name: string; rows: string }[]>(queries.join(' union all '));
  return Object.fromEntries(rows.map((row) => [row.name, row.rows]));
}

async function whileAuditIsRefused<T>(work: () => Promise<T>): Promise<T> {
  const { sql } = walk.world.t;
  await sql`alter table audit_log enable trigger audit_refused`;
  try {
    return await work();
  } finally {
    await sql`alter table audit_log disable trigger audit_refused`;
  }
}

const nameOf = (route: { method: string; path: string }) =>
  `${route.method} ${route.path.replace('/api/v1/', '')}`;

test('every route that may change something is tested here, or is listed with the reason why it is not audited', () => {
  const changing = walk.services.routes.filter((route) => route.method !== 'GET').map(nameOf);
  expect([...Object.keys(acts), ...Object.keys(exempt)].sort()).toEqual(changing.sort());
});

test.each(Object.entries(acts))(
  '%s is carried out with its audit row, or not at all',
  async (name, prepare) => {
    const [method = ''] = name.split(' ');
    const act = await prepare(walk);
    const before = await stored();
    const refused = await whileAuditIsRefused(() => walk.send(act, method));
    expect(refused.status).toBe(500);
    expect(await stored()).toEqual(before);
    const done = await walk.send(act, method);
    expect(`${done.status} ${await done.text()}`).toMatch(/^20/);
    const rows = await walk.world.t.sql<{ action: string; actorName: string }[]>`
    select action, actor_name from audit_log where request_id = ${done.headers.get('x-request-id')}`;
    expect(rows.length).toBeGreaterThan(0);
    await act.settled?.();
  },
);
