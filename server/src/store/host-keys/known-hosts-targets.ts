// Targets of a segment under the names that known_hosts uses.
import type { Queryable, Tx } from '../database/connection.ts';
import { mergedSettings } from '../targets/effective-settings.ts';

export interface SegmentTarget {
  id: number;
  name: string;
  host: string;
  port: number;
}

/** Returns the targets of a segment with the ports that apply to them, inherited ones too, by id. */
export async function targetsOfSegment(sql: Queryable, segmentId: number): Promise<SegmentTarget[]> {
  return sql<SegmentTarget[]>`
    select t.id, t.name, t.host, coalesce(t.port, (${mergedSettings(sql)} ->> 'port')::int, 22) as port
    from targets t join segments sg on sg.id = t.segment_id
    where t.segment_id = ${segmentId} order by t.id`;
}

/** Locks by id, like everyone who changes host keys. Runs can still be started on the targets. */
export async function lockTargetsOfSegment(tx: Tx, segmentId: number): Promise<void> {
  await tx`select 1 from targets where segment_id = ${segmentId} order by id for no key update`;
}
