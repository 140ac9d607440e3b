// Inherited connection settings in SQL. The most specific place wins: the target, then its groups by priority and name,
// then its segment. Aliases: `t` for targets and `sg` for the target's segment.
import type { InheritedSettings } from '@opsconductor/protocol';
import type { Queryable } from '../database/connection.ts';
import type { Condition } from '../people/visibility.ts';

/** SQL: all settings that the target has or inherits, merged, without its own port, which is in `t.port`. */
export function mergedSettings(sql: Queryable): Condition {
  // For equal names jsonb_object_agg keeps the last value, so the winning group comes last.
  return sql`(sg.settings || coalesce((
    select jsonb_object_agg(e.key, e.value order by ig.priority, ig.name collate "C" desc)
    from target_group_members im join target_groups ig on ig.id = im.target_group_id
    cross join lateral jsonb_each(ig.settings) e
    where im.target_id = t.id), '{}') || t.settings)`;
}

/** SQL: id of the credential that the target has or inherits; null if there is none. */
export function inheritedCredential(sql: Queryable): Condition {
  return sql`coalesce(t.credential_id, (
    select ic.credential_id
    from target_group_members im join target_groups ig on ig.id = im.target_group_id
    join target_group_credentials ic on ic.target_group_id = ig.id and ic.segment_id = t.segment_id
    where im.target_id = t.id order by ig.priority desc, ig.name collate "C" limit 1), sg.credential_id)`;
}

/** SQL: id of the credential with this name in the target's segment; null if there is none, or no name. */
export function namedCredential(sql: Queryable, name: Condition): Condition {
  return sql`(select nc.id from credentials nc where nc.segment_id = t.segment_id and nc.name = ${name})`;
}

/** One place that gives settings to a target. */
export interface SettingsPlace {
  kind: 'target' | 'group' | 'segment';
  id: number;
  name: string;
  settings: InheritedSettings;
  credentialId: string | null;
  credentialName: string | null;
}

/** Returns every place that may give settings to a target, the most specific first. */
export async function settingsPlaces(sql: Queryable, targetId: number): Promise<SettingsPlace[]> {
  return sql<SettingsPlace[]>`
    select p.kind, p.id, p.name, p.settings, p.credential_id, c.name as credential_name
    from targets t
    join segments sg on sg.id = t.segment_id
    cross join lateral (
      select 1 as place, 'target' as kind, t.id, t.name, 0 as priority,
        t.settings || case when t.port is null then '{}' else jsonb_build_object('port', t.port) end as settings,
        t.credential_id
      union all
      select 2, 'group', g.id, g.name, g.priority, g.settings, gc.credential_id
      from target_group_members m join target_groups g on g.id = m.target_group_id
      left join target_group_credentials gc on gc.target_group_id = g.id and gc.segment_id = t.segment_id
      where m.target_id = t.id
      union all
      select 3, 'segment', sg.id, sg.name, 0, sg.settings, sg.credential_id
    ) p
    left join credentials c on c.id = p.credential_id
    where t.id = ${targetId}
    order by p.place, p.priority desc, p.name collate "C"`;
}

/** Returns the id of the credential with this name in a segment, or `undefined` if there is none. */
export async function findCredentialByName(
  sql: Queryable,
  segmentId: number,
  name: string,
): Promise<string | undefined> {
  const [row] = await sql<{ id: string }[]>`
    select id from credentials where segment_id = ${segmentId} and name = ${name}`;
  return row?.id;
}

/** Returns how many target groups give this credential to their targets, and whether its segment does. */
export async function usesOfCredential(
  sql: Queryable,
  id: string,
): Promise<{ groups: number; segment: boolean }> {
  const [row] = await sql<{ groups: number; segment: boolean }[]>`
    select (select count(*)::int from target_group_credentials where credential_id = ${id}) as groups,
      exists (select from segments where credential_id = ${id}) as segment`;
  return row ?? { groups: 0, segment: false };
}
