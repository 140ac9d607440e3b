import { parseEnrollmentToken } from '@opsconductor/protocol';
import {
  decodeBase64,
  encodeBase64,
  fingerprint,
  generateSegmentKey,
  rosterMember,
  rosterSegmentKey,
  unwrapSegmentKey,
  verifyGeneration,
  verifyRoster,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertWrap, isWrappedFor, markWrapsOpened } from '../../store/agents/segment-key-wraps.ts';
import { lockSegment } from '../../store/agents/segments.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { insertApiToken } from '../../store/people/api-tokens.ts';
import { madeWith } from '../../store/people/made-with.ts';
import { insertUser } from '../../store/people/users.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { revokeAgent } from '../agents/revoke-agent.ts';
import { getSegment } from '../list-segments.ts';
import { offerSegmentKey } from '../segment-keys/offer-segment-key.ts';
import { sealingKeyOf } from '../segment-keys/sealing-key.ts';
import { segmentStateFor, storeWrap } from '../segment-state.ts';
import {
  asOfNow,
  enrollRequest,
  makeAgentKeys,
  makeFirstAgent,
  makeSegment,
  makeToken,
  openSession,
  segmentKeyOffer,
  setupInstallation,
  type TestInstallation,
  testOrigin,
  waitUntilBlocked,
} from '../testing.ts';
import { enrollAgent } from './enroll-agent.ts';
import { listEnrollmentTokens, revokeEnrollmentToken } from './enrollment-tokens.ts';

let t: TestInstallation;
beforeAll(async () => {
  t = await setupInstallation();
});
afterAll(() => t.close());

async function makeAgent(segmentId: number, name: string) {
  const keys = await makeAgentKeys();
  const token = await makeToken(t, segmentId);
  return { keys, token, enrolled: await enrollAgent(t, await enrollRequest(token, name, keys), testOrigin) };
}

