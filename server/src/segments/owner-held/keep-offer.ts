// Keeps a segment key that an agent has made and signed, until the owner of the root names it in a roster.
import { recordAudit } from '../../audit/record-audit.ts';
import type { AgentRow } from '../../store/agents/agents.ts';
import { putOffer, type SegmentKeyOfferRow } from '../../store/agents/segment-key-offers.ts';
import type { SegmentRow } from '../../store/agents/segments.ts';
import type { Tx } from '../../store/database/connection.ts';

/** @returns whether it is this agent's first offer of that generation; it repeats the offer whenever it connects. */
export async function keepOffer(
  tx: Tx,
  {
    segment,
    agent,
    offer,
    origin,
  }: {
    segment: SegmentRow;
    agent: Pick<AgentRow, 'id' | 'name'>;
    offer: SegmentKeyOfferRow;
    origin?: { address: string; requestId: string };
  },
): Promise<boolean> {
  const isFirst = await putOffer(tx, segment.id, offer);
  if (isFirst) {
    await recordAudit(tx, {
      actor: { kind: 'agent', id: agent.id, name: agent.name },
      action: 'segment_key.offered',
      object: { kind: 'segment', id: segment.id },
      scope: { segmentId: segment.id },
      detail: { generation: offer.generation },
      ...(origin === undefined ? {} : { origin }),
    });
  }
  return isFirst;
}
