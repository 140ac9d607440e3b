// Takes a roster that the owner of a segment has signed, and carries it out. A roster that would contradict the
// database is refused, with advice on what to sign instead.
import type { Segment } from '@opsconductor/protocol';
import { decodeBase64, type Roster, SealingError, verifyRoster } from '@opsconductor/protocol/sealing';
import { recordAudit } from '../../audit/record-audit.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { changeKeys, type KeyChangeRow, listKeyChanges } from '../../store/agents/agent-keys.ts';
import { shutOutAgent } from '../../store/agents/agent-lifecycle.ts';
import { lockAgent } from '../../store/agents/agent-sessions.ts';
import { type AgentRow, listSegmentAgents } from '../../store/agents/agents.ts';
import { deleteOffers, deleteOffersOf, listOffers } from '../../store/agents/segment-key-offers.ts';
import { agentsWithWrap, insertWrap } from '../../store/agents/segment-key-wraps.ts';
import {
  insertSegmentKey,
  listSegmentKeys,
  lockSegment,
  notifySegmentChanged,
  type SegmentRow,
  storeRoster,
  wantKeyRotation,
} from '../../store/agents/segments.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { getSegment } from '../list-segments.ts';
import { segmentFor } from '../segment-for.ts';
import { storedRoster } from './read-roster.ts';

export interface SignedByOwner {
  payload: string;
  signature: string;
}

/**
 * Takes the next roster of an owner-held segment: its members get the segment key, a generation that it is the first to
 * name becomes the current one, and an agent that it no longer names is revoked. Repeating the same roster changes
 * nothing.
 * @throws {AppError} `not_found`; `forbidden` without `agents.manage` on the segment; `invalid` for a roster that the
 * root did not sign, or of another segment; `conflict` for a managed root, an older roster, or one that names something
 * that does not exist.
 */
export async function takeRoster(
  { sql, installationId }: { sql: Sql; installationId: string },
  segmentId: number,
  signed: SignedByOwner,
  caller: Caller,
): Promise<Segment> {
  await segmentFor(sql, segmentId, 'agents.manage', caller);
  await inTransaction(sql, async (tx) => {
    const segment = await lockSegment(tx, segmentId);
    if (segment === undefined || !caller.authority.holdsOnSegment('agents.manage', segmentId)) {
      throw new MissingPermission(caller, 'agents.manage', `segment ${segmentId}`);
    }
    if (segment.rootMode !== 'owner_held') {
      throw new AppError(
        'conflict',
        `The root of segment ${segment.name} is managed: the server signs its roster.`,
      );
    }
    const roster = await verified(segment, installationId, signed);
    if (signed.payload === segment.rosterPayload) return;
    const agents = await listSegmentAgents(tx, segmentId);
    const changes = await listKeyChanges(tx, segmentId);
    const rekeyed = refuseStrangers(roster, agents, changes);
    for (const change of rekeyed) await changeKeys(tx, change);
    const generations = await takeGenerations(tx, segment, roster);
    const removed = await revokeMissing(tx, segment, roster, agents);
    if (!(await isHeldByMembersAlone(tx, segmentId, roster))) await wantKeyRotation(tx, segmentId);
    await storeRoster(tx, segmentId, { number: roster.number, signed, recoveryKey: roster.recoveryKey });
    await deleteOffers(tx, segmentId, roster.currentGeneration);
    // A newer offer may have arrived between what the owner was shown and what they signed; with the new keys its
    // signature could no longer be verified.
    await deleteOffersOf(
      tx,
      segmentId,
      rekeyed.map(({ agentId }) => agentId),
    );
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'segment.roster_signed',
      object: { kind: 'segment', id: segmentId },
      scope: { segmentId },
      detail: {
        name: segment.name,
        number: roster.number,
        members: roster.agents.map(({ name }) => name),
        ...(generations.length > 0 ? { newGenerations: generations } : {}),
        ...(removed.length > 0 ? { revoked: removed } : {}),
        ...(rekeyed.length > 0 ? { newKeysOf: namesOf(rekeyed, agents) } : {}),
      },
    });
    await notifySegmentChanged(tx, segmentId);
  });
  return getSegment(sql, segmentId, unrestricted);
}

async function verified(segment: SegmentRow, installationId: string, signed: SignedByOwner): Promise<Roster> {
  try {
    return await verifyRoster(segment.rootKey, signed, {
      installationId,
      segmentId: segment.id,
      minNumber: segment.rosterNumber,
      ...(segment.rosterPayload === null ? {} : { heldPayload: segment.rosterPayload }),
    });
  } catch (cause) {
    if (!(cause instanceof SealingError)) throw cause;
    const message = `${cause.message}.`;
    if (cause.reason === 'rolled_back') throw new AppError('conflict', message, { cause });
    const path = cause.reason === 'bad_signature' ? 'signature' : 'payload';
    throw new AppError('invalid', message, { cause, details: [{ path, message }] });
  }
}

