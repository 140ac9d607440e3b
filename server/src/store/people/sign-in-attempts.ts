// Password attempts, by name and address. The caller passes the server's time.
import type { Queryable } from '../database/connection.ts';

/** Whose password is tried, from which address. There may be no user with that name. */
export interface SignInAttempt {
  name: string;
  /** In the form of `rateLimitKeyOf`. */
  address: string;
}

export interface LockRule {
  /** How many wrong passwords in a row lock the name. */
  failures: number;
  /** Duration of the first lock; it doubles with each further wrong password. */
  firstLockMs: number;
  maxLockMs: number;
  /** Wrong passwords are forgotten after this long without an attempt. */
  forgetAfterMs: number;
}

export interface Standing {
  lockedUntil: Date | null;
  isKnown: boolean;
  /** Wrong passwords in a row. */
  failures: number;
}

/** Returns whether the name is locked for the address, and whether its password was right from there before. */
export async function findStanding(sql: Queryable, attempt: SignInAttempt, now: Date): Promise<Standing> {
  const rows = await sql<Standing[]>`
    select case when locked_until > ${now} then locked_until end as locked_until,
           succeeded_at is not null as is_known, failures
    from sign_in_attempts where ${isOf(sql, attempt)}`;
  return rows[0] ?? { lockedUntil: null, isKnown: false, failures: 0 };
}

/**
 * Counts an attempt as failed before its password is checked, so that concurrent attempts can't exceed the limit
 * together.
 *
 * @returns until when the name is locked for the address, if it was locked already; then nothing was counted.
 */
export async function countAttempt(
  sql: Queryable,
  attempt: SignInAttempt,
  now: Date,
  rule: LockRule,
): Promise<Date | null> {
  const forgotten = new Date(now.getTime() - rule.forgetAfterMs);
  const failures = sql`(case when a.last_attempt_at <= ${forgotten} then 1 else a.failures + 1 end)`;
  const counted = await sql`
    insert into sign_in_attempts as a (name_digest, address, failures, last_attempt_at)
    values (${digestOf(sql, attempt.name)}, ${attempt.address}, 1, ${now})
    on conflict (name_digest, address) do update set failures = ${failures}, last_attempt_at = ${now},
      locked_until = case when ${failures} < ${rule.failures} then null else ${now}::timestamptz
        + least(${rule.maxLockMs}, ${rule.firstLockMs} * power(2, least(${failures} - ${rule.failures}, 30)))
        * interval '1 millisecond' end
    where a.locked_until is null or a.locked_until <= ${now}
    returning 1`;
  await sql`delete from sign_in_attempts where succeeded_at is null and last_attempt_at <= ${forgotten}`;
  return counted.length > 0 ? null : (await findStanding(sql, attempt, now)).lockedUntil;
}

/** Records a right password: nothing counts against the name from that address any more, and the address is known. */
export async function noteSuccess(sql: Queryable, attempt: SignInAttempt, now: Date): Promise<void> {
  await sql`
    insert into sign_in_attempts (name_digest, address, failures, last_attempt_at, succeeded_at)
    values (${digestOf(sql, attempt.name)}, ${attempt.address}, 0, ${now}, ${now})
    on conflict (name_digest, address) do update
      set failures = 0, locked_until = null, last_attempt_at = ${now}, succeeded_at = ${now}`;
}

/** Forgets addresses from which the password was last right before the given time. */
export async function forgetSuccesses(sql: Queryable, before: Date): Promise<void> {
  await sql`delete from sign_in_attempts where succeeded_at < ${before}`;
}

/** Lifts every lock of a name. Returns from how many addresses it was locked. */
export async function unlockName(sql: Queryable, name: string, now: Date): Promise<number> {
  const rows = await sql<{ wasLocked: boolean }[]>`
    with before as (select address, coalesce(locked_until > ${now}, false) as was_locked
                    from sign_in_attempts where name_digest = ${digestOf(sql, name)} for update)
    update sign_in_attempts a set failures = 0, locked_until = null from before
    where a.name_digest = ${digestOf(sql, name)} and a.address = before.address returning before.was_locked`;
  return rows.filter((row) => row.wasLocked).length;
}

/** Returns an SQL expression for the digest of a name. `name` is a text, or trusted SQL. */
export function digestOf(sql: Queryable, name: string | ReturnType<Queryable['unsafe']>) {
  return typeof name === 'string'
    ? sql`sha256(convert_to(lower(${name}::text), 'UTF8'))`
    : sql`sha256(convert_to(lower(${name}), 'UTF8'))`;
}

function isOf(sql: Queryable, attempt: SignInAttempt) {
  return sql`name_digest = ${digestOf(sql, attempt.name)} and address = ${attempt.address}`;
}
