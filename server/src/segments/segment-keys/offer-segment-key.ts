// The first agent of a segment makes its key and offers the public half. If several offer one, the first is accepted.
import type { SegmentKeyRequest, SegmentKeyResponse } from '@opsconductor/protocol';
import {
  decodeBase64,
  publicKeyBytes,
  segmentKeyStatement,
  verifyBase64,
} from '@opsconductor/protocol/sealing';
import { recordAudit } from '../../audit/record-audit.ts';
import { AppError } from '../../errors.ts';
import { findAgent } from '../../store/agents/agents.ts';
import { insertWrap, listWraps } from '../../store/agents/segment-key-wraps.ts';
import {
  insertSegmentKey,
  listSegmentKeys,
  lockSegment,
  type SegmentRow,
} from '../../store/agents/segments.ts';
import type { Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import type { EnrollmentDeps } from '../enrollment/enroll-agent.ts';
import { keepOffer } from '../owner-held/keep-offer.ts';
import { publishRoster } from '../publish-roster.ts';
import { requireWrap } from '../segment-state.ts';

const firstGeneration = 1;

/**
 * Takes the segment key that an agent made, unless the segment has one. If the offer is repeated, the answer is the
 * same.
 * @throws {AppError} `unauthenticated` for an agent that is unknown or not active, or an invalid signature.
 */
export async function offerSegmentKey(
  deps: EnrollmentDeps,
  request: SegmentKeyRequest,
  origin: { address: string; requestId: string },
): Promise<SegmentKeyResponse> {
  requireWrap(request.wrapped);
  const publicKey = readPublicKey(request.segmentPublicKey);
  return inTransaction(deps.sql, async (tx) => {
    const agent = await findAgent(tx, request.agentId);
    const statement = segmentKeyStatement({
      installationId: deps.identity.installationId,
      segmentId: agent?.segmentId ?? 0,
      agentId: request.agentId,
      generation: firstGeneration,
      segmentPublicKey: publicKey,
      wrapped: request.wrapped,
    });
    const proven =
      agent !== undefined &&
      agent.state === 'active' &&
      (await verifyBase64(agent.signingKey, statement, request.signature));
    if (!proven) throw notProven();
    const segment = await lockSegment(tx, agent.segmentId);
    if (segment === undefined) throw new Error(`agent ${agent.id} has no segment`);
    // Read again under the lock: the agent may have been revoked, or have new keys, meanwhile.
    const now = await findAgent(tx, agent.id);
    if (now?.state !== 'active' || !now.signingKey.equals(agent.signingKey)) throw notProven();
    if (segment.keyGeneration > 0) return { accepted: await isOwn(tx, segment, agent.id, publicKey) };
    const { wrapped, signature } = request;
    if (segment.rootMode === 'owner_held') {
      const offer = { agentId: agent.id, generation: firstGeneration, publicKey, wrapped, signature };
      await keepOffer(tx, { segment, agent, offer, origin });
      return { accepted: true };
    }
    await insertSegmentKey(tx, segment.id, { generation: firstGeneration, publicKey });
    await insertWrap(tx, {
      segmentId: segment.id,
      generation: firstGeneration,
      agentId: agent.id,
      wrapped,
    });
    const { identity, masterKey } = deps;
    await publishRoster(tx, { segment, installationId: identity.installationId, masterKey });
    await recordAudit(tx, {
      actor: { kind: 'agent', id: agent.id, name: agent.name },
      action: 'segment_key.created',
      object: { kind: 'segment', id: segment.id },
      scope: { segmentId: segment.id },
      detail: { generation: firstGeneration },
      origin,
    });
    return { accepted: true };
  });
}

function notProven(): AppError {
  return new AppError('unauthenticated', 'This segment key is not signed by an active agent.');
}

/** Returns whether the segment's key is the one that this agent offered before. */
async function isOwn(tx: Tx, segment: SegmentRow, agentId: number, publicKey: Buffer): Promise<boolean> {
  const [first] = await listSegmentKeys(tx, segment.id);
  const wraps = await listWraps(tx, agentId);
  const offeredBefore = wraps.some((wrap) => wrap.generation === firstGeneration);
  return offeredBefore && first?.publicKey.equals(publicKey) === true;
}

function readPublicKey(text: string): Buffer {
  try {
    return Buffer.from(decodeBase64(text, publicKeyBytes, 'segmentPublicKey'));
  } catch (cause) {
    const message = `Must be base64 of ${publicKeyBytes} bytes.`;
    throw new AppError('invalid', `segmentPublicKey: ${message}`, {
      cause,
      details: [{ path: 'segmentPublicKey', message }],
    });
  }
}
