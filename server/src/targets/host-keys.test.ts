import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addTrust } from '../host-keys/edit-host-trust.ts';
import { makeHostKey } from '../host-keys/testing.ts';
import {
  makeSegment,
  setupInstallation,
  type TestInstallation,
  waitUntilBlocked,
} from '../segments/testing.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { writeContact } from '../store/targets/target-contacts.ts';
import { lockTarget } from '../store/targets/targets.ts';
import { createTarget } from './edit-targets.ts';
import { parseHostKeyLine } from './host-key-line.ts';
import { acceptHostKey, hostKeyLinesOf, recordSeenHostKey } from './host-keys.ts';
import { getTarget } from './list-targets.ts';

let t: TestInstallation;
let segmentId: number;
let made = 0;
beforeAll(async () => {
  t = await setupInstallation();
  segmentId = (await makeSegment(t, 'host-keys')).id;
});
afterAll(() => t.close());

async function makeTarget(hostKeyFingerprint?: string): Promise<number> {
  made += 1;
  const request = { segmentId, name: `host-${made}`, host: '10.0.0.1' };
  const given = hostKeyFingerprint === undefined ? {} : { hostKeyFingerprint };
  return (await createTarget(t.sql, { ...request, ...given }, t.caller)).id;
}

const see = (targetId: number, hostKeyLine: string) =>
  inTransaction(t.sql, (tx) => recordSeenHostKey(tx, { targetId, hostKeyLine }));
const accept = (targetId: number, fingerprint: string, replaces?: string) =>
  inTransaction(t.sql, (tx) =>
    acceptHostKey(tx, targetId, { fingerprint, ...(replaces === undefined ? {} : { replaces }) }, t.caller),
  );
const keysOf = async (targetId: number) =>
  (await getTarget(t.sql, targetId, unrestricted)).hostKeys.map((key) => `${key.state} ${key.fingerprint}`);

describe('a host key that a connection shows', () => {
  it('is pending while nothing is accepted, and no lease carries it', async () => {
    const id = await makeTarget();
    const key = makeHostKey();
    expect(await see(id, key.line)).toEqual({ fingerprint: key.fingerprint, state: 'pending', isNews: true });
    expect(await see(id, `${key.line} root@host`)).toMatchObject({ state: 'pending', isNews: false });
    expect((await hostKeyLinesOf(t.sql, [id])).get(id)).toEqual([]);
  });

  it('is changed if another one is accepted, which stays in force', async () => {
    const id = await makeTarget();
    const [old, other] = [makeHostKey(), makeHostKey()];
    await see(id, old.line);
    await accept(id, old.fingerprint);
    expect(await see(id, other.line)).toMatchObject({ state: 'changed', isNews: true });
    expect(await keysOf(id)).toEqual([`accepted ${old.fingerprint}`, `changed ${other.fingerprint}`]);
    expect((await hostKeyLinesOf(t.sql, [id])).get(id)).toEqual([old.line]);
    const audited =
      await t.sql`select 1 from audit_log where action = 'host_key.changed' and object_id = ${String(id)}`;
    expect(audited).toHaveLength(1);
  });

  it('is audited if it is changed, but not each of many that follow one another', async () => {
    const id = await makeTarget();
    const old = makeHostKey();
    await see(id, old.line);
    await accept(id, old.fingerprint);
    const others = [makeHostKey(), makeHostKey(), makeHostKey()];
    const auditedKeys = async () =>
      (
        await t.sql<{ offered: string }[]>`
          select detail->>'offered' as offered from audit_log
          where action = 'host_key.changed' and object_id = ${String(id)} order by id`
      ).map(({ offered }) => offered);
    for (let n = 0; n < 12; n += 1) await see(id, others[n % 3]?.line ?? '');
    expect(await auditedKeys()).toEqual([others[0]?.fingerprint]);
    expect(await keysOf(id)).toContain(`changed ${others[2]?.fingerprint}`);
    await t.sql`update target_host_keys set seen_at = seen_at - interval '2 minutes' where target_id = ${id}`;
    await see(id, others[1]?.line ?? '');
    expect(await auditedKeys()).toEqual([others[0]?.fingerprint, others[1]?.fingerprint]);
  });

  it('completes a fingerprint that was accepted in advance', async () => {
    const key = makeHostKey();
    const id = await makeTarget(key.fingerprint);
    expect((await hostKeyLinesOf(t.sql, [id])).get(id)).toEqual([key.fingerprint]);
    expect(await see(id, key.line)).toMatchObject({ state: 'accepted', isNews: true });
    expect(await see(id, key.line)).toMatchObject({ state: 'accepted', isNews: false });
    expect((await hostKeyLinesOf(t.sql, [id])).get(id)).toEqual([key.line]);
    expect((await getTarget(t.sql, id, unrestricted)).hostKeys[0]?.keyType).toBe('ssh-ed25519');
  });

  it('is changed if the fingerprint given in advance differs', async () => {
    const given = makeHostKey().fingerprint;
    const id = await makeTarget(given);
    expect(await see(id, makeHostKey().line)).toMatchObject({ state: 'changed' });
    expect((await hostKeyLinesOf(t.sql, [id])).get(id)).toEqual([given]);
  });

  it('replaces the one shown before, so that an impostor cannot fill the table', async () => {
    const id = await makeTarget();
    for (let n = 0; n < 20; n += 1) await see(id, makeHostKey().line);
    expect(await keysOf(id)).toHaveLength(1);
  });

  it('no longer counts as the reason why the target fails once it is accepted; other reasons stay', async () => {
    const seen = async (id: number) => {
      const { health, lastContact, untriedSince, hostKeys } = await getTarget(t.sql, id, unrestricted);
      const [key] = hostKeys;
      return { health, lastContact, isByKey: (key?.acceptedAt ?? '') >= (untriedSince ?? 'never') };
    };
    for (const reason of ['host_key_unknown', 'host_key_mismatch', 'auth_failed'] as const) {
      const id = await makeTarget();
      const key = makeHostKey();
      await writeContact(t.sql, id, { ok: false, reason });
      await see(id, key.line);
      expect(await seen(id)).toMatchObject({ health: 'failing', lastContact: { reason } });
      await accept(id, key.fingerprint);
      expect(await seen(id)).toMatchObject(
        reason === 'auth_failed'
          ? { health: 'failing', lastContact: { reason } }
          : { health: 'never', lastContact: null, isByKey: true },
      );
    }
  });

  it('is ignored for a target that is gone or a line that is not a key', async () => {
    const id = await makeTarget();
    const key = makeHostKey();
    expect(await see(999_999, key.line)).toBeUndefined();
    expect(await see(id, 'hello')).toBeUndefined();
    expect(await keysOf(id)).toEqual([]);
  });
});

