// A segment from nothing to a sealed credential, through the routes: segments, agents, enrollment, credentials.
import type {
  Agent,
  Credential,
  EnrollmentTokenReply,
  EnrollResponse,
  ErrorBody,
  SealingKey,
  Segment,
  Target,
} from '@opsconductor/protocol';
import {
  decodeBase64,
  generateSegmentKey,
  generateSigningKeyPair,
  rosterSegmentKey,
  sealCredential,
  verifyRoster,
} from '@opsconductor/protocol/sealing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { defaultIdentitySettings } from '../../../auth/identity-deps.ts';
import { EnrollmentLimits } from '../../../auth/limits/enrollment-limits.ts';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { blockedBackends, holdTransaction } from '../../../runs/testing.ts';
import { enrollRequest, makeAgentKeys, segmentKeyOffer, testSecret } from '../../../segments/testing.ts';
import { setupApp, type TestApp, testInstallationId } from '../../testing.ts';
import { credentialRoutes } from '../credentials.ts';
import { targetRoutes } from '../targets/targets.ts';
import { agentEnrollmentRoutes } from './agent-enrollment.ts';
import { agentRoutes } from './agents.ts';
import { segmentRoutes } from './segments.ts';

let t: TestApp;
let admin: string;
beforeEach(async () => {
  const masterKey = newMasterKey();
  const serverKey = await generateSigningKeyPair();
  const installationId = testInstallationId;
  t = await setupApp(({ sql, clock }) => [
    ...segmentRoutes({
      sql,
      masterKey,
      installationId,
      publicUrl: 'https://ops.example.com',
      caPin: () => undefined,
      agentSha256: async () => 'ab'.repeat(32),
      now: clock.now,
      session: defaultIdentitySettings.session,
    }),
    ...agentRoutes({ sql, masterKey, installationId }),
    ...agentEnrollmentRoutes({
      sql,
      masterKey,
      identity: { installationId, serverKey },
      limits: new EnrollmentLimits(clock.now),
    }),
    ...credentialRoutes({ sql }),
    ...targetRoutes({ sql, agents: { testTarget: async () => 'offline' } }),
  ]);
  admin = (await t.user('root', ['admin'])).token;
});
afterEach(() => t.close());

