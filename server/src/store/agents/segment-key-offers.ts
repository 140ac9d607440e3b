// Segment keys that wait for their owner's signature.
import type { Queryable, Tx } from '../database/connection.ts';

export interface SegmentKeyOfferRow {
  agentId: number;
  generation: number;
  publicKey: Buffer;
  wrapped: string;
  signature: string;
}

/** Stores an agent's offer, replacing its previous one. Returns whether it had none. */
export async function putOffer(tx: Tx, segmentId: number, offer: SegmentKeyOfferRow): Promise<boolean> {
  const row = { segmentId, ...offer };
  const [put] = await tx<{ isNew: boolean }[]>`
    insert into segment_key_offers ${tx(row, 'segmentId', 'generation', 'agentId', 'publicKey', 'wrapped', 'signature')}
    on conflict (segment_id, generation, agent_id) do update
       set public_key = excluded.public_key, wrapped = excluded.wrapped, signature = excluded.signature,
           offered_at = clock_timestamp()
    returning xmax = 0 as is_new`;
  return put?.isNew === true;
}

/** Returns the offers for generations that the segment does not have yet, by generation and agent. */
export async function listOffers(sql: Queryable, segmentId: number): Promise<SegmentKeyOfferRow[]> {
  return sql<SegmentKeyOfferRow[]>`
    select o.agent_id, o.generation, o.public_key, o.wrapped, o.signature
      from segment_key_offers o join segments s on s.id = o.segment_id
     where o.segment_id = ${segmentId} and o.generation > s.key_generation order by o.generation, o.agent_id`;
}

/** Deletes the offers of this generation and of earlier ones. */
export async function deleteOffers(tx: Tx, segmentId: number, upTo: number): Promise<void> {
  await tx`delete from segment_key_offers where segment_id = ${segmentId} and generation <= ${upTo}`;
}

/** Deletes offers that these agents signed with keys that have been replaced since. */
export async function deleteOffersOf(tx: Tx, segmentId: number, agentIds: readonly number[]): Promise<void> {
  await tx`
    delete from segment_key_offers
     where segment_id = ${segmentId} and agent_id = any(${[...agentIds]}::bigint[])`;
}