function namesOf(changes: readonly KeyChangeRow[], agents: readonly AgentRow[]): string[] {
  const changed = new Set(changes.map(({ agentId }) => agentId));
  return agents.filter(({ id }) => changed.has(id)).map(({ name }) => name);
}

/**
 * Refuses members that are not agents of this segment with the keys that they have or have offered, and members that
 * were revoked.
 * @returns the offered keys that the roster names.
 */
function refuseStrangers(
  roster: Roster,
  agents: readonly AgentRow[],
  changes: readonly KeyChangeRow[],
): KeyChangeRow[] {
  const named: KeyChangeRow[] = [];
  for (const { agentId, name, signingKey, encryptionKey } of roster.agents) {
    const agent = agents.find(({ id }) => id === agentId);
    const isNamed = (keys: { signingKey: Buffer; encryptionKey: Buffer } | undefined) =>
      keys?.signingKey.equals(decodeBase64(signingKey)) === true &&
      keys.encryptionKey.equals(decodeBase64(encryptionKey));
    const change = changes.find((one) => one.agentId === agentId);
    if (change !== undefined && isNamed(change)) named.push(change);
    else if (agent === undefined || !isNamed(agent)) {
      throw new AppError(
        'conflict',
        `The roster names agent ${name}, which is not enrolled here with these keys. If that was done after the backup that was restored here, sign a roster without it (--remove ${name}) and enroll its machine again.`,
      );
    }
    if (agent?.state === 'revoked') {
      throw new AppError(
        'conflict',
        `Agent ${agent.name} was revoked: sign a roster without it (--remove ${agent.name}).`,
      );
    }
  }
  return named;
}

/** Stores generations that the roster is the first to name, with the wraps that their makers sent. */
async function takeGenerations(tx: Tx, segment: SegmentRow, roster: Roster): Promise<number[]> {
  const known = new Map(
    (await listSegmentKeys(tx, segment.id)).map((key) => [key.generation, key.publicKey]),
  );
  const offers = await listOffers(tx, segment.id);
  const taken: number[] = [];
  for (const key of [...roster.segmentKeys].sort((a, b) => a.generation - b.generation)) {
    const { generation } = key;
    const publicKey = Buffer.from(decodeBase64(key.publicKey));
    const before = known.get(generation);
    if (before !== undefined) {
      if (before.equals(publicKey)) continue;
      throw new AppError(
        'conflict',
        `The roster names another key of generation ${generation} than the segment has.`,
      );
    }
    await insertSegmentKey(tx, segment.id, { generation, publicKey });
    const offer = offers.find((one) => one.generation === generation && one.publicKey.equals(publicKey));
    if (offer !== undefined) {
      const { agentId, wrapped } = offer;
      await insertWrap(tx, { segmentId: segment.id, generation, agentId, wrapped });
    }
    taken.push(generation);
  }
  const named = new Set(roster.segmentKeys.map(({ generation }) => generation));
  const left = [...known.keys()].find((generation) => !named.has(generation));
  if (left !== undefined) {
    throw new AppError(
      'conflict',
      `The segment has generation ${left} of its key, which the roster does not name.`,
    );
  }
  return taken;
}

/** Revokes agents that the owner removed from the roster, permanently, like a revocation on the server. */
async function revokeMissing(
  tx: Tx,
  segment: SegmentRow,
  roster: Roster,
  agents: readonly AgentRow[],
): Promise<string[]> {
  const named = new Set(roster.agents.map(({ agentId }) => agentId));
  const before = new Set(storedRoster(segment)?.agents.map(({ agentId }) => agentId));
  const removed = agents.filter(({ id, state }) => before.has(id) && !named.has(id) && state !== 'revoked');
  for (const { id } of removed) {
    await lockAgent(tx, id);
    await shutOutAgent(tx, id, 'revoked');
  }
  return removed.map(({ name }) => name);
}

/**
 * Returns whether at least one member, and nobody else, holds the newest generation. If not, another one is needed: also
 * if its maker was revoked meanwhile, or if a restored database knows no holder.
 */
async function isHeldByMembersAlone(tx: Tx, segmentId: number, roster: Roster): Promise<boolean> {
  const holders = await agentsWithWrap(tx, segmentId, roster.currentGeneration);
  const members = new Set(roster.agents.map(({ agentId }) => agentId));
  return holders.length > 0 && holders.every((id) => members.has(id));
}
