// Every route that changes something leaves a row in the audit log, and changes nothing if that row can't be written.
// Each request is made twice, the first time while the log refuses all rows.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CreatedApiToken, Target, UserGroup } from '@opsconductor/protocol';
import {
  encodeBase64,
  generateSegmentKey,
  generateSigningKeyPair,
  signRoster,
} from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { hashCheaply } from '../../auth/passwords/testing.ts';
import { createSignInCode } from '../../auth/sign-in/sign-in-codes.ts';
import { getScan } from '../../host-keys/read-scans.ts';
import {
  enrollRequest,
  makeAgentKeys,
  makeToken,
  sealedCredentialRequest,
  segmentKeyOffer,
} from '../../segments/testing.ts';
import type { Services } from '../../services.ts';
import { recordSeenHostKey } from '../../targets/host-keys.ts';
import {
  enter,
  makeWorld,
  scanTarget,
  servicesOf,
  type World,
} from '../authorization/authorization-world.ts';

hashCheaply();

let world: World;
let services: Services;
let token: string;
let made = 0;

beforeAll(async () => {
  world = await makeWorld();
  services = await servicesOf(world.t, 'silent');
  token = await enter(world, { name: 'root', grants: [{ role: 'admin', scope: null }] });
  await world.t.sql.unsafe(`
    create function refuse_audit() returns trigger language plpgsql as $$
      begin raise exception 'the audit log is full'; end $$;
    create trigger audit_refused before insert on audit_log for each row execute function refuse_audit();
    alter table audit_log disable trigger audit_refused`);
});
afterAll(async () => {
  await services?.stop();
  await world?.close();
});

interface Act {
  path: string;
  json?: unknown;
  /** A session to use instead of the administrator's API token. */
  cookie?: string;
  isPublic?: boolean;
  /** Waits until work that continues after the answer is over. */
  settled?: () => Promise<void>;
}

const freshName = (what: string) => `${what}-${++made}`;
const steps = [{ name: 'only', type: 'ssh.exec', config: { command: 'uptime' } }];
const password = 'correct horse battery';

