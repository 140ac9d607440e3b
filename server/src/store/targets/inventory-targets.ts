// The targets of an import: what they are, and what they become; each kind of change in one statement.
import type { InheritedSettings } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { CurrentTarget, Write } from '../../inventory/plan-changes.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { inventoryWithin } from '../people/visibility.ts';
import { mergedSettings } from './effective-settings.ts';

/** An inventory's targets, and the targets with these names in these segments (the lists run in parallel). */
export interface Concerned {
  inventoryId: number;
  segmentIds: readonly number[];
  names: readonly string[];
}

function concernedIds(sql: Queryable, { inventoryId, segmentIds, names }: Concerned) {
  return sql`
    select ct.id from targets ct where ct.inventory_id = ${inventoryId}
    union select nt.id
    from unnest(${segmentIds as number[]}::bigint[], ${names as string[]}::text[]) as x(segment_id, name)
    join targets nt on nt.segment_id = x.segment_id and nt.name = x.name`;
}

/** Locks them in the order of their ids. Runs can still be started on them. */
export async function lockConcerned(tx: Tx, concerned: Concerned): Promise<void> {
  await tx`
    select 1 from targets t where t.id in (${concernedIds(tx, concerned)}) order by t.id for no key update`;
}

/** Locks targets that are to be deleted, by id: no run can be started on them until the transaction ends. */
export async function lockTargetsAgainstRuns(tx: Tx, ids: readonly number[]): Promise<void> {
  await tx`select 1 from targets where id = any(${ids as number[]}::bigint[]) order by id for update`;
}

/** Returns their current state. Other inventories are named only within the reaches. */
export async function readConcerned(
  sql: Queryable,
  concerned: Concerned,
  reaches: readonly Reach[],
): Promise<CurrentTarget[]> {
  return sql<CurrentTarget[]>`
    with c as materialized (select o.* from targets o where o.id in (${concernedIds(sql, concerned)}))
    select c.id, c.segment_id, sg.name as segment_name, c.name, c.host, c.port, c.operating_system, c.description,
           c.labels, c.settings, c.is_active, c.inventory_id, i.name as inventory_name, c.inventory_key,
           c.inventory_values as given, c.inventory_gone_at is not null as is_gone,
           coalesce(e.listed, '{}') as listed, coalesce(e.excluded, '{}') as excluded,
           ${mergedSettings(sql)} as inherited,
           (select count(*)::int from target_host_keys k where k.target_id = c.id and k.state = 'accepted')
             as accepted_host_keys
    from c
    -- What is inherited is what would apply to a target without settings of its own.
    cross join lateral (select c.id, c.segment_id, '{}'::jsonb as settings) t
    join segments sg on sg.id = c.segment_id
    left join inventories i on i.id = c.inventory_id and i.id <> ${concerned.inventoryId}
      and ${inventoryWithin(sql, reaches)}
    left join lateral (
      select array_agg(g.name order by g.name) filter (where not ge.excluded) as listed,
             array_agg(g.name order by g.name) filter (where ge.excluded) as excluded
      from target_group_entries ge join target_groups g on g.id = ge.target_group_id where ge.target_id = c.id
    ) e on true
    order by c.id`;
}

/** Returns the settings that these targets inherit, by id. */
export async function readInherited(
  sql: Queryable,
  ids: readonly number[],
): Promise<Map<number, InheritedSettings>> {
  const rows = await sql<{ id: number; inherited: InheritedSettings }[]>`
    select t.id, ${mergedSettings(sql)} as inherited
    from (select o.id, o.segment_id, '{}'::jsonb as settings from targets o
          where o.id = any(${ids as number[]}::bigint[])) t
    join segments sg on sg.id = t.segment_id`;
  return new Map(rows.map((row) => [row.id, row.inherited]));
}

