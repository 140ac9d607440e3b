import type { Labels } from '@opsconductor/protocol';
import { encodeBase64 } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import { createCredential, replaceCredential } from '../../credentials/edit-credentials.ts';
import { listCredentials } from '../../credentials/list-credentials.ts';
import { AppError } from '../../errors.ts';
import { lockSegment } from '../../store/agents/segments.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { wantNewKeys } from '../agent-keys/want-new-keys.ts';
import { enrollAgent } from '../enrollment/enroll-agent.ts';
import { getSegment } from '../list-segments.ts';
import { sealingKeyOf } from '../segment-keys/sealing-key.ts';
import { takeKeyGeneration } from '../segment-keys/take-key-generation.ts';
import { segmentStateFor } from '../segment-state.ts';
import {
  enrollRequest,
  generationOffer,
  makeAgentKeys,
  makeFirstAgent,
  makeSegment,
  makeToken,
  sealedCredentialRequest,
  setupInstallation,
  type TestInstallation,
  testOrigin,
} from '../testing.ts';
import { disableAgent, enableAgent } from './disable-agent.ts';
import { drainAgent, putAgentLabels, undrainAgent } from './drain-agent.ts';
import { getAgent, listAgents } from './list-agents.ts';
import { revokeAgent } from './revoke-agent.ts';

let t: TestInstallation;
let deps: TestInstallation & { installationId: string };
beforeAll(async () => {
  t = await setupInstallation();
  deps = { ...t, installationId: t.identity.installationId };
});
afterAll(() => t.close());

const audited = async (agentId: number) =>
  (
    await t.sql<{ action: string }[]>`
      select action from audit_log where object_kind = 'agent' and object_id = ${String(agentId)}
        and actor_kind = 'user' order by id`
  ).map(({ action }) => action);

/** Makes a segment with its first agent and a second one that has the segment key. */
async function makePair(name: string) {
  const segment = await makeSegment(t, name);
  const first = await makeFirstAgent(t, segment.id, `${name}-a`);
  const keys = await makeAgentKeys();
  const request = await enrollRequest(await makeToken(t, segment.id), `${name}-b`, keys);
  const second = { keys, enrolled: await enrollAgent(t, request, testOrigin) };
  await t.sql`
    insert into segment_key_wraps (segment_id, generation, agent_id, wrapped, opened_at)
    values (${segment.id}, 1, ${second.enrolled.agentId}, 'opened by the test', now())`;
  return { segmentId: segment.id, first, second };
}

const rosterOf = async (segmentId: number) => {
  const row = await inTransaction(t.sql, (tx) => lockSegment(tx, segmentId));
  const { agents, revoked, number, currentGeneration } = JSON.parse(row?.rosterPayload ?? '{}') as {
    agents: { agentId: number }[];
    revoked: { agentId: number }[];
    number: number;
    currentGeneration: number;
  };
  return {
    members: agents.map(({ agentId }) => agentId),
    revoked: revoked.map(({ agentId }) => agentId),
    number,
    currentGeneration,
  };
};

describe('draining and labels', () => {
  it('is done once, undone once, and each is audited', async () => {
    const { first } = await makePair('drain');
    const { agentId } = first.enrolled;
    const drained = await drainAgent(t.sql, agentId, t.caller);
    expect(drained.drainRequestedAt).not.toBeNull();
    expect((await drainAgent(t.sql, agentId, t.caller)).drainRequestedAt).toBe(drained.drainRequestedAt);
    expect((await undrainAgent(t.sql, agentId, t.caller)).drainRequestedAt).toBeNull();
    await undrainAgent(t.sql, agentId, t.caller);
    const labels = { rack: '7', spare: '' };
    expect((await putAgentLabels(t.sql, agentId, { labels }, t.caller)).labels).toEqual(labels);
    expect(await audited(agentId)).toEqual(['agent.drained', 'agent.undrained', 'agent.labelled']);
  });

  it('labels that somebody else has changed meanwhile are not replaced', async () => {
    const { first } = await makePair('relabelled');
    const { agentId } = first.enrolled;
    const put = (labels: Labels, was: Labels) =>
      putAgentLabels(t.sql, agentId, { labels, expected: { labels: was } }, t.caller);
    await put({ rack: '7' }, {});
    await expect(put({ spare: '' }, {})).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'expected.labels', message: 'Is {"rack":"7"} by now.' }],
    });
    expect((await put({ rack: '7', spare: '' }, { rack: '7' })).labels).toEqual({ rack: '7', spare: '' });
  });

  it('needs the right to manage agents of the segment; without the right to read it, nothing is found', async () => {
    const { segmentId, first } = await makePair('rights');
    const { agentId } = first.enrolled;
    const on = (role: 'viewer' | 'admin', id: number) =>
      new Authority([{ role, permission: null, scope: { kind: 'segment', id } }]);
    const act = (authority: Authority) => drainAgent(t.sql, agentId, { ...t.caller, authority });
    await expect(act(on('viewer', segmentId))).rejects.toMatchObject({ code: 'forbidden' });
    await expect(act(on('admin', segmentId + 1))).rejects.toMatchObject({ code: 'not_found' });
    expect((await act(on('admin', segmentId))).drainRequestedAt).not.toBeNull();
  });
});