/** Sets up what each route needs, and returns the request that succeeds. Keyed by method and path below `/api/v1/`. */
const acts: Record<string, () => Promise<Act>> = {
  'POST agent/enroll': async () => {
    const enrollment = await makeToken(world.t, world.alfa.segmentId);
    const json = await enrollRequest(enrollment, freshName('agent'), await makeAgentKeys());
    return { path: 'agent/enroll', json, isPublic: true };
  },
  'POST agent/segment-key': async () => {
    const { id } = await make<{ id: number }>('segments', { name: freshName('segment') });
    const keys = await makeAgentKeys();
    const request = await enrollRequest(await makeToken(world.t, id), freshName('agent'), keys);
    const enrolled = await make<never>('agent/enroll', request);
    const json = await segmentKeyOffer(enrolled, keys, await generateSegmentKey());
    return { path: 'agent/segment-key', json, isPublic: true };
  },
  'POST sign-in/exchange': async () => {
    const { code } = await codeOfNewUser();
    return { path: 'sign-in/exchange', json: { code }, isPublic: true };
  },
  'POST sign-in': async () => {
    const { name, cookie } = await session();
    await send({ path: 'me/password', json: { password }, cookie }, 'PUT');
    return { path: 'sign-in', json: { name, password }, isPublic: true };
  },
  'POST sign-out': async () => ({ path: 'sign-out', cookie: (await session()).cookie }),
  'PUT me/password': async () => ({
    path: 'me/password',
    json: { password },
    cookie: (await session()).cookie,
  }),
  'DELETE me/sessions': async () => {
    const { name, cookie } = await session();
    await signIn(name);
    return { path: 'me/sessions', cookie };
  },
  'DELETE me/sessions/:id': async () => {
    const { name, cookie } = await session();
    await signIn(name);
    return { path: `me/sessions/${await newest('sessions')}`, cookie };
  },
  'POST tokens': async () => ({
    path: 'tokens',
    json: { name: freshName('token') },
    cookie: (await session()).cookie,
  }),
  'DELETE tokens/:id': async () => {
    const { cookie } = await session();
    const reply = await send({ path: 'tokens', json: { name: freshName('token') }, cookie }, 'POST');
    return { path: `tokens/${((await reply.json()) as CreatedApiToken).id}`, cookie };
  },

  'POST grants': async () => ({
    path: 'grants',
    json: { userId: (await newUser()).id, role: 'viewer', scope: null },
  }),
  'DELETE grants/:id': async () => {
    const { id } = await make<{ id: number }>('grants', {
      userId: (await newUser()).id,
      role: 'viewer',
      scope: null,
    });
    return { path: `grants/${id}` };
  },
  'POST user-groups': async () => ({ path: 'user-groups', json: { name: freshName('group') } }),
  'PUT user-groups/:id': async () => ({
    path: `user-groups/${(await newGroup()).id}`,
    json: { description: 'changed' },
  }),
  'DELETE user-groups/:id': async () => ({ path: `user-groups/${(await newGroup()).id}` }),
  'PUT user-groups/:id/members/:user': async () => ({
    path: `user-groups/${(await newGroup()).id}/members/${(await newUser()).id}`,
  }),
  'DELETE user-groups/:id/members/:user': async () => {
    const { id } = await newUser();
    const group = await make<UserGroup>('user-groups', { name: freshName('group'), memberIds: [id] });
    return { path: `user-groups/${group.id}/members/${id}` };
  },
  'POST users': async () => ({ path: 'users', json: { name: freshName('user') } }),
  'PUT users/:id': async () => ({
    path: `users/${(await newUser()).id}`,
    json: { displayName: 'Changed' },
  }),
  'DELETE users/:id': async () => ({ path: `users/${(await newUser()).id}` }),
  'POST users/:id/sign-in-link': async () => ({ path: `users/${(await newUser()).id}/sign-in-link` }),
  'POST users/:id/unlock': async () => ({ path: `users/${(await newUser()).id}/unlock` }),
  'DELETE users/:id/sessions': async () => {
    const { id } = await session();
    return { path: `users/${id}/sessions` };
  },
  'DELETE users/:id/sessions/:session': async () => {
    const { id } = await session();
    return { path: `users/${id}/sessions/${await newest('sessions')}` };
  },
  'POST users/:id/tokens': async () => ({
    path: `users/${(await newUser('service')).id}/tokens`,
    json: { name: freshName('token') },
  }),
  'DELETE users/:id/tokens/:token': async () => {
    const { id } = await newUser('service');
    const { id: tokenId } = await make<CreatedApiToken>(`users/${id}/tokens`, { name: freshName('token') });
    return { path: `users/${id}/tokens/${tokenId}` };
  },

  'POST jobs': async () => ({ path: 'jobs', json: { name: freshName('job'), steps } }),
  'PUT jobs/:id': async () => {
    const { id, name } = await newJob();
    const definition = {
      name,
      steps,
      labels: { changed: '' },
      template: true,
      timeout: 60,
      category: 'alfa jobs',
    };
    return { path: `jobs/${id}`, json: { definition, expectedVersion: 1 } };
  },
  'DELETE jobs/:id': async () => ({ path: `jobs/${(await newJob()).id}` }),
  'POST jobs/:id/state': async () => ({
    path: `jobs/${(await newJob()).id}/state`,
    json: { state: 'archived', note: 'no longer used' },
  }),
  'POST jobs/:id/rollback': async () => {
    const { id, name } = await newJob();
    const json = { definition: { name, steps, timeout: 60 }, expectedVersion: 1 };
    await send({ path: `jobs/${id}`, json }, 'PUT');
    return { path: `jobs/${id}/rollback`, json: { version: 1 } };
  },
  'PUT jobs/:id/tags/:name': async () => ({
    path: `jobs/${(await newJob()).id}/tags/2026.11`,
    json: { version: 1 },
  }),
  'DELETE jobs/:id/tags/:name': async () => ({ path: await newVersionName('tags') }),
  'PUT jobs/:id/channels/:name': async () => ({
    path: `jobs/${(await newJob()).id}/channels/stable`,
    json: { version: 1 },
  }),
  'DELETE jobs/:id/channels/:name': async () => ({ path: await newVersionName('channels') }),
  'POST jobs/bulk': async () => ({
    path: 'jobs/bulk',
    json: { ids: [(await newJob()).id, (await newJob()).id], action: 'categorise', category: 'alfa jobs' },
  }),
  'PUT jobs/:id/category': async () => ({
    path: `jobs/${(await newJob()).id}/category`,
    json: { category: 'alfa jobs' },
  }),
  'POST jobs/:id/run': async () => ({
    path: `jobs/${world.alfa.jobId}/run`,
    json: { targetIds: [world.alfa.targetId] },
  }),
  'POST runs/:id/decisions': async () => {
    const id = await newRun();
    const { sql, agent } = world.t;
    await sql`
      update job_run_steps set status = 'running', epoch = 1, agent_id = ${agent.agentId}, session_number = 1,
        lease_token = 'of the walk' where job_run_id = ${id} and status = 'ready'`;
    await sql`update job_run_steps set status = 'held', held_until = 'infinity' where job_run_id = ${id} and status = 'running'`;
    return { path: `runs/${id}/decisions`, json: { decision: 'failed', note: 'looked' } };
  },
  'POST runs/:id/rerun': async () => ({ path: `runs/${world.ended[0]?.id}/rerun`, json: { which: 'all' } }),
  'DELETE runs/:id': async () => ({ path: `runs/${await newRun()}` }),
  'POST executor/cancel/:id': async () => ({ path: `executor/cancel/${await newRun()}` }),

  'POST categories': async () => ({ path: 'categories', json: { name: freshName('category') } }),
  'PUT categories/:id': async () => ({
    path: `categories/${(await newCategory()).id}`,
    json: { name: freshName('category') },
  }),
  'DELETE categories/:id': async () => ({ path: `categories/${(await newCategory()).id}` }),

  'POST site-rules': async () => ({ path: 'site-rules', json: siteRule() }),
  'PUT site-rules/:id': async () => ({
    path: `site-rules/${(await make<{ id: number }>('site-rules', siteRule())).id}`,
    json: { ...siteRule(), expectedVersion: 1 },
  }),
  'DELETE site-rules/:id': async () => ({
    path: `site-rules/${(await make<{ id: number }>('site-rules', siteRule())).id}`,
  }),

  'POST segments': async () => ({ path: 'segments', json: { name: freshName('segment') } }),
  'POST segments/:id/enrollment-tokens': async () => ({
    path: `segments/${world.alfa.segmentId}/enrollment-tokens`,
  }),
  'POST segments/:id/roster': async () => {
    const root = await generateSigningKeyPair();
    const ownerRoot = encodeBase64(root.publicKey);
    const { id } = await make<{ id: number }>('segments', { name: freshName('segment'), ownerRoot });
    const { publicKey } = await generateSegmentKey();
    const json = await signRoster(root.privateKey, {
      installationId: world.t.identity.installationId,
      ...{ segmentId: id, number: 1, agents: [], currentGeneration: 1, revoked: [] },
      segmentKeys: [{ generation: 1, publicKey: encodeBase64(publicKey) }],
    });
    return { path: `segments/${id}/roster`, json };
  },
  'POST segments/:id/recovery': async () => {
    const wraps = [{ generation: 1, wrapped: Buffer.alloc(81).toString('base64') }];
    const path = `segments/${world.alfa.segmentId}/recovery`;
    return { path, json: { agentId: await newAgent(), wraps } };
  },
  'PUT segments/:id/settings': async () => ({
    path: `segments/${world.alfa.segmentId}/settings`,
    json: { settings: { port: 2000 + ++made }, credentialId: null },
  }),
  'PUT segments/:id/unknown-after': async () => ({
    path: `segments/${world.alfa.segmentId}/unknown-after`,
    json: { unknownAfter: 300 + ++made },
  }),

  'PUT agents/:id/labels': async () => ({
    path: `agents/${await newAgent()}/labels`,
    json: { labels: { rack: '7' } },
  }),
  'POST agents/:id/drain': async () => ({ path: `agents/${await newAgent()}/drain` }),
  'POST agents/:id/undrain': async () => ({ path: `agents/${await newAgent('drain')}/undrain` }),
  'POST agents/:id/disable': async () => ({ path: `agents/${await newAgent()}/disable` }),
  'POST agents/:id/enable': async () => ({ path: `agents/${await newAgent('disable')}/enable` }),
  'POST agents/:id/revoke': async () => ({ path: `agents/${await newAgent()}/revoke` }),
  'POST agents/:id/new-keys': async () => ({ path: `agents/${await newAgent()}/new-keys` }),

  'POST credentials': async () => ({
    path: 'credentials',
    json: await sealedCredentialRequest(world.t, world.alfa.segmentId, freshName('credential')),
  }),
  'PUT credentials/:id': async () => {
    const request = await sealedCredentialRequest(world.t, world.alfa.segmentId, freshName('credential'));
    const { id } = await make<{ id: string }>('credentials', request);
    return { path: `credentials/${id}`, json: { description: 'x', expiresOn: '2027-01-31' } };
  },
  'POST credentials/:id/versions': async () => {
    const request = await sealedCredentialRequest(world.t, world.alfa.segmentId, freshName('credential'));
    const { id } = await make<{ id: string }>('credentials', request);
    const { sealed } = await sealedCredentialRequest(world.t, world.alfa.segmentId, 'x', { id, version: 2 });
    return { path: `credentials/${id}/versions`, json: { version: 2, sealed } };
  },
  'DELETE credentials/:id': async () => {
    const request = await sealedCredentialRequest(world.t, world.alfa.segmentId, freshName('credential'));
    return { path: `credentials/${(await make<{ id: string }>('credentials', request)).id}` };
  },

  'POST targets': async () => ({ path: 'targets', json: targetRequest() }),
  'POST targets/bulk': async () => ({
    path: 'targets/bulk',
    json: { selection: { targetIds: [(await newTarget()).id] }, isActive: false },
  }),
  'PUT targets/:id': async () => ({
    path: `targets/${(await newTarget()).id}`,
    json: { name: freshName('target'), host: 'other.example' },
  }),
  'DELETE targets/:id': async () => ({ path: `targets/${(await newTarget()).id}` }),
  'POST targets/:id/test': async () => ({ path: `targets/${(await newTarget()).id}/test` }),
  'POST targets/:id/host-keys': async () => {
    const { id } = await newTarget();
    const hostKeyLine = `ssh-ed25519 ${Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0 '.padEnd(51, String(made)), 'latin1').toString('base64')}`;
    const seen = await world.t.sql.begin((tx) =>
      recordSeenHostKey(tx as never, { targetId: id, hostKeyLine }),
    );
    return { path: `targets/${id}/host-keys`, json: { fingerprint: seen?.fingerprint } };
  },

  'POST host-scans': async () => ({ path: 'host-scans', json: scanRequest((await newTarget()).id) }),
  'POST host-scans/:id/cancel': async () => {
    const scan = await make<{ id: number }>('host-scans', scanRequest((await newTarget()).id));
    return { path: `host-scans/${scan.id}/cancel` };
  },
  'POST host-scans/:id/approve': async () => {
    const { id } = await newTarget();
    const { segmentId, agentId } = world.alfa;
    const scan = await scanTarget(world.t, { segmentId, agentId, targetId: id });
    const { review } = await getScan(world.t.sql, scan, []);
    return {
      path: `host-scans/${scan}/approve`,
      json: { all: { finding: 'new', digest: review.new.digest } },
    };
  },
  'POST segments/:id/host-trust': async () => ({ path: trustPath(), json: trustRequest() }),
  'DELETE segments/:id/host-trust/:entry': async () => {
    const { id } = await make<{ id: number }>(trustPath(), trustRequest());
    return { path: `${trustPath()}/${id}` };
  },
  'POST known-hosts/apply': async () => {
    const target = await newTarget();
    await world.t.sql`update targets set host = ${`${target.name}.example`} where id = ${target.id}`;
    const json = {
      segmentId: world.alfa.segmentId,
      content: `${target.name}.example ${trustRequest().publicKey}\n`,
    };
    const plan = await make<{ digest: string }>('known-hosts/plan', json);
    return { path: 'known-hosts/apply', json: { ...json, digest: plan.digest } };
  },

  'POST target-groups': async () => ({ path: 'target-groups', json: { name: freshName('group') } }),
  'PUT target-groups/:id': async () => ({
    path: `target-groups/${(await newTargetGroup()).id}`,
    json: { name: freshName('group') },
  }),
  'DELETE target-groups/:id': async () => ({ path: `target-groups/${(await newTargetGroup()).id}` }),

  'POST job-imports/:id/apply': async () => {
    const jobs = [{ definition: { name: freshName('job'), steps } }];
    const { id } = await make<{ id: string }>('job-imports', {
      format: 'opsconductor-jobs',
      version: 1,
      jobs,
    });
    await importIs(id, 'planned');
    return { path: `job-imports/${id}/apply`, json: {}, settled: () => importIs(id, 'applied') };
  },
  'POST inventories': async () => ({ path: 'inventories', json: inventoryRequest() }),
  'PUT inventories/:id': async () => ({
    path: `inventories/${await newInventory()}`,
    json: { name: freshName('inventory') },
  }),
  'DELETE inventories/:id': async () => ({ path: `inventories/${await newInventory()}` }),
  'POST inventories/:id/plans/:plan/apply': async () => {
    const inventory = await newInventory();
    const json = { hosts: [{ name: freshName('imported'), host: 'h.example' }] };
    const planned = await send({ path: `inventories/${inventory}/targets`, json }, 'PUT');
    const plan = (await planned.json()) as { id: string };
    return { path: `inventories/${inventory}/plans/${plan.id}/apply`, json: { gone: 'keep' } };
  },
  'PUT inventories/:id/targets': async () => ({
    path: `inventories/${await newInventory()}/targets`,
    json: { hosts: [{ name: freshName('imported'), host: 'h.example' }], apply: { gone: 'keep' } },
  }),
  'POST files': async () => ({ path: 'files', json: { name: freshName('file'), size: 1 } }),
  'POST files/:id/finish': async () => ({ path: `files/${await newFile()}/finish`, json: {} }),
  'DELETE files/:id': async () => ({ path: `files/${await newFile()}` }),
};

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