async function call<T>(method: string, path: string, json?: unknown, token = admin) {
  const response = await t.request(method, `/api/v1/${path}`, {
    token,
    ...(json === undefined ? {} : { json }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
}

async function makeSegment(name = 'dmz-1'): Promise<Segment> {
  return (await call<Segment>('POST', 'segments', { name })).body;
}

async function enrolledSegment() {
  const segment = await makeSegment();
  const { body } = await call<EnrollmentTokenReply>('POST', `segments/${segment.id}/enrollment-tokens`, {});
  const keys = await makeAgentKeys();
  const request = await enrollRequest(body.token, 'agent-a', keys);
  const response = await t.request('POST', '/api/v1/agent/enroll', { json: request });
  expect(response.status).toBe(200);
  const enrolled = (await response.json()) as EnrollResponse;
  const segmentKey = await generateSegmentKey();
  const offer = await segmentKeyOffer(enrolled, keys, segmentKey);
  const offered = await t.request('POST', '/api/v1/agent/segment-key', { json: offer });
  expect(await offered.json()).toEqual({ accepted: true });
  return { segment, enrolled, segmentKey, request };
}

async function sealed(segmentId: number) {
  const { body: key } = await call<SealingKey>('GET', `segments/${segmentId}/sealing-key`);
  const { installationId, generation } = key;
  const expected = { installationId, segmentId, minNumber: 0 };
  const roster = await verifyRoster(decodeBase64(key.rootPublicKey), key.roster, expected);
  const id = '1c9e0f6e-3d0b-4f6e-9d6d-0a0b0c0d0e0f';
  const binding = {
    installationId,
    credentialId: id,
    version: 1,
    kind: testSecret.kind,
    segmentId,
    generation,
  };
  const segmentPublicKey = rosterSegmentKey(roster) ?? new Uint8Array();
  return {
    id,
    segmentId,
    name: 'deploy',
    kind: testSecret.kind,
    sealed: await sealCredential({ segmentPublicKey, binding, secret: testSecret }),
  };
}

describe('a new segment', () => {
  test('gets its first agent with a token, then a credential, then a target that uses it', async () => {
    const { segment, enrolled } = await enrolledSegment();
    const agents = await call<{ items: Agent[]; nextCursor: null }>('GET', 'agents');
    expect(agents.body.items).toMatchObject([{ id: enrolled.agentId, name: 'agent-a', state: 'offline' }]);

    const request = await sealed(segment.id);
    const credential = await call<Credential>('POST', 'credentials', request);
    expect(credential.status).toBe(201);
    expect((await call('GET', `credentials/${request.id.toUpperCase()}`)).body).toEqual(credential.body);

    const fields = { segmentId: segment.id, name: 'web-1', host: '2001:db8::1', credentialId: request.id };
    const target = await call<Target>('POST', 'targets', fields);
    expect(target).toMatchObject({ status: 201, body: { port: null, credentialName: 'deploy' } });
    expect((await call<Segment>('GET', `segments/${segment.id}`)).body).toMatchObject({
      health: 'offline',
      keyGeneration: 1,
      targetCount: 1,
    });
    const inUse = await call<ErrorBody>('DELETE', `credentials/${request.id}`);
    expect(inUse).toMatchObject({
      status: 409,
      body: { error: { message: expect.stringMatching(/^1 target uses/) } },
    });
    expect((await call('POST', `targets/${target.body.id}/test`, {})).body).toMatchObject({
      ok: false,
      reason: 'agents_offline',
    });
    expect((await call('DELETE', `targets/${target.body.id}`)).status).toBe(204);
    expect((await call('DELETE', `credentials/${request.id}`)).status).toBe(204);
    expect((await call('GET', `credentials/${request.id}`)).status).toBe(404);
  });

  test('has no key to seal to before its first agent', async () => {
    const segment = await makeSegment();
    expect((await call('GET', `segments/${segment.id}/sealing-key`)).status).toBe(409);
  });

  test('is refused with a name that is invalid or taken', async () => {
    await makeSegment();
    for (const name of ['', 'DMZ', 'a b', '-x', 'ä', 'x'.repeat(64), "x'; drop table segments", 7]) {
      const reply = await call<ErrorBody>('POST', 'segments', { name });
      expect([reply.status, reply.body.error.details?.[0]?.path]).toEqual([400, 'name']);
    }
    expect((await call('POST', 'segments', { name: 'dmz-1' })).status).toBe(409);
    expect((await call<{ items: Segment[] }>('GET', 'segments')).body.items).toHaveLength(1);
  });
});

describe('an enrollment', () => {
  test('token is not in the lines to paste, but is pasted when they ask for it', async () => {
    const segment = await makeSegment();
    const { status, body } = await call<EnrollmentTokenReply>(
      'POST',
      `segments/${segment.id}/enrollment-tokens`,
      {},
    );
    expect(status).toBe(201);
    expect(body.steps.filter((step) => step.takesToken)).toHaveLength(1);
    for (const step of body.steps) expect(step.command).not.toContain(body.token.slice(4, 20));
    expect(t.logged.join('')).not.toContain(body.token.slice(4, 40));
  });

  test('is refused without a valid token, and never repeats what it was sent', async () => {
    const { request } = await enrolledSegment();
    const other = await enrollRequest(request.token, 'agent-b', await makeAgentKeys());
    const used = await t.request('POST', '/api/v1/agent/enroll', { json: other });
    expect(used.status).toBe(409);
    const bad = { ...request, token: `oce_${'A'.repeat(43)}.${'A'.repeat(43)}` };
    const unsigned = await t.request('POST', '/api/v1/agent/enroll', { json: bad });
    expect(unsigned.status).toBe(401);
    const malformed = await t.request('POST', '/api/v1/agent/enroll', {
      json: { ...request, name: 'UPPER', x: 1 },
    });
    expect(malformed.status).toBe(400);
    const large = await t.request('POST', '/api/v1/agent/enroll', {
      json: { ...request, name: 'x'.repeat(9_000) },
    });
    expect(large.status).toBe(413);
    for (const reply of [used, unsigned, malformed])
      expect(await reply.text()).not.toContain(request.token.slice(4, 40));
  });

  test('that is tried too often is refused for a stated time, as is the offer of a segment key', async () => {
    const { request } = await enrolledSegment();
    const stranger = { ...request, token: `oce_${'A'.repeat(43)}.${'A'.repeat(43)}` };
    const enroll = (json: object) => t.request('POST', '/api/v1/agent/enroll', { json });
    for (let n = 0; n < 10; n += 1) expect((await enroll(stranger)).status).toBe(401);
    const tooOften = await enroll(stranger);
    expect([tooOften.status, tooOften.headers.get('retry-after')]).toEqual([429, '30']);
    expect((await enroll(request)).status).toBe(200);
    let offered: Response;
    let offers = 0;
    const offer = {
      agentId: 999,
      segmentPublicKey: request.encryptionKey,
      wrapped: 'A'.repeat(100),
      signature: request.signature,
    };
    do {
      offered = await t.request('POST', '/api/v1/agent/segment-key', { json: offer });
      offers += 1;
    } while (offered.status !== 429 && offers < 100);
    expect([offered.status, offered.headers.get('retry-after')]).toEqual([429, '1']);
    expect(offers).toBeGreaterThan(30);
    expect((await enroll(request)).status).toBe(429);
    t.clock.advance(30_000);
    expect((await enroll(request)).status).toBe(200);
    expect((await enroll(stranger)).status).toBe(401);
  });

  test('of agents needs the permission', async () => {
    const segment = await makeSegment();
    const author = (await t.user('author', ['author'])).token;
    const path = `segments/${segment.id}/enrollment-tokens`;
    expect((await call('POST', path, {}, author)).status).toBe(403);
    expect((await call('POST', 'segments', { name: 'mine' }, author)).status).toBe(403);
    expect((await call('GET', `segments/${segment.id}/sealing-key`, undefined, author)).status).toBe(403);
    expect((await call('GET', 'segments', undefined, author)).status).toBe(200);
  });
});

test('a segment is deleted over HTTP, and a target that comes to it in that moment is refused, not failed', async () => {
  const segment = await makeSegment('plant');
  const commit = await holdTransaction(t.sql, (tx) => tx`delete from segments where id = ${segment.id}`);
  const target = call<ErrorBody>('POST', 'targets', {
    segmentId: segment.id,
    name: 'late',
    host: 'late.example.net',
  });
  await blockedBackends(t.sql, 1);
  await commit();
  expect(await target).toMatchObject({
    status: 409,
    body: { error: { code: 'conflict', message: 'The segment was deleted meanwhile.' } },
  });
  const other = await makeSegment('plant');
  const { token } = await t.user('author', ['author']);
  expect((await call('DELETE', `segments/${other.id}`, undefined, token)).status).toBe(403);
  expect((await call('DELETE', `segments/${other.id}`)).status).toBe(204);
  expect((await call('DELETE', `segments/${other.id}`)).status).toBe(404);
});

test('the list of segments narrows to those on which the caller holds a permission, and shows no others', async () => {
  const [open, edited, unread] = [
    await makeSegment('open'),
    await makeSegment('edited'),
    await makeSegment('unread'),
  ];
  const { id, token } = await t.user('ed', []);
  for (const [permission, segment] of [
    ['read', open],
    ['read', edited],
    ['targets.edit', edited],
    ['targets.edit', unread],
  ] as const) {
    await t.sql`insert into role_grants ${t.sql({ userId: id, permission, segmentId: segment.id })}`;
  }
  const asked = async (query: string) =>
    (await call<{ items: Segment[]; named: unknown[] }>('GET', `segments${query}`, undefined, token)).body;
  const names = async (query: string) => (await asked(query)).items.map(({ name }) => name);
  expect(await names('')).toEqual(['edited', 'open']);
  expect(await asked('?permission=targets.edit')).toMatchObject({ items: [{ name: 'edited' }], named: [] });
  expect(await names('?permission=targets.edit&search=un&searchIn=all_agents')).toEqual([]);
  expect(await names('?permission=credentials.edit')).toEqual([]);
  for (const other of ['read', 'people.edit', 'segments.edit', 'nonsense', '']) {
    const refused = await call<ErrorBody>('GET', `segments?permission=${other}`, undefined, token);
    expect(refused, other).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid', details: [{ path: 'query.permission' }] } },
    });
  }
});

describe('a credential', () => {
  test('with a secret outside the sealed part is refused, and the secret is not repeated', async () => {
    const { segment } = await enrolledSegment();
    const request = await sealed(segment.id);
    const leaky = { ...request, password: 'hunter2-hunter2' };
    const reply = await call<ErrorBody>('POST', 'credentials', leaky);
    expect(reply.status).toBe(400);
    expect(JSON.stringify(reply.body)).not.toContain('hunter2');
    const wrong = { ...request, sealed: { ...request.sealed, nonce: 'hunter2-hunter2' } };
    const refused = await call<ErrorBody>('POST', 'credentials', wrong);
    expect(refused).toMatchObject({ status: 400, body: { error: { details: [{ path: 'sealed.nonce' }] } } });
    expect(JSON.stringify(refused.body)).not.toContain('hunter2');
    expect(t.logged.join('')).not.toContain('hunter2');
  });
});
