import { decodeBase64, openCredential } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createJob } from '../jobs/create-job.ts';
import { setupJobs, step, type TestJobs } from '../jobs/testing.ts';
import { makeFirstAgent, makeSegment, sealedCredentialRequest, testSecret } from '../segments/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { findSealedCredential } from '../store/targets/credentials.ts';
import { createTargetGroup } from '../target-groups/edit-target-groups.ts';
import { createTarget } from '../targets/edit-targets.ts';
import {
  createCredential,
  deleteCredential,
  replaceCredential,
  updateCredential,
} from './edit-credentials.ts';
import { credentialUsage, getCredential, listCredentials } from './list-credentials.ts';

let t: TestJobs;
let segmentId: number;
let segmentPrivateKey: Uint8Array;
beforeAll(async () => {
  t = await setupJobs();
  segmentId = (await makeSegment(t, 'credentials')).id;
  segmentPrivateKey = (await makeFirstAgent(t, segmentId, 'credentials-a')).segmentKey.privateKey;
});
afterAll(() => t.close());

describe('creating a credential', () => {
  it('stores what an agent of the segment can open, and does not return it', async () => {
    const request = await sealedCredentialRequest(t, segmentId, 'opens');
    const credential = await createCredential(t.sql, request, t.caller);
    expect(credential).toMatchObject({
      id: request.id,
      segmentName: 'credentials',
      version: 1,
      generation: 1,
      targetCount: 0,
      createdBy: 'ada',
    });
    expect(JSON.stringify(credential)).not.toContain(request.sealed.ciphertext.slice(0, 20));
    const stored = await findSealedCredential(t.sql, request.id);
    const secret = await openCredential({
      segmentPrivateKey,
      binding: {
        installationId: t.identity.installationId,
        credentialId: request.id,
        version: 1,
        kind: 'ssh_password',
        segmentId,
        generation: 1,
      },
      sealed: stored?.sealed as NonNullable<typeof stored>['sealed'],
    });
    expect(secret).toEqual(testSecret);
    expect(await getCredential(t.sql, request.id, unrestricted)).toEqual(credential);
  });

  it('refuses a seal of the wrong form, naming the part but not its value', async () => {
    const request = await sealedCredentialRequest(t, segmentId, 'malformed');
    const bytes = decodeBase64(request.sealed.ciphertext);
    const wrong = {
      enc: 'AAAA',
      wrappedKey: request.sealed.enc,
      nonce: 'not base64!',
      ciphertext: Buffer.from(bytes.subarray(1)).toString('base64'),
    };
    for (const [part, value] of Object.entries(wrong)) {
      const sealed = { ...request.sealed, [part]: value };
      const error = await createCredential(t.sql, { ...request, sealed }, t.caller).catch((e) => e);
      expect(error).toMatchObject({ code: 'invalid', details: [{ path: `sealed.${part}` }] });
      expect(JSON.stringify([error.message, error.details])).not.toContain(value);
    }
  });

  it('is refused before the segment has a key, and for a generation that is not current', async () => {
    const keyless = await makeSegment(t, 'credentials-keyless');
    const request = await sealedCredentialRequest(t, segmentId, 'generations');
    await expect(
      createCredential(t.sql, { ...request, segmentId: keyless.id }, t.caller),
    ).rejects.toMatchObject({ code: 'conflict' });
    const sealed = { ...request.sealed, generation: 2 };
    await expect(createCredential(t.sql, { ...request, sealed }, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'sealed.generation' }],
    });
    await expect(createCredential(t.sql, { ...request, segmentId: 999_999 }, t.caller)).rejects.toMatchObject(
      { code: 'invalid', details: [{ path: 'segmentId' }] },
    );
  });

  it('refuses an id or a name that is taken, and a name that cannot be stored', async () => {
    const request = await sealedCredentialRequest(t, segmentId, 'taken');
    await createCredential(t.sql, request, t.caller);
    const again = await sealedCredentialRequest(t, segmentId, 'taken');
    const conflict = (path: string) => ({ code: 'conflict', details: [{ path }] });
    await expect(createCredential(t.sql, again, t.caller)).rejects.toMatchObject(conflict('name'));
    const sameId = { ...again, id: request.id.toUpperCase(), name: 'other' };
    await expect(createCredential(t.sql, sameId, t.caller)).rejects.toMatchObject(conflict('id'));
    await expect(createCredential(t.sql, { ...again, name: 'a\0b' }, t.caller)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'name' }],
    });
  });
});