describe('disabling', () => {
  it('keeps the agent out until it is enabled; then the roster names it again', async () => {
    const { segmentId, first, second } = await makePair('disable');
    const { agentId } = second.enrolled;
    expect((await disableAgent(t, agentId, t.caller)).state).toBe('disabled');
    expect(await segmentStateFor(t.sql, agentId)).toBeUndefined();
    // Another change of the roster leaves the agent out.
    await enrollAgent(
      t,
      await enrollRequest(await makeToken(t, segmentId), 'disable-c', await makeAgentKeys()),
      testOrigin,
    );
    expect((await rosterOf(segmentId)).members).not.toContain(agentId);
    expect((await enableAgent(deps, agentId, t.caller)).state).toBe('offline');
    expect((await rosterOf(segmentId)).members).toEqual(
      expect.arrayContaining([first.enrolled.agentId, agentId]),
    );
    expect(await audited(agentId)).toEqual(['agent.disabled', 'agent.enabled']);
  });

  it('does not bring back a quarantined agent: it is revoked, and its machine enrolled again under its name', async () => {
    const { segmentId, first, second } = await makePair('quarantine');
    const { agentId, agentName } = second.enrolled;
    await t.sql`update agents set state = 'quarantined' where id = ${agentId}`;
    await expect(enableAgent(deps, agentId, t.caller)).rejects.toMatchObject({ code: 'conflict' });
    await expect(wantNewKeys(deps, agentId, t.caller)).rejects.toMatchObject({ code: 'conflict' });
    expect((await revokeAgent(deps, agentId, t.caller)).state).toBe('revoked');
    const keys = await makeAgentKeys();
    const request = await enrollRequest(await makeToken(t, segmentId), agentName, keys);
    const again = await enrollAgent(t, request, testOrigin);
    const state = await segmentStateFor(t.sql, first.enrolled.agentId);
    const { agents, revoked } = JSON.parse(state?.roster.payload ?? '');
    expect(agents).toMatchObject([
      { agentId: first.enrolled.agentId },
      { agentId: again.agentId, name: agentName, signingKey: encodeBase64(keys.signing.publicKey) },
    ]);
    expect(revoked).toMatchObject([{ agentId }]);
  });
});

