// Takes a segment key to its recovery key, and back to a new agent. The server can open neither.
import type { PostRecoveredKeysRequestSchema, SegmentRecovery } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { findAgent } from '../../store/agents/agents.ts';
import { insertRecoveryWrap, listRecoveryWraps } from '../../store/agents/recovery-wraps.ts';
import { hasOpenedWrap, insertWrap } from '../../store/agents/segment-key-wraps.ts';
import { findSegment, listSegmentKeys, notifySegmentChanged } from '../../store/agents/segments.ts';
import type { Queryable, Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { segmentFor } from '../segment-for.ts';
import { requireWrap, requireWraps } from '../segment-state.ts';

/**
 * Stores the segment key that an agent has wrapped for the recovery key. Each agent that has the key does so: nobody can
 * tell here whether a wrap opens.
 * @returns false if the segment has no recovery key, or already has this agent's wrap of that generation.
 * @throws {AppError} `forbidden` for an agent that is not active or never showed that it holds this generation;
 * `invalid` for something that is not a wrap.
 */
export async function storeRecoveryWrap(
  tx: Tx,
  agentId: number,
  { generation, wrapped }: { generation: number; wrapped: string },
): Promise<boolean> {
  requireWrap(wrapped);
  const agent = await findAgent(tx, agentId);
  if (agent?.state !== 'active' || !(await hasOpenedWrap(tx, agentId, generation))) {
    throw new AppError('forbidden', `This agent does not hold generation ${generation} of the segment key.`);
  }
  const { segmentId } = agent;
  const recoveryKey = (await findSegment(tx, segmentId))?.recoveryKey ?? null;
  if (recoveryKey === null) return false;
  const wrap = { segmentId, generation, recoveryKey, wrapped, wrappedBy: agentId };
  if (!(await insertRecoveryWrap(tx, wrap))) return false;
  await recordAudit(tx, {
    actor: { kind: 'agent', id: agentId, name: agent.name },
    action: 'segment_key.wrapped_for_recovery',
    object: { kind: 'segment', id: segmentId },
    scope: { segmentId },
    detail: { generation },
  });
  return true;
}

/** @throws {AppError} `not_found`; `forbidden` without `agents.manage` on the segment. */
export async function readRecovery(
  sql: Queryable,
  segmentId: number,
  caller: Pick<Caller, 'name' | 'authority'>,
): Promise<SegmentRecovery> {
  const { recoveryKey } = await segmentFor(sql, segmentId, 'agents.manage', caller);
  return { recoveryKey, wraps: await listRecoveryWraps(sql, segmentId) };
}

/**
 * Gives an agent the segment key that was recovered and wrapped for it. The agent accepts it only if it is the key that
 * the roster names.
 * @throws {AppError} `not_found`; `forbidden` without `agents.manage` on the segment; `conflict` for an agent that is
 * not active in it, or a generation that the segment doesn't have.
 */
export async function giveRecovered(
  sql: Sql,
  segmentId: number,
  request: Static<typeof PostRecoveredKeysRequestSchema>,
  caller: Caller,
): Promise<{ stored: number[] }> {
  await segmentFor(sql, segmentId, 'agents.manage', caller);
  requireWraps(request.wraps);
  return inTransaction(sql, async (tx) => {
    const agent = await findAgent(tx, request.agentId);
    if (agent?.segmentId !== segmentId || agent.state !== 'active') {
      throw new AppError('conflict', `Agent ${request.agentId} is not active in this segment.`);
    }
    const known = new Set((await listSegmentKeys(tx, segmentId)).map(({ generation }) => generation));
    const stored: number[] = [];
    for (const { generation, wrapped } of request.wraps) {
      if (!known.has(generation)) {
        throw new AppError('conflict', `The segment has no generation ${generation} of its key.`);
      }
      if (await insertWrap(tx, { segmentId, generation, agentId: agent.id, wrapped }))
        stored.push(generation);
    }
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'segment_key.recovered',
      object: { kind: 'agent', id: agent.id },
      scope: { segmentId },
      detail: { name: agent.name, generations: stored },
    });
    await notifySegmentChanged(tx, segmentId);
    return { stored };
  });
}
