// Which targets belong to which target group. Members follow from a group's entries and selector. Rights are checked
// against members, so they change in the same transaction as the group or target, one such transaction at a time.
import type { Selector } from '@opsconductor/protocol';
import { takeChangeLock } from '../database/change-lock.ts';
import { type Queryable, type Tx, unprepared } from '../database/connection.ts';
import { selectorCondition } from './selector-condition.ts';

const membershipLock = 0x6f70_7367;

/**
 * Taken by everyone who changes what membership depends on, and held until the transaction ends. Otherwise two
 * transactions that can't see each other's changes would leave a membership that neither intended. Take it before any
 * row lock. It fails with 55P03 if others hold it for longer than it may wait.
 */
export async function lockMembership(tx: Tx, mostMs?: number): Promise<void> {
  await takeChangeLock(tx, membershipLock, mostMs);
}

export interface MembershipChange {
  groupId: number;
  targetId: number;
  added: boolean;
}

/** A group and its selector, if it has one. */
export interface RefreshedGroup {
  id: number;
  selector?: Selector | undefined;
}

/**
 * Brings the members of groups in line with their entries and selectors, for all targets or for these. None of the
 * groups may select another one of them. Returns what changed.
 */
export async function refreshGroups(
  tx: Tx,
  groups: readonly RefreshedGroup[],
  targetIds: readonly number[] | 'all',
): Promise<MembershipChange[]> {
  const ids = groups.map((group) => group.id);
  const among = (column: string) =>
    targetIds === 'all' ? tx`true` : tx`${tx.unsafe(column)} = any(${targetIds as number[]}::bigint[])`;
  const selected = groups.flatMap(({ id, selector }) =>
    selector === undefined
      ? []
      : [tx`select ${id}::bigint, t.id from touched t where ${selectorCondition(tx, selector)}`],
  );
  const bySelector = selected.reduce((before, one) => tx`${before} union ${one}`, tx``);
  return unprepared(tx<MembershipChange[]>`
    with touched as ${targetIds === 'all' ? tx`not materialized` : tx`materialized`} (
      select t.id, t.segment_id, t.name, t.host, t.operating_system, t.labels from targets t where ${among('t.id')}
    ), wanted as materialized (
      select w.group_id, w.target_id from (
        select e.target_group_id, e.target_id from target_group_entries e
        where e.target_group_id = any(${ids}::bigint[]) and not e.excluded and ${among('e.target_id')}
        ${bySelector}
      ) w(group_id, target_id)
      where not exists (select from target_group_entries x
        where x.target_group_id = w.group_id and x.target_id = w.target_id and x.excluded)
    ), gone as (
      delete from target_group_members m
      where m.target_group_id = any(${ids}::bigint[]) and ${among('m.target_id')}
        and not exists (select from wanted w where w.group_id = m.target_group_id and w.target_id = m.target_id)
      returning m.target_group_id, m.target_id
    ), added as (
      insert into target_group_members (target_group_id, target_id)
      select w.group_id, w.target_id from wanted w
      where not exists (select from target_group_members m
        where m.target_group_id = w.group_id and m.target_id = w.target_id)
      returning target_group_id, target_id
    )
    select target_group_id as group_id, target_id, true as added from added
    union all select target_group_id, target_id, false from gone`);
}

/** Returns the groups whose members a selector decides. */
export async function listSelectingGroups(
  sql: Queryable,
): Promise<{ id: number; name: string; selector: string }[]> {
  return sql<{ id: number; name: string; selector: string }[]>`
    select id, name, selector from target_groups where selector is not null order by id`;
}

/** Returns the roles and permissions that anybody has been granted on these groups. */
export async function grantsOnGroups(
  sql: Queryable,
  groupIds: readonly number[],
): Promise<{ groupId: number; groupName: string; role: string | null; permission: string | null }[]> {
  return sql<{ groupId: number; groupName: string; role: string | null; permission: string | null }[]>`
    select distinct r.target_group_id as group_id, g.name as group_name, r.role, r.permission
    from role_grants r join target_groups g on g.id = r.target_group_id
    where r.target_group_id = any(${groupIds as number[]}::bigint[])`;
}

/** Removes memberships or puts them back, in a transaction that checks how things would be without them. */
export async function setMembers(
  tx: Tx,
  members: readonly { groupId: number; targetId: number }[],
  present: boolean,
): Promise<void> {
  const groupIds = members.map((member) => member.groupId);
  const targetIds = members.map((member) => member.targetId);
  const rows = tx`unnest(${groupIds}::bigint[], ${targetIds}::bigint[]) as x(group_id, target_id)`;
  if (present) {
    await tx`insert into target_group_members (target_group_id, target_id)
             select x.group_id, x.target_id from ${rows} on conflict do nothing`;
  } else {
    await tx`delete from target_group_members m using ${rows}
             where m.target_group_id = x.group_id and m.target_id = x.target_id`;
  }
}
