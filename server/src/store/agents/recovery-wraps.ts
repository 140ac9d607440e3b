// The segment key wrapped for the recovery key of the segment's owner.
import type { Queryable, Tx } from '../database/connection.ts';

/** Stores a wrap made by an agent, unless there is one of it already. Returns whether it was stored. */
export async function insertRecoveryWrap(
  tx: Tx,
  wrap: { segmentId: number; generation: number; recoveryKey: string; wrapped: string; wrappedBy: number },
): Promise<boolean> {
  const rows = await tx`
    insert into segment_recovery_wraps
      ${tx(wrap, 'segmentId', 'generation', 'recoveryKey', 'wrapped', 'wrappedBy')}
    on conflict do nothing returning 1`;
  return rows.length > 0;
}

/** Returns what was wrapped for the segment's current recovery key, oldest generation first, one wrap for each agent. */
export async function listRecoveryWraps(
  sql: Queryable,
  segmentId: number,
): Promise<{ generation: number; wrapped: string }[]> {
  return sql<{ generation: number; wrapped: string }[]>`
    select w.generation, w.wrapped from segment_recovery_wraps w
      join segments s on s.id = w.segment_id and s.recovery_key = w.recovery_key
     where w.segment_id = ${segmentId} order by w.generation, w.wrapped_at`;
}