describe('accepting a host key', () => {
  it('records who did so, and doing it twice has no further effect', async () => {
    const id = await makeTarget();
    const key = makeHostKey();
    await see(id, key.line);
    await accept(id, key.fingerprint);
    await accept(id, key.fingerprint);
    expect((await getTarget(t.sql, id, unrestricted)).hostKeys).toMatchObject([
      { state: 'accepted', acceptedBy: 'ada' },
    ]);
    const rows =
      await t.sql`select 1 from audit_log where action = 'host_key.accepted' and object_id = ${String(id)}`;
    expect(rows).toHaveLength(1);
  });

  it('is refused if the host shows another key than the person saw', async () => {
    const id = await makeTarget();
    const [seen, now] = [makeHostKey(), makeHostKey()];
    await see(id, seen.line);
    await see(id, now.line);
    const error = await accept(id, seen.fingerprint).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'conflict', details: [{ path: 'fingerprint' }] });
    expect((error as Error).message).toContain(now.fingerprint);
    expect(await keysOf(id)).toEqual([`pending ${now.fingerprint}`]);
  });

  it('is refused if the host has not shown a key, and the refusal does not mention a shown key', async () => {
    const key = makeHostKey();
    const refused = accept(await makeTarget(), key.fingerprint);
    await expect(refused).rejects.toThrow(
      /^host-\d+ has shown no key that waits for approval, .*Test the connection/,
    );
  });

  it('is refused for a key that is revoked in the segment, even if the host shows it', async () => {
    const id = await makeTarget();
    const key = makeHostKey();
    await addTrust(t.sql, segmentId, { kind: 'revoked', publicKey: key.line }, t.caller);
    await see(id, key.line);
    const refused = { code: 'conflict', details: [{ path: 'fingerprint' }] };
    await expect(accept(id, key.fingerprint)).rejects.toMatchObject(refused);
    expect(await keysOf(id)).toEqual([`pending ${key.fingerprint}`]);
  });

  it('replaces a changed key only if the accepted one is named', async () => {
    const id = await makeTarget();
    const [old, next, third] = [makeHostKey(), makeHostKey('ecdsa-sha2-nistp256'), makeHostKey()];
    await see(id, old.line);
    await accept(id, old.fingerprint);
    await see(id, next.line);
    const conflict = { code: 'conflict', details: [{ path: 'replaces' }] };
    await expect(accept(id, next.fingerprint)).rejects.toMatchObject(conflict);
    await expect(accept(id, next.fingerprint, third.fingerprint)).rejects.toMatchObject(conflict);
    await accept(id, next.fingerprint, old.fingerprint);
    expect(await keysOf(id)).toEqual([`accepted ${next.fingerprint}`]);
    expect((await hostKeyLinesOf(t.sql, [id])).get(id)).toEqual([next.line]);
  });

  it('succeeds for one of two people who replace the same key at the same time', async () => {
    const id = await makeTarget();
    const [old, next] = [makeHostKey(), makeHostKey()];
    await see(id, old.line);
    await accept(id, old.fingerprint);
    await see(id, next.line);
    const both = await inTransaction(t.sql, async (tx) => {
      await lockTarget(tx, id, unrestricted);
      const replace = () => accept(id, next.fingerprint, old.fingerprint);
      const results = Promise.allSettled([replace(), replace()]);
      await waitUntilBlocked(t, 2);
      return { results };
    });
    const results = await both.results;
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
  });
});

describe('an OpenSSH key line', () => {
  it('is read without its comment', () => {
    const key = makeHostKey();
    expect(parseHostKeyLine(`  ${key.line}  a comment\n`)).toEqual({ keyType: 'ssh-ed25519', ...key });
  });

  it('is refused if its blob has another type, is truncated or is not base64', () => {
    const { line } = makeHostKey();
    const [type, base64] = line.split(' ');
    for (const text of [
      '',
      'ssh-ed25519',
      `ssh-rsa ${base64}`,
      `${type} ${base64?.slice(0, 20)}`,
      `${type} ####`,
      `${type} AAAA`,
      `${type} /////w==`,
      `${type}\0 ${base64}`,
      `${type} ${'A'.repeat(20_000)}`,
    ]) {
      expect(parseHostKeyLine(text), JSON.stringify(text)).toBeUndefined();
    }
  });
});
