// Labels, systems, settings and activity of targets, and the filters of their list.
import type { Scope, TargetQuerySchema } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../auth/authority.ts';
import type { Caller } from '../caller.ts';
import { createCredential } from '../credentials/edit-credentials.ts';
import {
  makeFirstAgent,
  makeSegment,
  sealedCredentialRequest,
  setupInstallation,
  type TestInstallation,
} from '../segments/testing.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTargetGroup } from '../target-groups/edit-target-groups.ts';
import { createTarget, deleteTarget, updateTarget } from './edit-targets.ts';
import { acceptHostKey } from './host-keys.ts';
import { getTarget, listTargets } from './list-targets.ts';

let t: TestInstallation;
let dmz: number;
let lan: number;
let credentialId: string;
let groupId: number;
beforeAll(async () => {
  t = await setupInstallation();
  dmz = (await makeSegment(t, 'dmz')).id;
  lan = (await makeSegment(t, 'lan')).id;
  await makeFirstAgent(t, dmz, 'fields-a');
  credentialId = (await createCredential(t.sql, await sealedCredentialRequest(t, dmz), t.caller)).id;
  const host = 'x.example';
  const create = (segmentId: number, name: string, more: object) =>
    createTarget(t.sql, { segmentId, name, host, ...more }, t.caller);
  await create(dmz, 'web-1', { labels: { env: 'prod', tier: '' } });
  await create(dmz, 'web-2', { labels: { env: 'stage' }, isActive: false });
  await create(dmz, 'win-1', { operatingSystem: 'windows', labels: { env: 'prod' } });
  await create(lan, 'db-1', { labels: { env: 'prod' } });
  const group = await createTargetGroup(t.sql, { name: 'prod', selector: 'env=prod os=linux' }, t.caller);
  groupId = group.id;
  await t.sql`update targets set last_contact_at = now(), last_contact_ok = name = 'web-1',
    last_contact_reason = 'unreachable' where name in ('web-1', 'db-1')`;
  // web-1 has shown an additional key, db-1 another one instead of its own.
  await t.sql`
    insert into target_host_keys (target_id, fingerprint, key_type, state, accepted_at)
    select targets.id, key.state, key.type, key.state, now() from (values
      ('web-1', 'accepted', 'ssh-ed25519'), ('web-1', 'pending', 'ssh-rsa'), ('web-2', 'pending', 'ssh-ed25519'),
      ('db-1', 'accepted', 'ssh-ed25519'), ('db-1', 'changed', 'ssh-ed25519')) key(target, state, type)
    join targets on targets.name = key.target`;
});
afterAll(() => t.close());

const reader = (scope: Scope) => new Authority([{ role: 'viewer', permission: null, scope }]).reach('read');
const admin = (scope: Scope): Caller => ({
  ...t.caller,
  authority: new Authority([{ role: 'admin', permission: null, scope }]),
});
const namesOf = async (query: Static<typeof TargetQuerySchema>, reaches = unrestricted) =>
  (await listTargets(t.sql, query, reaches)).items.map((target) => target.name);

describe('the list of targets', () => {
  it.each([
    [{ selector: 'env=prod' }, ['db-1', 'web-1', 'win-1']],
    [{ selector: 'tier or env=stage' }, ['web-1', 'web-2']],
    [{ selector: 'group:prod segment:lan' }, ['db-1']],
    [{ operatingSystem: 'windows' }, ['win-1']],
    [{ isActive: false }, ['web-2']],
    [{ health: 'ok' }, ['web-1']],
    [{ health: 'failing' }, ['db-1']],
    [{ health: 'never' }, ['web-2', 'win-1']],
    [{ hostKey: 'changed' }, ['db-1']],
    [{ hostKey: 'accepted' }, ['web-1']],
    [{ hostKey: 'pending' }, ['web-2']],
    [{ hostKey: 'none' }, ['win-1']],
    [{ search: 'WEB', isActive: true, selector: '!group:nowhere*' }, ['web-1']],
  ] as const)('filtered by %j has %j', async (query, names) => {
    expect(await namesOf(query)).toEqual(names);
  });

  it('filtered by group and segment has what is in both', async () => {
    expect(await namesOf({ groupId })).toEqual(['db-1', 'web-1']);
    expect(await namesOf({ groupId, segmentId: dmz })).toEqual(['web-1']);
    expect(await namesOf({ groupId: 999_999 })).toEqual([]);
  });

  it('has only what the caller may see, in pages and counts too', async () => {
    const ofLan = reader({ kind: 'segment', id: lan });
    const ofGroup = reader({ kind: 'target_group', id: groupId });
    const ofCategory = reader({ kind: 'category', id: 1 });
    expect(await namesOf({}, ofLan)).toEqual(['db-1']);
    expect(await namesOf({}, ofGroup)).toEqual(['db-1', 'web-1']);
    expect(await namesOf({}, ofCategory)).toEqual([]);
    const page = await listTargets(t.sql, { limit: 1, count: true, selector: 'env' }, ofGroup);
    expect([page.items.length, page.total, page.nextCursor !== null]).toEqual([1, 2, true]);
    expect((await listTargets(t.sql, { limit: 1 }, ofGroup)).total).toBeUndefined();
    // For a reader, a segment without visible targets does not exist.
    await expect(namesOf({ selector: 'segment:dmz' }, ofLan)).rejects.toThrow('There is no segment “dmz”');
    expect(await namesOf({ selector: 'segment:dmz' }, ofGroup)).toEqual(['web-1']);
    expect(await namesOf({ selector: '!segment:dm*' }, ofLan)).toEqual(['db-1']);
  });

  it.each([
    ['env=', 'Column 5'],
    ['group:nowhere', 'Column 1: There is no target group “nowhere”'],
    ['a or segment:nowhere', 'Column 6: There is no segment “nowhere”'],
    ['a="\0"', 'NUL'],
  ])('is refused for the selector %j', async (selector, message) => {
    const listing = namesOf({ selector });
    await expect(listing).rejects.toMatchObject({ code: 'invalid' });
    await expect(listing).rejects.toThrow(message);
  });
});

