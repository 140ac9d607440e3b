// Users as an administrator sees them, and the protection of the last administrator.
import type { Role, UserKind } from '@opsconductor/protocol';
import { takeChangeLock } from '../database/change-lock.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { containsPattern } from '../database/cursor.ts';
import { isOpen, type SessionLimits } from './sessions.ts';
import { digestOf } from './sign-in-attempts.ts';
import type { Condition } from './visibility.ts';

const peopleLock = 0x6f70_7065;

/**
 * Taken by everyone who changes users, user groups or grants, and held until the transaction ends. Otherwise two
 * transactions, each relying on an administrator whom the other removes, could leave none. Take it before any row lock.
 * It fails with 55P03 if others hold it for longer than it may wait.
 */
export async function lockPeople(tx: Tx, mostMs?: number): Promise<void> {
  await takeChangeLock(tx, peopleLock, mostMs);
}

/**
 * Counts the active users with the role admin everywhere, and those of them who are people with a password or a sign-in
 * link.
 */
export async function countAdministrators(
  tx: Queryable,
  now: Date,
): Promise<{ active: number; canSignIn: number }> {
  const rows = await tx<{ active: number; canSignIn: number }[]>`
    select count(*) as active, count(*) filter (where u.kind = 'person' and (u.password_hash is not null
        or exists (select from sign_in_codes c where c.user_id = u.id and c.expires_at > ${now}))) as can_sign_in
    from users u
    where u.is_active and ${isAdministrator(tx)}`;
  return rows[0] ?? { active: 0, canSignIn: 0 };
}

/**
 * Returns the administrator who may be let in from the server's own terminal: the first person who is an active one.
 */
export async function findAdministrator(sql: Queryable): Promise<string | undefined> {
  const rows = await sql<{ name: string }[]>`
    select u.name from users u where u.is_active and u.kind = 'person' and ${isAdministrator(sql)}
    order by u.id limit 1`;
  return rows[0]?.name;
}

/** SQL condition: the user `u` has the role admin everywhere, directly or through a group. */
function isAdministrator(sql: Queryable) {
  return sql`exists (
      select from role_grants g
      where g.role = 'admin' and num_nonnulls(g.category_id, g.segment_id, g.target_group_id) = 0
        and (g.user_id = u.id
          or g.user_group_id in (select m.user_group_id from user_group_members m where m.user_id = u.id)))`;
}

export interface PersonRow {
  id: number;
  name: string;
  displayName: string;
  description: string;
  kind: UserKind;
  isActive: boolean;
  hasPassword: boolean;
  signInLinkExpiresAt: Date | null;
  lockedUntil: Date | null;
  lockedAddresses: number;
  lastSignInAt: Date | null;
  sessions: number;
  tokens: number;
  userGroups: { id: number; name: string }[];
  roles: Role[];
  createdAt: Date;
  updatedAt: Date;
  /** The name in the form by which the list is sorted. */
  sortName: string;
}

/** The time of the request and the limits of sessions, to leave out what has expired. */
export interface AsOf {
  now: Date;
  session: SessionLimits;
}

export async function findPerson(sql: Queryable, id: number, asOf: AsOf): Promise<PersonRow | undefined> {
  const rows = await sql<PersonRow[]>`${selectPeople(sql, asOf, sql`u.id = ${id}`)}`;
  return rows[0];
}

export interface PersonFilter {
  search?: string;
  kind?: UserKind;
  isActive?: boolean;
  userGroupId?: number;
}

/** Returns users by name, starting after `after`. */
export async function searchPeople(
  sql: Queryable,
  filter: PersonFilter,
  page: { limit: number; after?: { name: string; id: number } },
  asOf: AsOf,
): Promise<PersonRow[]> {
  const { search, kind, isActive, userGroupId } = filter;
  const pattern = search === undefined ? '' : containsPattern(search);
  const where = sql`
    ${search === undefined ? sql`true` : sql`(u.name ilike ${pattern} or u.display_name ilike ${pattern})`}
    ${kind === undefined ? sql`` : sql`and u.kind = ${kind}`}
    ${isActive === undefined ? sql`` : sql`and u.is_active = ${isActive}`}
    ${
      userGroupId === undefined
        ? sql``
        : sql`and u.id in (select user_id from user_group_members where user_group_id = ${userGroupId})`
    }
    ${page.after === undefined ? sql`` : sql`and (lower(u.name), u.id) > (${page.after.name}, ${page.after.id})`}`;
  return sql<PersonRow[]>`
    ${selectPeople(sql, asOf, where)} order by lower(u.name), u.id limit ${page.limit}`;
}

function selectPeople(sql: Queryable, { now, session }: AsOf, where: Condition) {
  return sql`
    select u.id, u.name, lower(u.name) as sort_name, u.display_name, u.description, u.kind, u.is_active,
           u.password_hash is not null as has_password, u.last_sign_in_at, u.created_at, u.updated_at,
           (select max(c.expires_at) from sign_in_codes c where c.user_id = u.id and c.expires_at > ${now})
             as sign_in_link_expires_at,
           locks.until as locked_until, locks.addresses as locked_addresses,
           (select count(*) from sessions s where s.user_id = u.id and ${isOpen(sql, now, session)}) as sessions,
           (select count(*) from api_tokens t where t.user_id = u.id and (t.expires_at is null or t.expires_at > ${now}))
             as tokens,
           (select coalesce(jsonb_agg(jsonb_build_object('id', g.id, 'name', g.name) order by lower(g.name)), '[]')
              from user_group_members m join user_groups g on g.id = m.user_group_id where m.user_id = u.id)
             as user_groups,
           (select coalesce(jsonb_agg(distinct g.role), '[]') from role_grants g
              where g.role is not null and num_nonnulls(g.category_id, g.segment_id, g.target_group_id) = 0
                and (g.user_id = u.id
                  or g.user_group_id in (select m.user_group_id from user_group_members m where m.user_id = u.id)))
             as roles
    from users u cross join lateral (
      select max(a.locked_until) as until, count(*) as addresses from sign_in_attempts a
      where a.name_digest = ${digestOf(sql, sql.unsafe('u.name'))} and a.locked_until > ${now}) locks
    where ${where}`;
}