describe('an enrollment token', () => {
  it('is stored as a hash only, and carries the root’s fingerprint and the CA pin', async () => {
    const segment = await makeSegment(t, 'token');
    const text = await makeToken(t, segment.id);
    const token = parseEnrollmentToken(text);
    expect(token?.caPin).toBe(`sha256:${'ab'.repeat(32)}`);
    const rootSha256 = Buffer.from(token?.rootSha256 ?? '', 'hex')
      .toString('base64')
      .replaceAll('=', '');
    expect(`SHA256:${rootSha256}`).toBe(segment.rootFingerprint);
    const [row] = await t.sql`
      select token_hash,
             expires_at between now() + interval '59 minutes' and now() + interval '61 minutes' as an_hour
        from enrollment_tokens where segment_id = ${segment.id}`;
    expect(row).toMatchObject({ anHour: true });
    const stored: Buffer = row?.tokenHash;
    for (const encoding of ['utf8', 'base64url'] as const)
      expect(stored.includes(Buffer.from(token?.secret ?? '-', encoding))).toBe(false);
  });

  it('is refused for a segment that does not exist', async () => {
    await expect(makeToken(t, 999_999)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('tokens that were not used', () => {
  const listed = async (segmentId: number) =>
    (await listEnrollmentTokens(t.sql, segmentId, t.caller, asOfNow())).items;

  it('are listed with who made them, newest first, until they are used or expire', async () => {
    const segment = await makeSegment(t, 'listed');
    const other = await makeSegment(t, 'listed-not');
    await makeToken(t, other.id);
    const used = await makeToken(t, segment.id);
    await makeToken(t, segment.id);
    await makeToken(t, segment.id);
    const [newest, second] = await listed(segment.id);
    expect(await listed(segment.id)).toHaveLength(3);
    expect(newest).toMatchObject({ createdBy: 'ada', admitsNobody: null });
    expect(newest?.id).toBeGreaterThan(second?.id ?? Number.NaN);
    await enrollAgent(t, await enrollRequest(used, 'listed-a', await makeAgentKeys()), testOrigin);
    await t.sql`update enrollment_tokens set expires_at = now() where id = ${second?.id ?? 0}`;
    expect(await listed(segment.id)).toEqual([newest]);
  });

  it('say with which API token they were made, and the agent that uses one is found from that API token', async () => {
    const segment = await makeSegment(t, 'made-with');
    const id = await insertApiToken(t.sql, {
      userId: t.caller.userId,
      name: 'provisioning',
      prefix: 'oct_123456',
      tokenHash: Buffer.from('made-with'),
      createdAt: new Date(),
      expiresAt: null,
    });
    const maker = { kind: 'api_token', id } as const;
    const token = await makeToken({ ...t, caller: { ...t.caller, maker } }, segment.id);
    await makeToken(t, segment.id);
    const told = (await listed(segment.id)).map((one) => one.madeWith);
    expect(told).toEqual([
      null,
      { ...maker, user: 'ada', name: 'provisioning', begunAt: null, hasEnded: false },
    ]);
    const found = () => madeWith(t.sql, [maker], asOfNow());
    expect(await found()).toMatchObject([{ kind: 'enrollment_token', segment: 'made-with' }]);
    const { agentId } = await enrollAgent(
      t,
      await enrollRequest(token, 'made-with-a', await makeAgentKeys()),
      testOrigin,
    );
    // As after a day, when used tokens are deleted.
    await t.sql`delete from enrollment_tokens where segment_id = ${segment.id}`;
    expect(await found()).toMatchObject([{ kind: 'agent', id: agentId, name: 'made-with-a' }]);
  });

  it('admit no agent once they are taken back', async () => {
    const segment = await makeSegment(t, 'revoked');
    const token = await makeToken(t, segment.id);
    const [{ id: tokenId } = { id: 0 }] = await listed(segment.id);
    await revokeEnrollmentToken(t.sql, { segmentId: segment.id, tokenId }, t.caller);
    const request = await enrollRequest(token, 'revoked-a', await makeAgentKeys());
    await expect(enrollAgent(t, request, testOrigin)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(await listed(segment.id)).toEqual([]);
  });

  it('can not be taken back once an agent has used them, and the answer says what to do', async () => {
    const segment = await makeSegment(t, 'used');
    const token = await makeToken(t, segment.id);
    const [{ id: tokenId } = { id: 0 }] = await listed(segment.id);
    await enrollAgent(t, await enrollRequest(token, 'used-a', await makeAgentKeys()), testOrigin);
    const revoking = revokeEnrollmentToken(t.sql, { segmentId: segment.id, tokenId }, t.caller);
    await expect(revoking).rejects.toMatchObject({ code: 'conflict' });
    expect(await t.sql`select from enrollment_tokens where id = ${tokenId}`).toHaveLength(1);
  });

  it('are listed without a name once the user who made them was deleted, and admit nobody', async () => {
    const segment = await makeSegment(t, 'orphan');
    const userId = await insertUser(t.sql, 'leaver', ['admin']);
    const token = await makeToken({ ...t, caller: { ...t.caller, userId } }, segment.id);
    await t.sql`delete from users where id = ${userId}`;
    const request = await enrollRequest(token, 'orphan-a', await makeAgentKeys());
    await expect(enrollAgent(t, request, testOrigin)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(await listed(segment.id)).toMatchObject([{ createdBy: null, admitsNobody: 'maker_deleted' }]);
  });

  it('are left alone by the number of another segment', async () => {
    const segment = await makeSegment(t, 'whose');
    const other = await makeSegment(t, 'not-whose');
    await makeToken(t, segment.id);
    const [{ id: tokenId } = { id: 0 }] = await listed(segment.id);
    await revokeEnrollmentToken(t.sql, { segmentId: other.id, tokenId }, t.caller);
    expect(await listed(segment.id)).toHaveLength(1);
  });
});

describe('enrolling', () => {
  it('admits an agent, proves the server and names the pinned root', async () => {
    const segment = await makeSegment(t, 'admits');
    const { enrolled, token } = await makeAgent(segment.id, 'admits-a');
    expect(enrolled).toMatchObject({
      agentName: 'admits-a',
      segmentId: segment.id,
      segmentName: 'admits',
      makesSegmentKey: true,
      generation: 0,
    });
    const { installationId, agentId } = enrolled;
    const generation = { installationId, agentId, generation: 0 };
    const serverKey = decodeBase64(enrolled.serverKey);
    expect(await verifyGeneration(serverKey, generation, enrolled.generationSignature)).toBe(true);
    expect(await fingerprint(decodeBase64(enrolled.segmentRoot))).toBe(segment.rootFingerprint);
    expect(parseEnrollmentToken(token)).toBeDefined();
  });

  it('gives the same answer again for the same keys, until the agent has connected', async () => {
    const segment = await makeSegment(t, 'again');
    const { keys, token, enrolled } = await makeAgent(segment.id, 'again-a');
    const request = await enrollRequest(token, 'again-a', keys);
    expect(await enrollAgent(t, request, testOrigin)).toEqual(enrolled);
    await openSession(t, enrolled.agentId);
    await expect(enrollAgent(t, request, testOrigin)).rejects.toMatchObject({ code: 'conflict' });
  });

  it('admits one of many agents that use one token at the same moment', async () => {
    const segment = await makeSegment(t, 'race');
    const token = await makeToken(t, segment.id);
    const requests = await Promise.all(
      [1, 2, 3].map(async (n) => enrollRequest(token, `race-${n}`, await makeAgentKeys())),
    );
    const enrolling = await inTransaction(t.sql, async (tx) => {
      await lockSegment(tx, segment.id);
      const started = requests.map((request) => enrollAgent(t, request, testOrigin));
      const results = Promise.allSettled(started);
      await waitUntilBlocked(t, requests.length);
      return { results };
    });
    const results = await enrolling.results;
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'conflict' });
    }
    const [row] = await t.sql`select count(*)::int as agents from agents where segment_id = ${segment.id}`;
    expect(row).toEqual({ agents: 1 });
  });

  it('tells a used, an expired, an unknown and a mistyped token apart', async () => {
    const segment = await makeSegment(t, 'tokens');
    const keys = await makeAgentKeys();
    const tryToken = async (token: string) => {
      const error = await enrollAgent(t, await enrollRequest(token, 'tokens-b', keys), testOrigin).catch(
        (e) => e,
      );
      return `${error.code}: ${error.message}`;
    };
    const used = await makeToken(t, segment.id);
    await enrollAgent(t, await enrollRequest(used, 'tokens-a', await makeAgentKeys()), testOrigin);
    const expired = await makeToken(t, segment.id);
    await t.sql`update enrollment_tokens set expires_at = clock_timestamp() where used_at is null
                   and segment_id = ${segment.id}`;
    const unknown = `${(await makeToken(t, segment.id)).replace(/^oce_.{10}/, 'oce_AAAAAAAAAA')}`;
    expect(await tryToken(used)).toMatch(/^conflict: .*used already/);
    expect(await tryToken(expired)).toMatch(/^unauthenticated: .*expired/);
    expect(await tryToken(unknown)).toMatch(/^unauthenticated: .*not known/);
    expect(await tryToken(`${'x'.repeat(60)}`)).toMatch(/^unauthenticated: .*copy the whole token again/);
  });

  it.each([
    ['lost the right', (userId: number) => t.sql`delete from role_grants where user_id = ${userId}`],
    [
      'has it on another segment',
      async (userId: number) => {
        const { id } = await makeSegment(t, 'elsewhere');
        await t.sql`update role_grants set segment_id = ${id} where user_id = ${userId}`;
      },
    ],
    ['was deactivated', (userId: number) => t.sql`update users set is_active = false where id = ${userId}`],
  ])('admits nobody by a token whose maker %s since, and does not consume it', async (what, withdraw) => {
    const segment = await makeSegment(t, what.replaceAll(' ', '-'));
    const userId = await insertUser(t.sql, what, ['admin']);
    const token = await makeToken({ ...t, caller: { ...t.caller, userId } }, segment.id);
    const request = await enrollRequest(token, segment.name, await makeAgentKeys());
    await withdraw(userId);
    await expect(enrollAgent(t, request, testOrigin)).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('may no longer enroll agents'),
    });
    const [pending] = (await listEnrollmentTokens(t.sql, segment.id, t.caller, asOfNow())).items;
    expect(pending).toMatchObject({
      createdBy: what,
      admitsNobody: what === 'was deactivated' ? 'maker_deactivated' : 'maker_lost_right',
    });
    await t.sql`update users set is_active = true where id = ${userId}`;
    await t.sql`delete from role_grants where user_id = ${userId}`;
    await t.sql`insert into role_grants ${t.sql({ userId, role: 'admin', segmentId: segment.id })}`;
    expect((await enrollAgent(t, request, testOrigin)).agentName).toBe(segment.name);
  });

  it('refuses keys that the sender does not hold, and leaves the token usable', async () => {
    const segment = await makeSegment(t, 'stolen');
    const token = await makeToken(t, segment.id);
    const mine = await makeAgentKeys();
    const theirs = await makeAgentKeys();
    const request = await enrollRequest(token, 'stolen-a', mine);
    const forged = { ...request, signingKey: encodeBase64(theirs.signing.publicKey) };
    await expect(enrollAgent(t, forged, testOrigin)).rejects.toMatchObject({ code: 'unauthenticated' });
    const renamed = { ...request, name: 'stolen-b' };
    await expect(enrollAgent(t, renamed, testOrigin)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect((await enrollAgent(t, request, testOrigin)).agentName).toBe('stolen-a');
  });

  it('refuses a taken name and a key that is enrolled, each naming its field', async () => {
    const segment = await makeSegment(t, 'taken');
    const { keys } = await makeAgent(segment.id, 'taken-a');
    const again = enrollRequest(await makeToken(t, segment.id), 'taken-a', await makeAgentKeys());
    await expect(enrollAgent(t, await again, testOrigin)).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'name' }],
    });
    const cloned = enrollRequest(await makeToken(t, segment.id), 'taken-b', keys);
    await expect(enrollAgent(t, await cloned, testOrigin)).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'signingKey' }],
    });
  });
});

