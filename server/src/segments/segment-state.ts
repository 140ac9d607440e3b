// What an agent needs to open its segment's credentials, and what it can do for its peers.
import type { SegmentStateSchema } from '@opsconductor/protocol';
import { decodeBase64 } from '@opsconductor/protocol/sealing';
import type { Static } from 'typebox';
import { recordAudit } from '../audit/record-audit.ts';
import { AppError } from '../errors.ts';
import { findAgent } from '../store/agents/agents.ts';
import { findSegmentState, hasOpenedWrap, insertWrap } from '../store/agents/segment-key-wraps.ts';
import { holdSegment, notifySegmentChanged } from '../store/agents/segments.ts';
import type { Queryable, Tx } from '../store/database/connection.ts';

export type SegmentState = Static<typeof SegmentStateSchema>;

/** Returns the `segment_state` message for an agent; undefined while the segment has no key, and so no roster. */
export async function segmentStateFor(sql: Queryable, agentId: number): Promise<SegmentState | undefined> {
  const segment = await findSegmentState(sql, agentId);
  // An agent that was shut out is told nothing more.
  if (segment?.state !== 'active' || segment.rosterPayload === null || segment.rosterSignature === null)
    return undefined;
  const { wraps, wanting, wantedForRecovery } = segment;
  return {
    type: 'segment_state',
    roster: { payload: segment.rosterPayload, signature: segment.rosterSignature },
    wraps,
    wanting,
    ...(wantedForRecovery.length === 0 ? {} : { wantedForRecovery }),
    ...(segment.newKeysWantedAt === null ? {} : { newKeysWanted: true }),
    ...(segment.keyRotationWantedAt === null ? {} : { makeGeneration: segment.keyGeneration + 1 }),
  };
}

export interface PeerWrap {
  /** The agent that wrapped the key; its session sent this. */
  byAgentId: number;
  /** The agent that it was wrapped for. */
  agentId: number;
  generation: number;
  /** Base64, as `wrapSegmentKey` returns it. The server can't open it. */
  wrapped: string;
  /** Base64 of the key that it was wrapped to; agents of the previous version don't send it. */
  encryptionKey?: string | undefined;
}

/**
 * Stores the segment key that an agent wrapped for a peer of its segment.
 * @returns false if this wrap is not needed or useless: the peer has already opened one of that generation, was just
 * given one, or has other keys by now.
 * @throws {AppError} `forbidden` for an agent of another segment, one that is not active, or one that never showed that
 * it holds this generation; `invalid` for something that is not a wrap.
 */
export async function storeWrap(tx: Tx, wrap: PeerWrap): Promise<boolean> {
  requireWrap(wrap.wrapped);
  const by = await findAgent(tx, wrap.byAgentId);
  // Whoever replaces an agent's keys has locked the segment.
  if (by !== undefined) await holdSegment(tx, by.segmentId);
  const agent = await findAgent(tx, wrap.agentId);
  const together = by !== undefined && agent !== undefined && by.segmentId === agent.segmentId;
  if (!together || by.state !== 'active' || agent.state !== 'active') {
    throw new AppError('forbidden', 'A segment key is wrapped only between active agents of one segment.');
  }
  if (!(await hasOpenedWrap(tx, by.id, wrap.generation))) {
    throw new AppError(
      'forbidden',
      `This agent does not hold generation ${wrap.generation} of the segment key.`,
    );
  }
  // The wrap was on its way while the peer replaced its keys. The peer could not open it, and nobody would be asked for
  // another.
  const { encryptionKey } = wrap;
  if (encryptionKey !== undefined && !agent.encryptionKey.equals(decodeBase64(encryptionKey))) return false;
  const { segmentId } = by;
  const stored = await insertWrap(tx, {
    segmentId,
    generation: wrap.generation,
    agentId: agent.id,
    wrapped: wrap.wrapped,
  });
  if (!stored) return false;
  await recordAudit(tx, {
    actor: { kind: 'agent', id: by.id, name: by.name },
    action: 'segment_key.wrapped',
    object: { kind: 'agent', id: agent.id },
    scope: { segmentId },
    detail: { segmentId, generation: wrap.generation },
  });
  await notifySegmentChanged(tx, segmentId);
  return true;
}

const wrapBytes = 1 + 32 + 32 + 16;

/**
 * `path`: where the request has it.
 * @throws {AppError} `invalid`.
 */
export function requireWrap(wrapped: string, path = 'wrapped'): void {
  try {
    decodeBase64(wrapped, wrapBytes, path);
  } catch (cause) {
    const message = `A wrapped segment key is base64 of ${wrapBytes} bytes.`;
    throw new AppError('invalid', message, { cause, details: [{ path, message }] });
  }
}

/** @throws {AppError} `invalid`, for the first of `wraps` that is none. */
export function requireWraps(wraps: readonly { wrapped: string }[]): void {
  for (const [at, { wrapped }] of wraps.entries()) requireWrap(wrapped, `wraps[${at}].wrapped`);
}
