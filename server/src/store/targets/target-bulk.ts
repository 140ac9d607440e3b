// One change to many targets, each kind in one statement.
import type { Labels } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, type Tx, unprepared } from '../database/connection.ts';
import { type Condition, targetWithin } from '../people/visibility.ts';
import { selectedByTerms, type TargetQuery } from './target-selection.ts';

export interface BulkTarget {
  id: number;
  name: string;
  host: string;
  /** The target's own port. */
  port: number | null;
  segmentId: number;
  segmentName: string;
}

export interface BulkChange {
  setLabels: Labels;
  unsetLabels: readonly string[];
  isActive: boolean | undefined;
  /** `null` removes it; `undefined` leaves it unchanged. */
  credentialId: string | null | undefined;
}

/**
 * Locks, by id, and returns the selected targets that may be seen, active or not.
 *
 * @param options.againstRuns whether to keep runs from being started on them until the transaction ends.
 */
export async function selectToChange(
  tx: Tx,
  query: TargetQuery,
  reaches: readonly Reach[],
  options: { limit: number; againstRuns: boolean },
): Promise<BulkTarget[]> {
  return unprepared(tx<BulkTarget[]>`
    select t.id, t.name, t.host, t.port, t.segment_id,
      (select s.name from segments s where s.id = t.segment_id) as segment_name
    from targets t
    where ${targetWithin(tx, reaches)} and ${selectedByTerms(tx, query)} and not ${selectedByTerms(tx, query.exclude)}
    order by t.id limit ${options.limit} ${options.againstRuns ? tx`for update of t` : tx`for no key update of t`}`);
}

function labelsAfter(sql: Queryable, change: BulkChange): Condition {
  return sql`((t.labels - ${change.unsetLabels as string[]}::text[]) || ${sql.json(change.setLabels)}::jsonb)`;
}

/** Returns those of these targets that the change would alter. */
export async function changedByBulk(
  tx: Tx,
  ids: readonly number[],
  change: BulkChange,
  groups: { add: number | undefined; remove: number | undefined },
): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    select t.id from targets t
    where t.id = any(${ids as number[]}::bigint[]) and (
      ${labelsAfter(tx, change)} <> t.labels
      or (${change.credentialId !== undefined} and t.credential_id is distinct from ${change.credentialId ?? null}::uuid)
      or t.is_active <> ${change.isActive ?? null}::boolean
      or (${groups.add ?? null}::bigint is not null and not exists (select from target_group_entries e
        where e.target_group_id = ${groups.add ?? null}::bigint and e.target_id = t.id and not e.excluded))
      or exists (select from target_group_members m
        where m.target_group_id = ${groups.remove ?? null}::bigint and m.target_id = t.id))
    order by t.name, t.id`;
  return rows.map((row) => row.id);
}

/** Changes targets. Returns the name of a target that would have too many labels; then nothing may be committed. */
export async function changeTargets(
  tx: Tx,
  ids: readonly number[],
  change: BulkChange,
): Promise<{ tooManyLabels: string | undefined }> {
  const rows = await tx<{ name: string }[]>`
    with changed as (
      update targets t set labels = ${labelsAfter(tx, change)},
        is_active = coalesce(${change.isActive ?? null}::boolean, t.is_active),
        credential_id = case when ${change.credentialId !== undefined} then ${change.credentialId ?? null}::uuid
          else t.credential_id end,
        updated_at = clock_timestamp()
      where t.id = any(${ids as number[]}::bigint[])
      returning t.name, t.labels
    )
    select name from changed where (select count(*) from jsonb_object_keys(labels)) > 64 limit 1`;
  return { tooManyLabels: rows[0]?.name };
}