describe('revoking', () => {
  it('removes the agent from the roster, asks the others for a new generation, and lists what to rotate', async () => {
    const { segmentId, first, second } = await makePair('revoke');
    const gone = second.enrolled.agentId;
    const stays = first.enrolled.agentId;
    const sealed = await sealedCredentialRequest(t, segmentId, 'old');
    await createCredential(t.sql, sealed, t.caller);
    const before = await rosterOf(segmentId);
    const revoked = await revokeAgent(deps, gone, t.caller);
    expect(revoked).toMatchObject({
      state: 'revoked',
      revocation: { remainingAgents: 1, credentials: 1 },
    });
    expect(await rosterOf(segmentId)).toMatchObject({
      members: [stays],
      revoked: [gone],
      number: before.number + 1,
    });
    expect(await segmentStateFor(t.sql, gone)).toBeUndefined();
    expect(await segmentStateFor(t.sql, stays)).toMatchObject({ makeGeneration: 2 });
    expect(await getSegment(t.sql, segmentId, unrestricted)).toMatchObject({
      keyRotationWantedAt: expect.any(String),
      credentialsToRotate: 1,
    });

    // Nothing is sealed to the generation that the revoked agent has.
    const { installationId } = deps;
    await expect(sealingKeyOf(t.sql, installationId, segmentId, t.caller)).rejects.toThrow(/being replaced/);
    await expect(createCredential(t.sql, { ...sealed, name: 'late' }, t.caller)).rejects.toThrow(
      /being replaced/,
    );

    const offer = await generationOffer(deps, first, 2);
    expect(await takeKeyGeneration(deps, stays, offer)).toBe(true);
    expect(await takeKeyGeneration(deps, stays, offer)).toBe(false);
    expect(await rosterOf(segmentId)).toMatchObject({ members: [stays], currentGeneration: 2 });
    expect(await segmentStateFor(t.sql, stays)).not.toHaveProperty('makeGeneration');
    const key = await sealingKeyOf(t.sql, installationId, segmentId, t.caller);
    expect([key.generation, key.publicKey]).toEqual([2, offer.segmentPublicKey]);

    const toRotate = async () =>
      (await listCredentials(t.sql, { segmentId, toRotate: true }, unrestricted)).items.map(
        ({ name }) => name,
      );
    expect(await toRotate()).toEqual(['old']);
    const next = await sealedCredentialRequest(t, segmentId, 'old', { id: sealed.id, version: 2 });
    const version = { version: 2, sealed: next.sealed };
    expect(await replaceCredential(t.sql, sealed.id, version, t.caller)).toMatchObject({
      version: 2,
      generation: 2,
      toRotate: false,
    });
    await expect(replaceCredential(t.sql, sealed.id, version, t.caller)).rejects.toMatchObject({
      code: 'conflict',
      details: [{ path: 'version' }],
    });
    expect(await toRotate()).toEqual([]);
    expect(await getSegment(t.sql, segmentId, unrestricted)).toMatchObject({
      keyRotationWantedAt: null,
      credentialsToRotate: 0,
    });
  });

  it('accepts no generation from an agent that is revoked, did not sign it, or was not asked', async () => {
    const { first, second } = await makePair('offers');
    const stays = first.enrolled.agentId;
    const unasked = await generationOffer(deps, first, 2);
    expect(await takeKeyGeneration(deps, stays, unasked)).toBe(false);
    const stale = await generationOffer(deps, second, 2);
    await revokeAgent(deps, second.enrolled.agentId, t.caller);
    const refused = { code: 'unauthenticated' };
    await expect(takeKeyGeneration(deps, second.enrolled.agentId, stale)).rejects.toMatchObject(refused);
    await expect(takeKeyGeneration(deps, stays, stale)).rejects.toMatchObject(refused);
    const skipping = await generationOffer(deps, first, 3);
    expect(await takeKeyGeneration(deps, stays, skipping)).toBe(false);
  });

  it('needs no new key for an agent that never had it, and frees the name', async () => {
    const { segmentId, first } = await makePair('keyless');
    const keys = await makeAgentKeys();
    const enroll = async () =>
      enrollAgent(t, await enrollRequest(await makeToken(t, segmentId), 'keyless-new', keys), testOrigin);
    const { agentId } = await enroll();
    const revoked = await revokeAgent(deps, agentId, t.caller);
    expect(revoked.revocation).toEqual({ remainingAgents: 2, credentials: 0 });
    expect(await segmentStateFor(t.sql, first.enrolled.agentId)).not.toHaveProperty('makeGeneration');
    const request = await enrollRequest(await makeToken(t, segmentId), 'keyless-new', await makeAgentKeys());
    const again = await enrollAgent(t, request, testOrigin);
    expect(again.agentId).not.toBe(agentId);
    for (const act of [
      () => drainAgent(t.sql, agentId, t.caller),
      () => disableAgent(t, agentId, t.caller),
      () => enableAgent(deps, agentId, t.caller),
    ]) {
      await expect(act()).rejects.toThrow(AppError);
    }
    expect((await listAgents(t.sql, { segmentId }, unrestricted)).items.map(({ id }) => id)).not.toContain(
      agentId,
    );
  });

  it('of the last agent waits for the next, which makes the new generation', async () => {
    const segment = await makeSegment(t, 'last');
    const { enrolled } = await makeFirstAgent(t, segment.id, 'last-a');
    expect((await getAgent(t.sql, enrolled.agentId, unrestricted)).revocation.remainingAgents).toBe(0);
    await revokeAgent(deps, enrolled.agentId, t.caller);
    const keys = await makeAgentKeys();
    const request = await enrollRequest(await makeToken(t, segment.id), 'last-b', keys);
    const next = { keys, enrolled: await enrollAgent(t, request, testOrigin) };
    expect(next.enrolled.makesSegmentKey).toBe(false);
    expect(await segmentStateFor(t.sql, next.enrolled.agentId)).toMatchObject({
      wraps: [],
      makeGeneration: 2,
    });
    const offer = await generationOffer(deps, next, 2);
    expect(await takeKeyGeneration(deps, next.enrolled.agentId, offer)).toBe(true);
    expect(await segmentStateFor(t.sql, next.enrolled.agentId)).toMatchObject({
      wraps: [{ generation: 2 }],
    });
  });
});
