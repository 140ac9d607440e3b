// What sessions, API tokens, sign-in links, enrollment tokens and agents were made with. The rows stay after what they
// tell of has ended, so that what was made with something indirectly is found even if what is in between has ended.
import type { MadeKind } from '@opsconductor/protocol';
import { shareChangeLock, takeChangeLock } from '../database/change-lock.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import type { AsOf } from './people.ts';
import { isOpen } from './sessions.ts';

const makingLock = 0x6f70_6d77;
/** How long rows from which nothing is found any more are kept, so that ending something again does no harm. */
const keptDays = 30;
const mostForgotten = 100;
const mostEndedMakers = 200;

/**
 * Taken, with others, by everyone who makes one of these things with another, before any row lock and after
 * `lockPeople`. Held until the transaction ends.
 */
export async function shareMakingLock(tx: Tx): Promise<void> {
  await shareChangeLock(tx, makingLock);
}

/** Taken alone by whoever ends all that was made with something: nothing is being made meanwhile. */
export async function lockMaking(tx: Tx): Promise<void> {
  await takeChangeLock(tx, makingLock);
}

/** Something by kind and id. */
export interface ThingKey {
  kind: MadeKind;
  id: number;
}

export interface MakerRow {
  kind: 'session' | 'api_token';
  id: number;
  userId: number;
  /** Of the API token. */
  name: string | null;
  createdAt: Date;
  /** Null if it never expires. */
  expiresAt: Date | null;
}

/** Returns the session or API token with which something is about to be made, if it has not been ended. */
export async function findMaker(
  sql: Queryable,
  { kind, id }: Pick<MakerRow, 'kind' | 'id'>,
): Promise<MakerRow | undefined> {
  const rows =
    kind === 'session'
      ? await sql<MakerRow[]>`
          select 'session' as kind, id, user_id, null as name, created_at, expires_at from sessions where id = ${id}`
      : await sql<MakerRow[]>`
          select 'api_token' as kind, id, user_id, name, created_at, expires_at from api_tokens where id = ${id}`;
  return rows[0];
}

/** Records with what something was made. */
export async function insertMadeWith(
  sql: Queryable,
  made: ThingKey & { userId: number | null },
  maker: MakerRow,
): Promise<void> {
  await sql`insert into made_with ${sql({
    ...made,
    makerKind: maker.kind,
    makerId: maker.id,
    makerUserId: maker.userId,
    makerName: maker.name,
    makerBegun: maker.kind === 'session' ? maker.createdAt : null,
  })}`;
  await forgetEnded(sql);
}

/** The same for something that comes from a sign-in link or enrollment token, if with what that was made is known. */
export async function insertMadeFrom(
  sql: Queryable,
  made: ThingKey & { userId: number | null },
  from: ThingKey,
): Promise<void> {
  await sql`
    insert into made_with (kind, id, user_id, maker_kind, maker_id)
    select ${made.kind}, ${made.id}, ${made.userId}::bigint, kind, id from made_with
    where kind = ${from.kind} and id = ${from.id}`;
}

/** Deletes old rows of what has ended and from which nothing is found any more, some at a time. */
async function forgetEnded(sql: Queryable): Promise<void> {
  await sql`
    delete from made_with where (kind, id) in (
      select m.kind, m.id from made_with m
      where m.made_at < clock_timestamp() - ${keptDays} * interval '1 day'
        and not exists (select from made_with other where other.maker_kind = m.kind and other.maker_id = m.id)
        and case m.kind
          when 'api_token' then not exists (select from api_tokens t where t.id = m.id)
          when 'session' then not exists (select from sessions s where s.id = m.id)
          when 'sign_in_link' then not exists (select from sign_in_codes c where c.id = m.id)
          when 'enrollment_token' then not exists (select from enrollment_tokens e where e.id = m.id)
          else not exists (select from agents a where a.id = m.id) end
      limit ${mostForgotten})`;
}

/** Whether something of this user was made with something, or something with it: it may have ended. */
export async function isKnown(sql: Queryable, { kind, id }: ThingKey, userId: number): Promise<boolean> {
  const rows = await sql`
    select from made_with
    where (kind = ${kind} and id = ${id} and user_id = ${userId})
       or (maker_kind = ${kind} and maker_id = ${id} and maker_user_id = ${userId}) limit 1`;
  return rows.length > 0;
}

export interface MadeRow extends ThingKey {
  /** Of an API token or agent. */
  name: string | null;
  prefix: string | null;
  /** Whose it is; null for enrollment tokens and agents. */
  userId: number | null;
  /** Where an enrollment token admits an agent, or where the agent is. */
  segmentId: number | null;
  segment: string | null;
  createdAt: Date;
}