/** Creates targets. Returns their ids in the given order. */
export async function insertImported(
  tx: Tx,
  inventoryId: number,
  writes: readonly Write[],
): Promise<number[]> {
  const rows = await tx<{ id: number; place: number }[]>`
    with x as materialized (
      select ordinality as place, nextval(pg_get_serial_sequence('targets', 'id')) as id, r.value as data
      from jsonb_array_elements(${tx.json(writes.map(rowOf) as never)}) with ordinality r(value, ordinality)
    ), made as (
      insert into targets (id, segment_id, name, host, port, operating_system, description, labels, settings,
                           inventory_id, inventory_key, inventory_values)
      overriding system value
      select x.id, (x.data->>'segmentId')::bigint, x.data->>'name', x.data->>'host', (x.data->>'port')::int,
             x.data->>'operatingSystem', x.data->>'description', x.data->'labels', x.data->'settings',
             ${inventoryId}, x.data->>'key', x.data->'given'
      from x
    )
    select x.id, x.place from x order by x.place`;
  return rows.map((row) => row.id);
}

/** Changes targets to what they should be. Renamed targets first give up their names, so that two can swap. */
export async function updateImported(
  tx: Tx,
  inventoryId: number,
  writes: readonly { id: number; isRenamed: boolean; write: Write }[],
): Promise<void> {
  const renamed = writes.filter((one) => one.isRenamed).map((one) => one.id);
  // No given name begins with a space.
  await tx`update targets set name = ' ' || id where id = any(${renamed}::bigint[])`;
  // Adopted and renamed targets may take over keys of others as well.
  await tx`update targets set inventory_key = null where id = any(${writes.map((one) => one.id)}::bigint[])`;
  await tx`
    update targets t
    set name = x.data->>'name', host = x.data->>'host', port = (x.data->>'port')::int,
        operating_system = x.data->>'operatingSystem', description = x.data->>'description',
        labels = x.data->'labels', settings = x.data->'settings', is_active = (x.data->>'isActive')::boolean,
        inventory_id = ${inventoryId}, inventory_key = x.data->>'key', inventory_values = x.data->'given',
        inventory_gone_at = null, updated_at = clock_timestamp()
    from jsonb_array_elements(
      ${tx.json(writes.map(({ id, write }) => ({ id, ...rowOf(write) })) as never)}) as x(data)
    where t.id = (x.data->>'id')::bigint`;
}

function rowOf({ state, given, key, segmentId }: Write) {
  return { ...state, given, key, segmentId };
}

/** Records that the inventory no longer names these targets. With `deactivate`, also excludes them from runs. */
export async function noteGone(tx: Tx, ids: readonly number[], deactivate: boolean): Promise<void> {
  await tx`
    update targets t
    set inventory_gone_at = coalesce(inventory_gone_at, clock_timestamp()),
        is_active = t.is_active and not ${deactivate},
        inventory_values = case when ${deactivate} and t.is_active
          then coalesce(inventory_values, '{"fields":[],"labels":[],"groups":[]}') || '{"deactivated":true}'
          else inventory_values end,
        updated_at = case when ${deactivate} and t.is_active then clock_timestamp() else updated_at end
    where t.id = any(${ids as number[]}::bigint[])`;
}

/** Returns the first few of these targets on which open runs have work. */
export async function targetsInOpenRuns(
  sql: Queryable,
  ids: readonly number[],
  limit: number,
): Promise<{ name: string; runId: number }[]> {
  return sql<{ name: string; runId: number }[]>`
    select distinct on (tr.target_name, tr.target_id) tr.target_name as name, r.id as run_id
    from job_runs r join job_run_targets tr on tr.job_run_id = r.id
    where r.status in ('queued', 'running', 'cancelling', 'held') and tr.target_id = any(${ids as number[]}::bigint[])
    order by tr.target_name, tr.target_id, r.id limit ${limit}`;
}

/** Forgets every host key of these targets. Returns the accepted fingerprints by target. */
export async function forgetHostKeysOf(tx: Tx, ids: readonly number[]): Promise<Map<number, string[]>> {
  const rows = await tx<{ targetId: number; fingerprint: string; state: string }[]>`
    delete from target_host_keys where target_id = any(${ids as number[]}::bigint[])
    returning target_id, fingerprint, state`;
  const forgotten = new Map<number, string[]>();
  for (const { targetId, fingerprint, state } of rows) {
    if (state === 'accepted') forgotten.set(targetId, [...(forgotten.get(targetId) ?? []), fingerprint]);
  }
  return forgotten;
}

/** Returns the target groups with these names. */
export async function groupsNamed(
  sql: Queryable,
  names: readonly string[],
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select id, name from target_groups where name = any(${names as string[]}::text[]) order by name`;
}