async function send(act: Act, method: string): Promise<Response> {
  const authorization: Record<string, string> = act.isPublic
    ? {}
    : act.cookie === undefined
      ? { Authorization: `Bearer ${token}` }
      : { Cookie: act.cookie, 'Sec-Fetch-Site': 'same-origin' };
  return services.app.request(`/api/v1/${act.path}`, {
    method,
    headers: { ...authorization, 'Content-Type': 'application/json' },
    ...(act.json === undefined ? {} : { body: JSON.stringify(act.json) }),
  });
}

async function make<T>(path: string, json: unknown): Promise<T> {
  const reply = await send({ path, json, isPublic: path === 'agent/enroll' }, 'POST');
  const text = await reply.text();
  if (reply.status >= 300) throw new Error(`POST ${path}: ${reply.status} ${text}`);
  return JSON.parse(text) as T;
}

async function newAgent(then?: 'drain' | 'disable'): Promise<number> {
  const enrollment = await makeToken(world.t, world.alfa.segmentId);
  const request = await enrollRequest(enrollment, freshName('agent'), await makeAgentKeys());
  const { agentId } = await make<{ agentId: number }>('agent/enroll', request);
  if (then !== undefined) await make(`agents/${agentId}/${then}`, {});
  return agentId;
}

const newUser = (kind = 'person') =>
  make<{ id: number; name: string }>('users', { name: freshName('user'), kind });