/** Returns what was made with any of these, directly and indirectly, and has neither been ended nor expired. */
export async function madeWith(
  sql: Queryable,
  roots: readonly ThingKey[],
  { now, session }: AsOf,
): Promise<MadeRow[]> {
  return sql<MadeRow[]>`
    with recursive roots as (
      select * from unnest(${roots.map(({ kind }) => kind)}::text[], ${roots.map(({ id }) => id)}::bigint[]) r(kind, id)
    ), made as (
      select m.kind, m.id, m.made_at from made_with m join roots r on m.maker_kind = r.kind and m.maker_id = r.id
      union
      select m.kind, m.id, m.made_at from made_with m join made on m.maker_kind = made.kind and m.maker_id = made.id
    ), ${living(sql, { now, session })}
    select l.*, g.name as segment from living l left join segments g on g.id = l.segment_id
    where not exists (select from roots r where r.kind = l.kind and r.id = l.id)
    order by l.kind, l.id`;
}

/** CTE: those of `made` (kind, id, made_at) that have neither been ended nor expired. */
function living(sql: Queryable, { now, session }: AsOf) {
  return sql`living as (
      select m.kind, m.id, t.name, t.prefix, t.user_id, null::bigint as segment_id, t.created_at
        from made m join api_tokens t on m.kind = 'api_token' and t.id = m.id
        where t.expires_at is null or t.expires_at > ${now}
      union all
      select m.kind, m.id, null, null, s.user_id, null, s.created_at
        from made m join sessions s on m.kind = 'session' and s.id = m.id where ${isOpen(sql, now, session)}
      union all
      select m.kind, m.id, null, null, c.user_id, null, m.made_at
        from made m join sign_in_codes c on m.kind = 'sign_in_link' and c.id = m.id where c.expires_at > ${now}
      union all
      select m.kind, m.id, null, null, null, e.segment_id, e.created_at
        from made m join enrollment_tokens e on m.kind = 'enrollment_token' and e.id = m.id
        where e.used_at is null and e.expires_at > clock_timestamp()
      union all
      select m.kind, m.id, a.name, null, null, a.segment_id, a.enrolled_at
        from made m join agents a on m.kind = 'agent' and a.id = m.id where a.state <> 'revoked'
    )`;
}

export interface EndedMakerRow {
  kind: 'session' | 'api_token';
  id: number;
  name: string | null;
  begun: Date | null;
  /** How many things that were made with it still work. */
  made: number;
}

/** Returns the newest sessions and API tokens of a user that have ended, though something made with them still works. */
export async function endedMakers(sql: Queryable, userId: number, asOf: AsOf): Promise<EndedMakerRow[]> {
  const { now, session } = asOf;
  return sql<EndedMakerRow[]>`
    with recursive ended as (
      select distinct m.maker_kind as kind, m.maker_id as id, m.maker_name as name, m.maker_begun as begun
      from made_with m where m.maker_user_id = ${userId} and case m.maker_kind
        when 'session' then not exists (
          select from sessions s where s.id = m.maker_id and ${isOpen(sql, now, session)})
        else not exists (select from api_tokens t where t.id = m.maker_id
          and (t.expires_at is null or t.expires_at > ${now})) end
    ), ways as (
      select e.kind as root_kind, e.id as root_id, m.kind, m.id, m.made_at
        from ended e join made_with m on m.maker_kind = e.kind and m.maker_id = e.id
      union
      select w.root_kind, w.root_id, m.kind, m.id, m.made_at
        from ways w join made_with m on m.maker_kind = w.kind and m.maker_id = w.id
    ), made as (select distinct kind, id, made_at from ways), ${living(sql, asOf)}
    select e.kind, e.id, e.name, e.begun, count(*) as made
    from ended e join ways w on w.root_kind = e.kind and w.root_id = e.id
      join living l on l.kind = w.kind and l.id = w.id
    where l.kind <> 'agent'
    group by e.kind, e.id, e.name, e.begun order by max(w.made_at) desc, e.id desc limit ${mostEndedMakers}`;
}

/** Deletes what is named, except agents. Returns what was there. */
export async function deleteMade(tx: Tx, things: readonly ThingKey[]): Promise<ThingKey[]> {
  const of = (kind: MadeKind) => things.filter((thing) => thing.kind === kind).map(({ id }) => id);
  return tx<ThingKey[]>`
    with tokens as (delete from api_tokens where id = any(${of('api_token')}::bigint[]) returning id),
      sessions as (delete from sessions where id = any(${of('session')}::bigint[]) returning id),
      links as (delete from sign_in_codes where id = any(${of('sign_in_link')}::bigint[]) returning id),
      invitations as (
        delete from enrollment_tokens where id = any(${of('enrollment_token')}::bigint[]) and used_at is null
        returning id)
    select 'api_token' as kind, id from tokens union all select 'session', id from sessions
    union all select 'sign_in_link', id from links union all select 'enrollment_token', id from invitations`;
}