describe('listing credentials', () => {
  it('pages by name through equal names of several segments', async () => {
    const other = await makeSegment(t, 'credentials-other');
    await makeFirstAgent(t, other.id, 'credentials-b');
    for (const id of [segmentId, other.id]) {
      await createCredential(t.sql, await sealedCredentialRequest(t, id, 'same name'), t.caller);
    }
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await listCredentials(
        t.sql,
        { limit: 1, ...(cursor === undefined ? {} : { cursor }) },
        unrestricted,
      );
      seen.push(...page.items.map((item) => `${item.name}@${item.segmentName}`));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toContain('same name@credentials-other');
    expect((await listCredentials(t.sql, { segmentId: other.id }, unrestricted)).items).toHaveLength(1);
  });

  it('finds a part of the name or of the description, whatever it contains', async () => {
    const one = await sealedCredentialRequest(t, segmentId, 'of web_1');
    await createCredential(t.sql, { ...one, description: 'opens 100% of them' }, t.caller);
    await createCredential(t.sql, await sealedCredentialRequest(t, segmentId, 'of web-1'), t.caller);
    const found = async (search: string) =>
      (await listCredentials(t.sql, { search }, unrestricted)).items.map(({ name }) => name);
    expect(await found('WEB_')).toEqual(['of web_1']);
    expect(await found('100% OF')).toEqual(['of web_1']);
    expect(await found('of web')).toEqual(['of web-1', 'of web_1']);
    expect(await found('nowhere')).toEqual([]);
  });
});

describe('the day on which a secret expires', () => {
  it('is kept, changed next to the seal, and replaced along with the secret', async () => {
    const request = await sealedCredentialRequest(t, segmentId, 'expires');
    const { id } = await createCredential(t.sql, { ...request, expiresOn: '2027-01-31' }, t.caller);
    expect(await getCredential(t.sql, id, unrestricted)).toMatchObject({
      expiresOn: '2027-01-31',
      version: 1,
    });
    const due = async (expiresBy: string) =>
      (await listCredentials(t.sql, { expiresBy }, unrestricted)).items.map(({ name }) => name);
    expect([await due('2027-01-30'), await due('2027-01-31')]).toEqual([[], ['expires']]);
    const changed = { description: 'of the web servers', expiresOn: '2028-02-29' };
    expect(await updateCredential(t.sql, id, changed, t.caller)).toMatchObject({ ...changed, version: 1 });
    const expiresOnly = await updateCredential(t.sql, id, { expiresOn: '2028-03-01' }, t.caller);
    expect(expiresOnly).toMatchObject({ description: 'of the web servers', expiresOn: '2028-03-01' });
    const outdated = { description: 'of nobody', expected: { description: '', expiresOn: '2028-03-01' } };
    await expect(updateCredential(t.sql, id, outdated, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'expected.description', message: 'Is "of the web servers" by now.' }],
    });
    const { sealed } = await sealedCredentialRequest(t, segmentId, 'x', { id, version: 2 });
    const replaced = await replaceCredential(t.sql, id, { version: 2, sealed }, t.caller);
    expect(replaced).toMatchObject({ description: 'of the web servers', expiresOn: null, version: 2 });
    expect(Date.parse(replaced.savedAt ?? '')).toBeGreaterThan(Date.parse(replaced.createdAt));
  });

  it('sorts a list, page by page: the first to expire first, and those without one last', async () => {
    const days = [null, '2027-02-01', '9999-12-31', '2027-01-31', null, '2027-02-01', '2026-12-31'];
    for (const [i, expiresOn] of days.entries()) {
      const request = await sealedCredentialRequest(t, segmentId, `sorted-${6 - i}`);
      await createCredential(t.sql, { ...request, expiresOn }, t.caller);
    }
    // Of the same name and day, in another segment.
    const other = await makeSegment(t, 'credentials-sorted');
    await makeFirstAgent(t, other.id, 'credentials-sorted-a');
    const same = await sealedCredentialRequest(t, other.id, 'sorted-5');
    await createCredential(t.sql, { ...same, expiresOn: '2027-02-01' }, t.caller);
    const query = { search: 'sorted-', sort: 'expiry' } as const;
    for (const limit of [1, 2, 3, 8]) {
      const found: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await listCredentials(
          t.sql,
          { ...query, limit, ...(cursor === undefined ? {} : { cursor }) },
          unrestricted,
        );
        expect(page.items.length).toBeLessThanOrEqual(limit);
        found.push(...page.items.map(({ name, expiresOn }) => `${name.at(-1)} ${expiresOn}`));
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      expect(found).toEqual([
        '0 2026-12-31',
        '3 2027-01-31',
        '1 2027-02-01',
        '5 2027-02-01',
        '5 2027-02-01',
        '4 9999-12-31',
        '2 null',
        '6 null',
      ]);
    }
    const byName = await listCredentials(t.sql, { search: 'sorted-', limit: 2 }, unrestricted);
    expect(byName.items.map(({ name }) => name)).toEqual(['sorted-0', 'sorted-1']);
    const wrong = listCredentials(t.sql, { ...query, cursor: byName.nextCursor ?? '' }, unrestricted);
    await expect(wrong).rejects.toMatchObject({ code: 'invalid', details: [{ path: 'query.cursor' }] });
  });

  it('is refused if there is no such day', async () => {
    const request = await sealedCredentialRequest(t, segmentId, 'no day');
    const wrong = { code: 'invalid', details: [{ path: 'expiresOn', found: '2027-02-29' }] };
    const expiresOn = '2027-02-29';
    await expect(createCredential(t.sql, { ...request, expiresOn }, t.caller)).rejects.toMatchObject(wrong);
    const { id } = await createCredential(t.sql, request, t.caller);
    await expect(updateCredential(t.sql, id, { description: '', expiresOn }, t.caller)).rejects.toMatchObject(
      wrong,
    );
    await expect(listCredentials(t.sql, { expiresBy: '2027-13-01' }, unrestricted)).rejects.toMatchObject({
      code: 'invalid',
      details: [{ path: 'query.expiresBy' }],
    });
  });
});