const newGroup = () => make<UserGroup>('user-groups', { name: freshName('group') });
const newJob = () => make<{ id: number; name: string }>('jobs', { name: freshName('job'), steps });
async function newVersionName(kind: 'tags' | 'channels'): Promise<string> {
  const path = `jobs/${(await newJob()).id}/${kind}/named`;
  await send({ path, json: { version: 1 } }, 'PUT');
  return path;
}
/** Returns a file that was uploaded but not finished. */
async function newFile(): Promise<string> {
  const { id } = await make<{ id: string }>('files', { name: freshName('file'), size: 1 });
  const reply = await services.app.request(`/api/v1/files/${id}/content?offset=0`, {
    method: 'PUT',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/octet-stream' },
    body: 'x',
  });
  expect(reply.status).toBe(200);
  return id;
}
const newCategory = () => make<{ id: number }>('categories', { name: freshName('category') });
const newTargetGroup = () => make<{ id: number }>('target-groups', { name: freshName('group') });
const targetRequest = () => ({
  segmentId: world.alfa.segmentId,
  name: freshName('target'),
  host: 'h.example',
});
const newTarget = () => make<Target>('targets', targetRequest());

const scanRequest = (targetId: number) => ({ kind: 'keys', selection: { targetIds: [targetId] } });
const siteRule = () => ({ name: freshName('rule'), condition: 'size(job.steps) > 0', message: 'Has steps.' });
const trustPath = () => `segments/${world.alfa.segmentId}/host-trust`;
const trustRequest = () => ({ kind: 'revoked', publicKey: freshHostKey() });
function freshHostKey(): string {
  made += 1;
  const blob = Buffer.from(`\0\0\0\x0bssh-ed25519\0\0\0 ${String(made).padEnd(32, '.')}`, 'latin1');
  return `ssh-ed25519 ${blob.toString('base64')}`;
}

