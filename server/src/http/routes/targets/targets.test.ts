import type { ErrorBody, Segment, Target } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { defaultIdentitySettings } from '../../../auth/identity-deps.ts';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { inTransaction } from '../../../store/database/transaction.ts';
import { recordSeenHostKey } from '../../../targets/host-keys.ts';
import { setupApp, type TestApp, testInstallationId } from '../../testing.ts';
import { segmentRoutes } from '../segments/segments.ts';
import { targetRoutes } from './targets.ts';

let t: TestApp;
let admin: string;
let segmentId: number;
beforeEach(async () => {
  t = await setupApp(({ sql, clock }) => [
    ...segmentRoutes({
      sql,
      masterKey: newMasterKey(),
      installationId: testInstallationId,
      publicUrl: 'http://127.0.0.1:8080',
      caPin: () => undefined,
      agentSha256: async () => 'ab'.repeat(32),
      now: clock.now,
      session: defaultIdentitySettings.session,
    }),
    ...targetRoutes({ sql, agents: { testTarget: async () => 'no_agent' } }),
  ]);
  admin = (await t.user('root', ['admin'])).token;
  segmentId = (await call<Segment>('POST', 'segments', { name: 'dmz-1' })).body.id;
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
const create = (fields: object) =>
  call<Target & ErrorBody>('POST', 'targets', { segmentId, name: 'web-1', host: '10.0.0.1', ...fields });

// Fingerprints as `ssh-keygen -lf` prints them.
const keys = [
  {
    line: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f',
    fingerprint: 'SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA',
  },
  {
    line: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA',
    fingerprint: 'SHA256:oIVTIburEfZKUwOmv9YkLGMk4rLhYLrW27NcxmLbxTU',
  },
] as const;

describe('targets', () => {
  test('are created, listed page by page, found, changed and deleted', async () => {
    for (const n of [1, 2, 3]) expect((await create({ name: `web-${n}` })).status).toBe(201);
    type Page = { items: Target[]; nextCursor: string | null };
    const first = await call<Page>('GET', 'targets?limit=2');
    const rest = await call<Page>('GET', `targets?limit=2&cursor=${first.body.nextCursor}`);
    expect([...first.body.items, ...rest.body.items].map((target) => target.name)).toEqual([
      'web-1',
      'web-2',
      'web-3',
    ]);
    const found = await call<Page>(
      'GET',
      `targets?search=${encodeURIComponent('WEB-2')}&segmentId=${segmentId}`,
    );
    const id = found.body.items[0]?.id;
    const changed = await call<Target>('PUT', `targets/${id}`, {
      name: 'db-1',
      host: 'db.example.com',
      port: 2222,
    });
    expect(changed).toMatchObject({ status: 200, body: { id, name: 'db-1', port: 2222 } });
    expect((await call('GET', `targets/${id}`)).body).toEqual(changed.body);
    expect((await call('DELETE', `targets/${id}`)).status).toBe(204);
    expect((await call('DELETE', `targets/${id}`)).status).toBe(404);
  });

  test('with hostile fields are refused, naming the field', async () => {
    const wrong: [string, unknown][] = [
      ['host', '-oProxyCommand=touch /tmp/x'],
      ['host', 'a b'],
      ['host', 'x\0y'],
      ['host', 'ho\nst'],
      ['name', "web'; drop table targets; --"],
      ['name', 'nul\0'],
      ['name', ' web'],
      ['port', 0],
      ['port', '22'],
      ['credentialId', 'not-a-uuid'],
      ['hostKeyFingerprint', 'MD5:00'],
    ];
    for (const [field, value] of wrong) {
      const { status, body } = await create({ [field]: value });
      expect([status, body.error.details?.[0]?.path], `${field}: ${JSON.stringify(value)}`).toEqual([
        400,
        field,
      ]);
    }
    expect((await create({ credentialId: '1c9e0f6e-3d0b-4f6e-9d6d-0a0b0c0d0e0f' })).status).toBe(400);
  });

  test('lists refuse an invalid query', async () => {
    for (const query of [
      'limit=0',
      'limit=201',
      'limit=x',
      'cursor=abc',
      'segmentId=1.5',
      'search=%00',
      'order=x',
    ]) {
      expect((await call('GET', `targets?${query}`)).status, query).toBe(400);
    }
  });

  test('are tested by callers with the permission, who are told if there never was an agent', async () => {
    const { body } = await create({});
    const viewer = (await t.user('viewer', ['viewer'])).token;
    const operator = (await t.user('operator', ['operator'])).token;
    expect((await call('POST', `targets/${body.id}/test`, {}, viewer)).status).toBe(403);
    const result = await call('POST', `targets/${body.id}/test`, {}, operator);
    expect(result).toMatchObject({ status: 200, body: { ok: false, reason: 'no_agent' } });
  });
});

describe('a host key', () => {
  test('is accepted as shown, and replaced only if the request names the accepted one', async () => {
    const { body: target } = await create({});
    const see = (key: { line: string }) =>
      inTransaction(t.sql, (tx) => recordSeenHostKey(tx, { targetId: target.id, hostKeyLine: key.line }));
    const accept = (json: object) => call<Target & ErrorBody>('POST', `targets/${target.id}/host-keys`, json);
    await see(keys[0]);
    const pending = (await call<Target>('GET', `targets/${target.id}`)).body.hostKeys;
    expect(pending).toMatchObject([{ state: 'pending', fingerprint: keys[0].fingerprint, acceptedBy: null }]);
    const accepted = await accept({ fingerprint: keys[0].fingerprint });
    expect(accepted.body.hostKeys).toMatchObject([{ state: 'accepted', acceptedBy: 'root' }]);
    const changed = keys[1].fingerprint;
    expect(await see(keys[1])).toMatchObject({ fingerprint: changed, state: 'changed' });
    const refused = await accept({ fingerprint: changed });
    expect(refused).toMatchObject({ status: 409, body: { error: { details: [{ path: 'replaces' }] } } });
    const replaced = await accept({ fingerprint: changed, replaces: keys[0].fingerprint });
    expect(replaced.body.hostKeys).toMatchObject([{ state: 'accepted', fingerprint: changed }]);
    expect((await accept({ fingerprint: 'hello' })).status).toBe(400);
  });
});