describe('what uses a credential', () => {
  it('is shown by kind and name, as far as the reader may see it', async () => {
    const { id } = await createCredential(
      t.sql,
      await sealedCredentialRequest(t, segmentId, 'widely used'),
      t.caller,
    );
    expect(await credentialUsage(t.sql, id, unrestricted)).toEqual({
      targets: { total: 0, items: [] },
      groups: { total: 0, items: [] },
      segment: false,
      jobs: { total: 0, items: [] },
    });
    const target = { segmentId, name: 'uses-it', host: '10.0.0.1', credentialId: id };
    const { id: targetId } = await createTarget(t.sql, target, t.caller);
    const group = await createTargetGroup(
      t.sql,
      { name: 'gives it', credentials: [{ segmentId, credentialId: id }] },
      t.caller,
    );
    await t.sql`update segments set credential_id = ${id} where id = ${segmentId}`;
    const connection = { credential: 'widely used' };
    const steps = [step('one'), { ...step('two'), connection }];
    const job = await createJob(t, { name: 'asks for it', steps }, t.caller);
    const wholly = await credentialUsage(t.sql, id, unrestricted);
    expect(wholly).toEqual({
      targets: { total: 1, items: [{ id: targetId, name: 'uses-it' }] },
      groups: { total: 1, items: [{ id: group.id, name: 'gives it' }] },
      segment: true,
      jobs: { total: 1, items: [{ id: job.id, name: 'asks for it' }] },
    });
    const ofSegment = {
      everywhere: false,
      categoryIds: [],
      segmentIds: [segmentId],
      targetGroupIds: [],
    };
    const none = { total: 0, items: [] };
    expect(await credentialUsage(t.sql, id, [ofSegment])).toEqual({ ...wholly, groups: none, jobs: none });
  });
});

describe('deleting a credential', () => {
  it('is refused while targets use it, and says how many', async () => {
    const request = await sealedCredentialRequest(t, segmentId, 'in use');
    const credential = await createCredential(t.sql, request, t.caller);
    for (const name of ['user-1', 'user-2']) {
      await createTarget(t.sql, { segmentId, name, host: '10.0.0.1', credentialId: credential.id }, t.caller);
    }
    expect((await getCredential(t.sql, credential.id, unrestricted)).targetCount).toBe(2);
    const error = await deleteCredential(t.sql, credential.id, t.caller).catch((e) => e);
    expect(error).toMatchObject({ code: 'conflict' });
    expect(error.message).toMatch(/^2 targets use in use\./);
    await t.sql`update targets set credential_id = null where credential_id = ${credential.id}`;
    await deleteCredential(t.sql, credential.id, t.caller);
    await expect(getCredential(t.sql, credential.id, unrestricted)).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(deleteCredential(t.sql, credential.id, t.caller)).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('at the moment it is given to a target never leaves that target without it', async () => {
    for (let n = 0; n < 5; n += 1) {
      const credential = await createCredential(
        t.sql,
        await sealedCredentialRequest(t, segmentId, `raced ${n}`),
        t.caller,
      );
      const target = { segmentId, name: `raced-${n}`, host: '10.0.0.1', credentialId: credential.id };
      const [created, deleted] = await Promise.allSettled([
        createTarget(t.sql, target, t.caller),
        deleteCredential(t.sql, credential.id, t.caller),
      ]);
      expect([created.status, deleted.status].sort()).toEqual(['fulfilled', 'rejected']);
      const refused =
        created.status === 'rejected' ? created.reason : (deleted as PromiseRejectedResult).reason;
      expect(['invalid', 'conflict']).toContain(refused.code);
    }
  });
});
