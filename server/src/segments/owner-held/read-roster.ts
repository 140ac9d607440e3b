// Returns what an owner needs to sign the next roster of a segment. The owner need not trust it: they compare the
// agents' keys with what the machines show, and offers are signed by agents.
import type { Segment, SegmentRoster } from '@opsconductor/protocol';
import { encodeBase64, type Roster } from '@opsconductor/protocol/sealing';
import type { Caller } from '../../caller.ts';
import { listKeyChanges } from '../../store/agents/agent-keys.ts';
import { type AgentRow, listSegmentAgents } from '../../store/agents/agents.ts';
import { listOffers } from '../../store/agents/segment-key-offers.ts';
import { listSegmentOverviews, type SegmentRow } from '../../store/agents/segments.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { shownChange } from '../agent-keys/take-new-keys.ts';
import { segmentFor } from '../segment-for.ts';

/** @throws {AppError} `not_found`. */
export async function readRoster(
  sql: Queryable,
  installationId: string,
  segmentId: number,
  caller: Pick<Caller, 'name' | 'authority'>,
): Promise<SegmentRoster> {
  const segment = await segmentFor(sql, segmentId, 'read', caller);
  const agents = await listSegmentAgents(sql, segmentId);
  const offers = await listOffers(sql, segmentId);
  const keyChanges = await listKeyChanges(sql, segmentId);
  const [overview] = await listSegmentOverviews(sql, unrestricted, { id: segmentId });
  const { rosterPayload: payload, rosterSignature: signature } = segment;
  return {
    installationId,
    segmentId,
    segmentName: segment.name,
    root: segment.rootMode,
    rootPublicKey: encodeBase64(segment.rootKey),
    roster: payload === null || signature === null ? null : { payload, signature },
    agents: agents.map(({ id, name, state, signingKey, encryptionKey }) => ({
      id,
      name,
      state,
      signingKey: encodeBase64(signingKey),
      encryptionKey: encodeBase64(encryptionKey),
    })),
    keyChanges: keyChanges.map(shownChange),
    seenNewer: overview?.lostRoster?.agents ?? [],
    offers: offers.map(({ publicKey, ...offer }) => ({ ...offer, publicKey: encodeBase64(publicKey) })),
  };
}

/** Returns what the owner of a segment has to sign; null if there is nothing. */
export async function toSign(
  sql: Queryable,
  segment: Pick<SegmentRow, 'id' | 'rootMode' | 'rosterPayload'>,
): Promise<Segment['toSign']> {
  if (segment.rootMode !== 'owner_held') return null;
  const agents = await listSegmentAgents(sql, segment.id);
  const roster = storedRoster(segment);
  const named = new Set(roster?.agents.map(({ agentId }) => agentId));
  const names = (wanted: (agent: AgentRow) => boolean) => agents.filter(wanted).map(({ name }) => name);
  const admit = names(({ id, state }) => state === 'active' && !named.has(id));
  const remove = names(({ id, state }) => state === 'revoked' && named.has(id));
  const newKey = (await listOffers(sql, segment.id)).some(({ agentId }) =>
    agents.some(({ id, state }) => id === agentId && state === 'active'),
  );
  const changing = new Set((await listKeyChanges(sql, segment.id)).map(({ agentId }) => agentId));
  const rekey = names(({ id }) => named.has(id) && changing.has(id));
  const waits = admit.length + remove.length + rekey.length > 0 || newKey;
  return waits ? { admit, remove, rekey, newKey } : null;
}

/** Returns the stored roster, which was verified when it arrived. */
export function storedRoster({ rosterPayload }: Pick<SegmentRow, 'rosterPayload'>): Roster | undefined {
  return rosterPayload === null ? undefined : (JSON.parse(rosterPayload) as Roster);
}
