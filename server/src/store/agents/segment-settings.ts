import type { SegmentSettings } from '@opsconductor/protocol';
import type { Queryable, Tx } from '../database/connection.ts';

/** Returns what a segment gives to its targets. The segment must exist. */
export async function readSegmentSettings(sql: Queryable, segmentId: number): Promise<SegmentSettings> {
  const [row] = await sql<SegmentSettings[]>`
    select s.settings, s.credential_id, c.name as credential_name
    from segments s left join credentials c on c.id = s.credential_id where s.id = ${segmentId}`;
  if (row === undefined) throw new Error(`segment ${segmentId} is gone`);
  return row;
}

/**
 * Locks the settings against other changes. Inserting a row that only refers to the segment, such as a new target, need
 * not wait.
 */
export async function lockSegmentSettings(tx: Tx, segmentId: number): Promise<void> {
  await tx`select 1 from segments where id = ${segmentId} for no key update`;
}

export async function writeSegmentSettings(
  tx: Tx,
  segmentId: number,
  { settings, credentialId }: Pick<SegmentSettings, 'settings' | 'credentialId'>,
): Promise<void> {
  await tx`
    update segments set settings = ${tx.json(settings)}, credential_id = ${credentialId} where id = ${segmentId}`;
}