describe('the segment key', () => {
  it('comes from the first agent, and the roster then names both', async () => {
    const segment = await makeSegment(t, 'first-key');
    const { enrolled, segmentKey, keys } = await makeFirstAgent(t, segment.id, 'first-key-a');
    expect((await getSegment(t.sql, segment.id, unrestricted)).keyGeneration).toBe(1);
    const state = await segmentStateFor(t.sql, enrolled.agentId);
    const roster = await verifyRoster(
      decodeBase64(enrolled.segmentRoot),
      state?.roster ?? { payload: '', signature: '' },
      { installationId: t.identity.installationId, segmentId: segment.id, minNumber: 1 },
    );
    expect(rosterSegmentKey(roster)).toEqual(segmentKey.publicKey);
    expect(rosterMember(roster, enrolled.agentId)?.encryptionKey).toBe(
      encodeBase64(keys.encryption.publicKey),
    );
    expect(state?.wraps).toHaveLength(1);
    expect(state?.wanting).toEqual([]);
  });

  it('is accepted from one of two agents that offer at the same time; repeating that offer is still accepted', async () => {
    const segment = await makeSegment(t, 'two-offers');
    const agents = [await makeAgent(segment.id, 'two-offers-a'), await makeAgent(segment.id, 'two-offers-b')];
    expect(agents.map((agent) => agent.enrolled.makesSegmentKey)).toEqual([true, true]);
    const offers = await Promise.all(
      agents.map(async ({ enrolled, keys }) => segmentKeyOffer(enrolled, keys, await generateSegmentKey())),
    );
    const results = await Promise.all(offers.map((offer) => offerSegmentKey(t, offer, testOrigin)));
    expect(results.map((result) => result.accepted).sort()).toEqual([false, true]);
    expect(await Promise.all(offers.map((offer) => offerSegmentKey(t, offer, testOrigin)))).toEqual(results);
    const key = await sealingKeyOf(t.sql, t.identity.installationId, segment.id, t.caller);
    const winner = offers[results.findIndex((result) => result.accepted)];
    expect(key.publicKey).toBe(winner?.segmentPublicKey);
  });

  it('is refused if the agent does not sign it, or is not active', async () => {
    const segment = await makeSegment(t, 'bad-offer');
    const { enrolled, keys } = await makeAgent(segment.id, 'bad-offer-a');
    const offer = await segmentKeyOffer(enrolled, keys, await generateSegmentKey());
    const other = await generateSegmentKey();
    const swapped = { ...offer, segmentPublicKey: encodeBase64(other.publicKey) };
    await expect(offerSegmentKey(t, swapped, testOrigin)).rejects.toMatchObject({ code: 'unauthenticated' });
    await t.sql`update agents set state = 'disabled' where id = ${enrolled.agentId}`;
    await expect(offerSegmentKey(t, offer, testOrigin)).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(offerSegmentKey(t, { ...offer, wrapped: 'AAAA' }, testOrigin)).rejects.toMatchObject({
      code: 'invalid',
    });
    expect((await getSegment(t.sql, segment.id, unrestricted)).keyGeneration).toBe(0);
  });

  it('is refused from an agent that is revoked while its offer waits for its turn', async () => {
    const segment = await makeSegment(t, 'revoked-offer');
    const { enrolled, keys } = await makeAgent(segment.id, 'revoked-offer-a');
    const offer = await segmentKeyOffer(enrolled, keys, await generateSegmentKey());
    const deps = { sql: t.sql, masterKey: t.masterKey, installationId: t.identity.installationId };
    const both = await inTransaction(t.sql, async (tx) => {
      await lockSegment(tx, segment.id);
      const revoked = revokeAgent(deps, enrolled.agentId, t.caller);
      await waitUntilBlocked(t, 1);
      const offered = offerSegmentKey(t, offer, testOrigin);
      await waitUntilBlocked(t, 2);
      return { results: Promise.allSettled([revoked, offered]) };
    });
    expect(await both.results).toMatchObject([
      { status: 'fulfilled', value: { state: 'revoked' } },
      { status: 'rejected', reason: { code: 'unauthenticated' } },
    ]);
    expect((await getSegment(t.sql, segment.id, unrestricted)).keyGeneration).toBe(0);
    const next = await makeAgent(segment.id, 'revoked-offer-b');
    expect(next.enrolled.makesSegmentKey).toBe(true);
  });

  it('does not exist before the first agent, so nothing can be sealed', async () => {
    const segment = await makeSegment(t, 'no-key');
    await expect(sealingKeyOf(t.sql, t.identity.installationId, segment.id, t.caller)).rejects.toMatchObject({
      code: 'conflict',
    });
  });
});

