// The requests of the walk through all audited routes: for each route, one that succeeds.
import type { CreatedApiToken, UserGroup } from '@opsconductor/protocol';
import {
  encodeBase64,
  generateSegmentKey,
  generateSigningKeyPair,
  signRoster,
} from '@opsconductor/protocol/sealing';
import { getScan } from '../../host-keys/read-scans.ts';
import {
  enrollRequest,
  makeAgentKeys,
  makeToken,
  sealedCredentialRequest,
  segmentKeyOffer,
} from '../../segments/testing.ts';
import { recordSeenHostKey } from '../../targets/host-keys.ts';
import { scanTarget } from '../authorization/authorization-world.ts';
import { type Act, type AuditWalk, steps } from './audit-walk-world.ts';

const password = 'correct horse battery';

/** Sets up what each route needs, and returns the request that succeeds. Keyed by method and path below `/api/v1/`. */
export const acts: Record<string, (w: AuditWalk) => Promise<Act>> = {
  'POST agent/enroll': async (w) => {
    const enrollment = await makeToken(w.world.t, w.world.alfa.segmentId);
    const json = await enrollRequest(enrollment, w.freshName('agent'), await makeAgentKeys());
    return { path: 'agent/enroll', json, isPublic: true };
  },
  'POST agent/segment-key': async (w) => {
    const { id } = await w.make<{ id: number }>('segments', { name: w.freshName('segment') });
    const keys = await makeAgentKeys();
    const request = await enrollRequest(await makeToken(w.world.t, id), w.freshName('agent'), keys);
    const enrolled = await w.make<never>('agent/enroll', request);
    const json = await segmentKeyOffer(enrolled, keys, await generateSegmentKey());
    return { path: 'agent/segment-key', json, isPublic: true };
  },
  'POST sign-in/exchange': async (w) => {
    const { code } = await w.codeOfNewUser();
    return { path: 'sign-in/exchange', json: { code }, isPublic: true };
  },
  'POST sign-in': async (w) => {
    const { name, cookie } = await w.session();
    await w.send({ path: 'me/password', json: { password }, cookie }, 'PUT');
    return { path: 'sign-in', json: { name, password }, isPublic: true };
  },
  'POST sign-out': async (w) => ({ path: 'sign-out', cookie: (await w.session()).cookie }),
  'PUT me/password': async (w) => ({
    path: 'me/password',
    json: { password },
    cookie: (await w.session()).cookie,
  }),
  'DELETE me/sessions': async (w) => {
    const { name, cookie } = await w.session();
    await w.signIn(name);
    return { path: 'me/sessions', cookie };
  },
  'DELETE me/sessions/:id': async (w) => {
    const { name, cookie } = await w.session();
    await w.signIn(name);
    return { path: `me/sessions/${await w.newest('sessions')}`, cookie };
  },
  'POST tokens': async (w) => ({
    path: 'tokens',
    json: { name: w.freshName('token') },
    cookie: (await w.session()).cookie,
  }),
  'DELETE tokens/:id': async (w) => {
    const { cookie } = await w.session();
    const reply = await w.send({ path: 'tokens', json: { name: w.freshName('token') }, cookie }, 'POST');
    return { path: `tokens/${((await reply.json()) as CreatedApiToken).id}`, cookie };
  },

  'POST grants': async (w) => ({
    path: 'grants',
    json: { userId: (await w.newUser()).id, role: 'viewer', scope: null },
  }),
  'DELETE grants/:id': async (w) => {
    const { id } = await w.make<{ id: number }>('grants', {
      userId: (await w.newUser()).id,
      role: 'viewer',
      scope: null,
    });
    return { path: `grants/${id}` };
  },
  'POST user-groups': async (w) => ({ path: 'user-groups', json: { name: w.freshName('group') } }),
  'PUT user-groups/:id': async (w) => ({
    path: `user-groups/${(await w.newGroup()).id}`,
    json: { description: 'changed' },
  }),
  'DELETE user-groups/:id': async (w) => ({ path: `user-groups/${(await w.newGroup()).id}` }),
  'PUT user-groups/:id/members/:user': async (w) => ({
    path: `user-groups/${(await w.newGroup()).id}/members/${(await w.newUser()).id}`,
  }),
  'DELETE user-groups/:id/members/:user': async (w) => {
    const { id } = await w.newUser();
    const group = await w.make<UserGroup>('user-groups', { name: w.freshName('group'), memberIds: [id] });
    return { path: `user-groups/${group.id}/members/${id}` };
  },
  'POST users': async (w) => ({ path: 'users', json: { name: w.freshName('user') } }),
  'PUT users/:id': async (w) => ({
    path: `users/${(await w.newUser()).id}`,
    json: { displayName: 'Changed' },
  }),
  'DELETE users/:id': async (w) => ({ path: `users/${(await w.newUser()).id}` }),
  'POST users/:id/sign-in-link': async (w) => ({ path: `users/${(await w.newUser()).id}/sign-in-link` }),
  'POST users/:id/unlock': async (w) => ({ path: `users/${(await w.newUser()).id}/unlock` }),
  'DELETE users/:id/sessions': async (w) => {
    const { id } = await w.session();
    return { path: `users/${id}/sessions` };
  },
  'DELETE users/:id/sessions/:session': async (w) => {
    const { id } = await w.session();
    return { path: `users/${id}/sessions/${await w.newest('sessions')}` };
  },
  'POST users/:id/tokens': async (w) => ({
    path: `users/${(await w.newUser('service')).id}/tokens`,
    json: { name: w.freshName('token') },
  }),
  'DELETE users/:id/tokens/:token': async (w) => {
    const { id } = await w.newUser('service');
    const { id: tokenId } = await w.make<CreatedApiToken>(`users/${id}/tokens`, {
      name: w.freshName('token'),
    });
    return { path: `users/${id}/tokens/${tokenId}` };
  },

  'POST jobs': async (w) => ({ path: 'jobs', json: { name: w.freshName('job'), steps } }),
  'PUT jobs/:id': async (w) => {
    const { id, name } = await w.newJob();
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
  'DELETE jobs/:id': async (w) => ({ path: `jobs/${(await w.newJob()).id}` }),
  'POST jobs/:id/state': async (w) => ({
    path: `jobs/${(await w.newJob()).id}/state`,
    json: { state: 'archived', note: 'no longer used' },
  }),
  'POST jobs/:id/rollback': async (w) => {
    const { id, name } = await w.newJob();
    const json = { definition: { name, steps, timeout: 60 }, expectedVersion: 1 };
    await w.send({ path: `jobs/${id}`, json }, 'PUT');
    return { path: `jobs/${id}/rollback`, json: { version: 1 } };
  },
  'PUT jobs/:id/tags/:name': async (w) => ({
    path: `jobs/${(await w.newJob()).id}/tags/2026.11`,
    json: { version: 1 },
  }),
  'DELETE jobs/:id/tags/:name': async (w) => ({ path: await w.newVersionName('tags') }),
  'PUT jobs/:id/channels/:name': async (w) => ({
    path: `jobs/${(await w.newJob()).id}/channels/stable`,
    json: { version: 1 },
  }),
  'DELETE jobs/:id/channels/:name': async (w) => ({ path: await w.newVersionName('channels') }),
  'POST jobs/bulk': async (w) => ({
    path: 'jobs/bulk',
    json: {
      ids: [(await w.newJob()).id, (await w.newJob()).id],
      action: 'categorise',
      category: 'alfa jobs',
    },
  }),
  'PUT jobs/:id/category': async (w) => ({
    path: `jobs/${(await w.newJob()).id}/category`,
    json: { category: 'alfa jobs' },
  }),
  'POST jobs/:id/run': async (w) => ({
    path: `jobs/${w.world.alfa.jobId}/run`,
    json: { targetIds: [w.world.alfa.targetId] },
  }),
  'POST runs/:id/decisions': async (w) => {
    const id = await w.newRun();
    const { sql, agent } = w.world.t;
    await sql`
      update job_run_steps set status = 'running', epoch = 1, agent_id = ${agent.agentId}, session_number = 1,
        lease_token = 'of the walk' where job_run_id = ${id} and status = 'ready'`;
    await sql`update job_run_steps set status = 'held', held_until = 'infinity' where job_run_id = ${id} and status = 'running'`;
    return { path: `runs/${id}/decisions`, json: { decision: 'failed', note: 'looked' } };
  },
  'POST runs/:id/rerun': async (w) => ({
    path: `runs/${w.world.ended[0]?.id}/rerun`,
    json: { which: 'all' },
  }),
  'DELETE runs/:id': async (w) => ({ path: `runs/${await w.newRun()}` }),
  'POST executor/cancel/:id': async (w) => ({ path: `executor/cancel/${await w.newRun()}` }),
  'POST runs/:id/target-runs/:targetRun/cancel': async (w) => {
    const id = await w.newRun();
    const [target] = await w.world.t.sql`select id from job_run_targets where job_run_id = ${id}`;
    return { path: `runs/${id}/target-runs/${target?.id}/cancel` };
  },

  'POST categories': async (w) => ({ path: 'categories', json: { name: w.freshName('category') } }),
  'PUT categories/:id': async (w) => ({
    path: `categories/${(await w.newCategory()).id}`,
    json: { name: w.freshName('category') },
  }),
  'DELETE categories/:id': async (w) => ({ path: `categories/${(await w.newCategory()).id}` }),

  'POST site-rules': async (w) => ({ path: 'site-rules', json: siteRule(w) }),
  'PUT site-rules/:id': async (w) => ({
    path: `site-rules/${(await w.make<{ id: number }>('site-rules', siteRule(w))).id}`,
    json: { ...siteRule(w), expectedVersion: 1 },
  }),
  'DELETE site-rules/:id': async (w) => ({
    path: `site-rules/${(await w.make<{ id: number }>('site-rules', siteRule(w))).id}`,
  }),

  'POST segments': async (w) => ({ path: 'segments', json: { name: w.freshName('segment') } }),
  'DELETE segments/:id': async (w) => {
    const { id } = await w.make<{ id: number }>('segments', { name: w.freshName('segment') });
    return { path: `segments/${id}` };
  },
  'POST segments/:id/enrollment-tokens': async (w) => ({
    path: `segments/${w.world.alfa.segmentId}/enrollment-tokens`,
  }),
  'DELETE segments/:id/enrollment-tokens/:token': async (w) => {
    const path = `segments/${w.world.alfa.segmentId}/enrollment-tokens`;
    return { path: `${path}/${(await w.make<{ id: number }>(path, {})).id}` };
  },
  'POST segments/:id/roster': async (w) => {
    const root = await generateSigningKeyPair();
    const ownerRoot = encodeBase64(root.publicKey);
    const { id } = await w.make<{ id: number }>('segments', { name: w.freshName('segment'), ownerRoot });
    const { publicKey } = await generateSegmentKey();
    const json = await signRoster(root.privateKey, {
      installationId: w.world.t.identity.installationId,
      segmentId: id,
      number: 1,
      agents: [],
      currentGeneration: 1,
      revoked: [],
      segmentKeys: [{ generation: 1, publicKey: encodeBase64(publicKey) }],
    });
    return { path: `segments/${id}/roster`, json };
  },
  'POST segments/:id/recovery': async (w) => {
    const wraps = [{ generation: 1, wrapped: Buffer.alloc(81).toString('base64') }];
    const path = `segments/${w.world.alfa.segmentId}/recovery`;
    return { path, json: { agentId: await w.newAgent(), wraps } };
  },
  'PUT segments/:id/settings': async (w) => ({
    path: `segments/${w.world.alfa.segmentId}/settings`,
    json: { settings: { port: 2000 + w.fresh() }, credentialId: null },
  }),
  'PUT segments/:id/unknown-after': async (w) => ({
    path: `segments/${w.world.alfa.segmentId}/unknown-after`,
    json: { unknownAfter: 300 + w.fresh() },
  }),

  'PUT agents/:id/labels': async (w) => ({
    path: `agents/${await w.newAgent()}/labels`,
    json: { labels: { rack: '7' } },
  }),
  'POST agents/:id/drain': async (w) => ({ path: `agents/${await w.newAgent()}/drain` }),
  'POST agents/:id/undrain': async (w) => ({ path: `agents/${await w.newAgent('drain')}/undrain` }),
  'POST agents/:id/disable': async (w) => ({ path: `agents/${await w.newAgent()}/disable` }),
  'POST agents/:id/enable': async (w) => ({ path: `agents/${await w.newAgent('disable')}/enable` }),
  'POST agents/:id/revoke': async (w) => ({ path: `agents/${await w.newAgent()}/revoke` }),
  'POST agents/:id/new-keys': async (w) => ({ path: `agents/${await w.newAgent()}/new-keys` }),

  'POST credentials': async (w) => ({
    path: 'credentials',
    json: await sealedCredentialRequest(w.world.t, w.world.alfa.segmentId, w.freshName('credential')),
  }),
  'PUT credentials/:id': async (w) => {
    const request = await sealedCredentialRequest(
      w.world.t,
      w.world.alfa.segmentId,
      w.freshName('credential'),
    );
    const { id } = await w.make<{ id: string }>('credentials', request);
    return { path: `credentials/${id}`, json: { description: 'x', expiresOn: '2027-01-31' } };
  },
  'POST credentials/:id/versions': async (w) => {
    const request = await sealedCredentialRequest(
      w.world.t,
      w.world.alfa.segmentId,
      w.freshName('credential'),
    );
    const { id } = await w.make<{ id: string }>('credentials', request);
    const { sealed } = await sealedCredentialRequest(w.world.t, w.world.alfa.segmentId, 'x', {
      id,
      version: 2,
    });
    return { path: `credentials/${id}/versions`, json: { version: 2, sealed } };
  },
  'DELETE credentials/:id': async (w) => {
    const request = await sealedCredentialRequest(
      w.world.t,
      w.world.alfa.segmentId,
      w.freshName('credential'),
    );
    return { path: `credentials/${(await w.make<{ id: string }>('credentials', request)).id}` };
  },

  'POST targets': async (w) => ({ path: 'targets', json: w.targetRequest() }),
  'POST targets/bulk': async (w) => ({
    path: 'targets/bulk',
    json: { selection: { targetIds: [(await w.newTarget()).id] }, isActive: false },
  }),
  'PUT targets/:id': async (w) => ({
    path: `targets/${(await w.newTarget()).id}`,
    json: { name: w.freshName('target'), host: 'other.example' },
  }),
  'DELETE targets/:id': async (w) => ({ path: `targets/${(await w.newTarget()).id}` }),
  'POST targets/:id/test': async (w) => ({ path: `targets/${(await w.newTarget()).id}/test` }),
  'POST targets/:id/host-keys': async (w) => {
    const { id } = await w.newTarget();
    const hostKeyLine = `ssh-ed25519 ${Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0 '.padEnd(51, String(w.fresh())), 'latin1').toString('base64')}`;
    const seen = await w.world.t.sql.begin((tx) =>
      recordSeenHostKey(tx as never, { targetId: id, hostKeyLine }),
    );
    return { path: `targets/${id}/host-keys`, json: { fingerprint: seen?.fingerprint } };
  },

  'POST host-scans': async (w) => ({ path: 'host-scans', json: scanRequest((await w.newTarget()).id) }),
  'POST host-scans/:id/cancel': async (w) => {
    const scan = await w.make<{ id: number }>('host-scans', scanRequest((await w.newTarget()).id));
    return { path: `host-scans/${scan.id}/cancel` };
  },
  'POST host-scans/:id/approve': async (w) => {
    const { id } = await w.newTarget();
    const { segmentId, agentId } = w.world.alfa;
    const scan = await scanTarget(w.world.t, { segmentId, agentId, targetId: id });
    const { review } = await getScan(w.world.t.sql, scan, []);
    return {
      path: `host-scans/${scan}/approve`,
      json: { all: { finding: 'new', digest: review.new.digest } },
    };
  },
  'POST segments/:id/host-trust': async (w) => ({ path: w.trustPath(), json: w.trustRequest() }),
  'DELETE segments/:id/host-trust/:entry': async (w) => {
    const { id } = await w.make<{ id: number }>(w.trustPath(), w.trustRequest());
    return { path: `${w.trustPath()}/${id}` };
  },
  'POST known-hosts/apply': async (w) => {
    const target = await w.newTarget();
    await w.world.t.sql`update targets set host = ${`${target.name}.example`} where id = ${target.id}`;
    const json = {
      segmentId: w.world.alfa.segmentId,
      content: `${target.name}.example ${w.trustRequest().publicKey}\n`,
    };
    const plan = await w.make<{ digest: string }>('known-hosts/plan', json);
    return { path: 'known-hosts/apply', json: { ...json, digest: plan.digest } };
  },

  'POST target-groups': async (w) => ({ path: 'target-groups', json: { name: w.freshName('group') } }),
  'PUT target-groups/:id': async (w) => ({
    path: `target-groups/${(await w.newTargetGroup()).id}`,
    json: { name: w.freshName('group') },
  }),
  'DELETE target-groups/:id': async (w) => ({ path: `target-groups/${(await w.newTargetGroup()).id}` }),

  'POST job-imports/:id/apply': async (w) => {
    const jobs = [{ definition: { name: w.freshName('job'), steps } }];
    const { id } = await w.make<{ id: string }>('job-imports', {
      format: 'opsconductor-jobs',
      version: 1,
      jobs,
    });
    await w.importIs(id, 'planned');
    return { path: `job-imports/${id}/apply`, json: {}, settled: () => w.importIs(id, 'applied') };
  },
  'POST inventories': async (w) => ({ path: 'inventories', json: w.inventoryRequest() }),
  'PUT inventories/:id': async (w) => ({
    path: `inventories/${await w.newInventory()}`,
    json: { name: w.freshName('inventory') },
  }),
  'DELETE inventories/:id': async (w) => ({ path: `inventories/${await w.newInventory()}` }),
  'POST inventories/:id/plans/:plan/apply': async (w) => {
    const inventory = await w.newInventory();
    const json = { hosts: [{ name: w.freshName('imported'), host: 'h.example' }] };
    const planned = await w.send({ path: `inventories/${inventory}/targets`, json }, 'PUT');
    const plan = (await planned.json()) as { id: string };
    return { path: `inventories/${inventory}/plans/${plan.id}/apply`, json: { gone: 'keep' } };
  },
  'PUT inventories/:id/targets': async (w) => ({
    path: `inventories/${await w.newInventory()}/targets`,
    json: { hosts: [{ name: w.freshName('imported'), host: 'h.example' }], apply: { gone: 'keep' } },
  }),
  'POST files': async (w) => ({ path: 'files', json: { name: w.freshName('file'), size: 1 } }),
  'POST files/:id/finish': async (w) => ({ path: `files/${await w.newFile()}/finish`, json: {} }),
  'DELETE files/:id': async (w) => ({ path: `files/${await w.newFile()}` }),
};

const scanRequest = (targetId: number) => ({ kind: 'keys', selection: { targetIds: [targetId] } });
const siteRule = (w: AuditWalk) => ({
  name: w.freshName('rule'),
  condition: 'size(job.steps) > 0',
  message: 'Has steps.',
});