const inventoryRequest = () => ({
  name: freshName('inventory'),
  format: 'api',
  segmentId: world.alfa.segmentId,
});
const newInventory = async () => (await make<{ id: number }>('inventories', inventoryRequest())).id;

async function newRun(): Promise<number> {
  const started = await make<{ id: number }>(`jobs/${world.alfa.jobId}/run`, {
    targetIds: [world.alfa.targetId],
  });
  return started.id;
}

async function importIs(id: string, status: string): Promise<void> {
  await vi.waitFor(async () => {
    const reply = await services.app.request(`/api/v1/job-imports/${id}`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    expect(await reply.json()).toMatchObject({ status });
  });
}

async function codeOfNewUser() {
  const user = await newUser();
  await make('grants', { userId: user.id, role: 'viewer', scope: null });
  return { ...user, ...(await createSignInCode({ sql: world.t.sql, now: () => new Date() }, user.name)) };
}

async function signIn(name: string): Promise<string> {
  const { code } = await createSignInCode({ sql: world.t.sql, now: () => new Date() }, name);
  const reply = await send({ path: 'sign-in/exchange', json: { code }, isPublic: true }, 'POST');
  return reply.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
}

async function session(): Promise<{ id: number; name: string; cookie: string }> {
  const { id, name } = await codeOfNewUser();
  return { id, name, cookie: await signIn(name) };
}

async function newest(table: string): Promise<number> {
  const [row] = await world.t.sql.unsafe<{ id: number }[]>(`select max(id) as id from ${table}`);
  return row?.id ?? 0;
}

/** Only the rows of these tables are counted, because their use is recorded in the rows themselves. */
const counted = ['api_tokens', 'sessions', 'sign_in_attempts'];

/** Returns a digest of the rows of each table. */
async function stored(): Promise<Record<string, string>> {
  const { sql } = world.t;
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
  const { sql } = world.t;
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
  const changing = services.routes.filter((route) => route.method !== 'GET').map(nameOf);
  expect([...Object.keys(acts), ...Object.keys(exempt)].sort()).toEqual(changing.sort());
});

test.each(Object.entries(acts))(
  '%s is carried out with its audit row, or not at all',
  async (name, prepare) => {
    const [method = ''] = name.split(' ');
    const act = await prepare();
    const before = await stored();
    const refused = await whileAuditIsRefused(() => send(act, method));
    expect(refused.status).toBe(500);
    expect(await stored()).toEqual(before);
    const done = await send(act, method);
    expect(`${done.status} ${await done.text()}`).toMatch(/^20/);
    const rows = await world.t.sql<{ action: string; actorName: string }[]>`
    select action, actor_name from audit_log where request_id = ${done.headers.get('x-request-id')}`;
    expect(rows.length).toBeGreaterThan(0);
    await act.settled?.();
  },
);