describe('a second agent', () => {
  it('is named in the next roster, and a peer’s wrap brings it the key', async () => {
    const segment = await makeSegment(t, 'peers');
    const first = await makeFirstAgent(t, segment.id, 'peers-a');
    const second = await makeAgent(segment.id, 'peers-b');
    expect(second.enrolled.makesSegmentKey).toBe(false);
    const wanting = [{ agentId: second.enrolled.agentId, generation: 1 }];
    expect((await segmentStateFor(t.sql, first.enrolled.agentId))?.wanting).toEqual(wanting);
    // An agent that does not hold the key yet can't wrap it, so it is not asked to.
    expect((await segmentStateFor(t.sql, second.enrolled.agentId))?.wanting).toEqual([]);

    const roster = JSON.parse((await segmentStateFor(t.sql, first.enrolled.agentId))?.roster.payload ?? '{}');
    expect(roster.number).toBe(2);
    expect(roster.agents.map((agent: { name: string }) => agent.name)).toEqual(['peers-a', 'peers-b']);
    const binding = {
      installationId: t.identity.installationId,
      segmentId: segment.id,
      generation: 1,
      recipient: second.enrolled.agentId,
      segmentPublicKey: first.segmentKey.publicKey,
    };
    const wrapped = await wrapSegmentKey({
      segmentPrivateKey: first.segmentKey.privateKey,
      recipientPublicKey: second.keys.encryption.publicKey,
      binding,
    });
    const wrap = {
      byAgentId: first.enrolled.agentId,
      agentId: second.enrolled.agentId,
      generation: 1,
      wrapped,
    };
    const forKey = ({ publicKey }: { publicKey: Uint8Array }) => ({ encryptionKey: encodeBase64(publicKey) });
    const late = { ...wrap, ...forKey(first.keys.encryption) };
    expect(await inTransaction(t.sql, (tx) => storeWrap(tx, late))).toBe(false);
    expect((await segmentStateFor(t.sql, first.enrolled.agentId))?.wanting).toHaveLength(1);
    const fresh = { ...wrap, ...forKey(second.keys.encryption) };
    expect(await inTransaction(t.sql, (tx) => storeWrap(tx, fresh))).toBe(true);
    // All peers are asked at once; the wraps of the others are not needed.
    expect(await inTransaction(t.sql, (tx) => storeWrap(tx, wrap))).toBe(false);
    expect(await isWrappedFor(t.sql, wrap)).toBe(true);
    await t.sql`update segment_key_wraps set wrapped_at = wrapped_at - interval '1 minute'`;
    expect(await isWrappedFor(t.sql, wrap)).toBe(false);
    expect(await inTransaction(t.sql, (tx) => storeWrap(tx, wrap))).toBe(true);
    // It has a wrap, but has not yet shown that it could open it.
    const third = (await makeAgent(segment.id, 'peers-c')).enrolled.agentId;
    expect((await segmentStateFor(t.sql, second.enrolled.agentId))?.wanting).toEqual([]);
    const received = (await segmentStateFor(t.sql, second.enrolled.agentId))?.wraps[0];
    const recipientPrivateKey = second.keys.encryption.privateKey;
    const opened = await unwrapSegmentKey({ recipientPrivateKey, wrapped: received?.wrapped ?? '', binding });
    expect(opened).toEqual(first.segmentKey.privateKey);
    expect(await markWrapsOpened(t.sql, wrap.agentId, [1, 2])).toEqual([1]);
    expect(await markWrapsOpened(t.sql, wrap.agentId, [1])).toEqual([]);
    expect(await inTransaction(t.sql, (tx) => storeWrap(tx, wrap))).toBe(false);
    for (const { enrolled } of [first, second]) {
      const { wanting } = (await segmentStateFor(t.sql, enrolled.agentId)) ?? {};
      expect(wanting).toEqual([{ agentId: third, generation: 1 }]);
    }
  });

  it('is not left without the key by a peer whose wrap does not open', async () => {
    const segment = await makeSegment(t, 'useless-wraps');
    const first = await makeFirstAgent(t, segment.id, 'useless-a');
    const hostile = await makeAgent(segment.id, 'useless-b');
    const newcomer = (await makeAgent(segment.id, 'useless-c')).enrolled.agentId;
    const byAgentId = hostile.enrolled.agentId;
    const wrapped = encodeBase64(new Uint8Array(81));
    const row = { segmentId: segment.id, generation: 1, agentId: byAgentId, wrapped };
    await inTransaction(t.sql, (tx) => insertWrap(tx, row));
    await markWrapsOpened(t.sql, byAgentId, [1]);
    await inTransaction(t.sql, (tx) =>
      storeWrap(tx, { byAgentId, agentId: newcomer, generation: 1, wrapped }),
    );
    const wanting = async () => (await segmentStateFor(t.sql, first.enrolled.agentId))?.wanting;
    expect(await wanting()).toEqual([]);
    await t.sql`update segment_key_wraps set wrapped_at = wrapped_at - interval '1 minute'`;
    expect(await wanting()).toEqual([{ agentId: newcomer, generation: 1 }]);
  });

  it('gets no wrap from another segment or from an agent without the key, or if it is not active', async () => {
    const here = await makeSegment(t, 'wraps-here');
    const there = await makeSegment(t, 'wraps-there');
    const first = await makeFirstAgent(t, here.id, 'wraps-a');
    const stranger = await makeFirstAgent(t, there.id, 'wraps-x');
    const newcomer = await makeAgent(here.id, 'wraps-b');
    const third = await makeAgent(here.id, 'wraps-c');
    const wrapped = encodeBase64(new Uint8Array(81));
    const store = (byAgentId: number, agentId: number) =>
      inTransaction(t.sql, (tx) => storeWrap(tx, { byAgentId, agentId, generation: 1, wrapped }));
    const forbidden = { code: 'forbidden' };
    await expect(store(stranger.enrolled.agentId, newcomer.enrolled.agentId)).rejects.toMatchObject(
      forbidden,
    );
    await expect(store(third.enrolled.agentId, newcomer.enrolled.agentId)).rejects.toMatchObject(forbidden);
    await t.sql`update agents set state = 'revoked' where id = ${newcomer.enrolled.agentId}`;
    await expect(store(first.enrolled.agentId, newcomer.enrolled.agentId)).rejects.toMatchObject(forbidden);
  });

  it('leaves the roster when it is revoked, and stays listed as revoked with the number of that roster', async () => {
    const segment = await makeSegment(t, 'revoking');
    const first = await makeFirstAgent(t, segment.id, 'revoking-a');
    const gone = await makeAgent(segment.id, 'revoking-b');
    await t.sql`update agents set state = 'revoked' where id = ${gone.enrolled.agentId}`;
    await makeAgent(segment.id, 'revoking-c');
    await makeAgent(segment.id, 'revoking-d');
    const state = await segmentStateFor(t.sql, first.enrolled.agentId);
    const roster = await verifyRoster(
      decodeBase64(first.enrolled.segmentRoot),
      state?.roster ?? { payload: '', signature: '' },
      { installationId: t.identity.installationId, segmentId: segment.id, minNumber: 1 },
    );
    expect(roster.number).toBe(4);
    expect(roster.agents.map((agent) => agent.name)).toEqual(['revoking-a', 'revoking-c', 'revoking-d']);
    expect(roster.revoked).toEqual([{ agentId: gone.enrolled.agentId, atNumber: 3 }]);
  });
});
