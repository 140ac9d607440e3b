// Takes a new generation of the segment key, made by one of its agents after another was revoked. If several offer one,
// the first is accepted; the others drop theirs when the roster names another.
import { type AgentMessageOf, limits } from '@opsconductor/protocol';
import {
  decodeBase64,
  publicKeyBytes,
  segmentKeyStatement,
  verifyBase64,
} from '@opsconductor/protocol/sealing';
import { recordAudit } from '../../audit/record-audit.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError } from '../../errors.ts';
import { findAgent } from '../../store/agents/agents.ts';
import { insertWrap } from '../../store/agents/segment-key-wraps.ts';
import { insertSegmentKey, lockSegment } from '../../store/agents/segments.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { keepOffer } from '../owner-held/keep-offer.ts';
import { publishRoster } from '../publish-roster.ts';
import { requireWrap } from '../segment-state.ts';

export interface GenerationDeps {
  sql: Sql;
  masterKey: MasterKey;
  installationId: string;
}

/**
 * Takes the generation that an agent made, if one is wanted and it is the next.
 * @returns false if none is wanted any more.
 * @throws {AppError} `unauthenticated` for an agent that is not active, or an offer that is not signed by it.
 */
export async function takeKeyGeneration(
  { sql, masterKey, installationId }: GenerationDeps,
  agentId: number,
  offer: Omit<AgentMessageOf<'segment_key_made'>, 'type'>,
): Promise<boolean> {
  requireWrap(offer.wrapped);
  const { generation, wrapped } = offer;
  const publicKey = Buffer.from(decodeBase64(offer.segmentPublicKey, publicKeyBytes, 'segmentPublicKey'));
  return inTransaction(sql, async (tx) => {
    const found = await findAgent(tx, agentId);
    const segment = found && (await lockSegment(tx, found.segmentId));
    // Read again under the lock: the agent may have been revoked meanwhile.
    const agent = await findAgent(tx, agentId);
    if (segment === undefined || agent === undefined || agent.state !== 'active') throw notProven();
    const { id: segmentId } = segment;
    const statement = segmentKeyStatement({
      installationId,
      segmentId,
      agentId,
      generation,
      segmentPublicKey: publicKey,
      wrapped,
    });
    if (!(await verifyBase64(agent.signingKey, statement, offer.signature))) throw notProven();
    const isNext = generation === segment.keyGeneration + 1 && generation <= limits.maxKeyGenerations;
    if (segment.keyRotationWantedAt === null || !isNext) return false;
    if (segment.rootMode === 'owner_held') {
      const { signature } = offer;
      return keepOffer(tx, { segment, agent, offer: { agentId, generation, publicKey, wrapped, signature } });
    }
    await insertSegmentKey(tx, segmentId, { generation, publicKey });
    await insertWrap(tx, { segmentId, generation, agentId, wrapped });
    await publishRoster(tx, { segment, installationId, masterKey });
    await recordAudit(tx, {
      actor: { kind: 'agent', id: agentId, name: agent.name },
      action: 'segment_key.created',
      object: { kind: 'segment', id: segmentId },
      scope: { segmentId },
      detail: { generation },
    });
    return true;
  });
}

function notProven(): AppError {
  return new AppError('unauthenticated', 'This segment key is not signed by an active agent.');
}