describe('a change of a target', () => {
  it('leaves omitted fields unchanged, and null removes a value', async () => {
    const fields = {
      port: 2222,
      credentialId,
      operatingSystem: 'other',
      labels: { a: 'b' },
      description: 'text',
      settings: { connect_timeout: 5, username: 'deploy' },
      isActive: false,
    } as const;
    const whole = { segmentId: dmz, name: 'kept', host: 'h.example', ...fields };
    const { id } = await createTarget(t.sql, whole, t.caller);
    const change = (more: object) =>
      updateTarget(t.sql, id, { name: 'kept', host: 'h.example', ...more }, t.caller);
    expect(await change({})).toMatchObject(fields);
    const bare = await change({ port: null, credentialId: null, labels: {}, settings: {}, isActive: true });
    expect(bare).toMatchObject({ port: null, credentialId: null, labels: {}, settings: {}, isActive: true });
    expect(bare.effective).toMatchObject({ port: 22, credentialId: null });
    await deleteTarget(t.sql, id, t.caller);
  });

  it('is refused with “not found” if the caller may not see the target, and otherwise with the missing right and the target', async () => {
    const { items } = await listTargets(t.sql, { search: 'web-1' }, unrestricted);
    const id = items[0]?.id ?? 0;
    const request = { name: 'web-1', host: 'x.example' };
    const key = { fingerprint: `SHA256:${'a'.repeat(43)}` };
    const ofLan = admin({ kind: 'segment', id: lan });
    const seesAll: Caller = {
      ...ofLan,
      authority: new Authority([
        { role: 'viewer', permission: null, scope: null },
        { role: 'admin', permission: null, scope: { kind: 'segment', id: lan } },
      ]),
    };
    for (const [caller, code] of [
      [ofLan, 'not_found'],
      [seesAll, 'forbidden'],
    ] as const) {
      const expected = { code };
      await expect(updateTarget(t.sql, id, request, caller)).rejects.toMatchObject(expected);
      await expect(deleteTarget(t.sql, id, caller)).rejects.toMatchObject(expected);
      const accepting = inTransaction(t.sql, (tx) => acceptHostKey(tx, id, key, caller));
      await expect(accepting).rejects.toMatchObject(expected);
    }
    await expect(updateTarget(t.sql, id, request, seesAll)).rejects.toThrow(
      'the permission targets.edit on target “web-1”',
    );
    const create = { segmentId: dmz, name: 'new', host: 'x.example' };
    await expect(createTarget(t.sql, create, ofLan)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'segmentId' }],
    });
    await expect(createTarget(t.sql, create, seesAll)).rejects.toMatchObject({ code: 'forbidden' });
  });

  it('to a credential needs the right to use it, and reveals nothing about one that is elsewhere', async () => {
    const grants = (['read', 'targets.edit'] as const).map((permission) => ({
      role: null,
      permission,
      scope: { kind: 'segment' as const, id: dmz },
    }));
    const editor: Caller = { ...t.caller, authority: new Authority(grants) };
    const create = { segmentId: dmz, name: 'with-credential', host: 'x.example', credentialId };
    await expect(createTarget(t.sql, create, editor)).rejects.toMatchObject({
      code: 'forbidden',
      permission: 'credentials.use',
    });
    const foreign = { segmentId: lan, name: 'foreign', host: 'x.example', credentialId };
    await expect(createTarget(t.sql, foreign, admin({ kind: 'segment', id: lan }))).rejects.toThrow(
      'There is no such credential.',
    );
    await expect(createTarget(t.sql, foreign, t.caller)).rejects.toThrow('sealed to segment dmz');
  });

  it('to an inherited port forgets its host keys only if the port differs', async () => {
    const fingerprint = `SHA256:${'c'.repeat(43)}`;
    const request = { segmentId: dmz, name: 'same-port', host: 'x.example', hostKeyFingerprint: fingerprint };
    const { id } = await createTarget(t.sql, request, t.caller);
    const change = (more: object) =>
      updateTarget(t.sql, id, { name: 'same-port', host: 'x.example', ...more }, t.caller);
    expect((await change({ port: 22 })).hostKeys).toHaveLength(1);
    expect((await change({ port: null, settings: { protocol: 'winrm' } })).hostKeys).toHaveLength(0);
    expect((await getTarget(t.sql, id, unrestricted)).effective).toMatchObject({
      protocol: 'winrm',
      port: 5986,
    });
  });
});
