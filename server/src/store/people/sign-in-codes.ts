// One-time sign-in codes, by hash. A row is deleted when its code is used.
import type { Queryable } from '../database/connection.ts';

/** Returns its id. */
export async function insertSignInCode(
  sql: Queryable,
  code: { codeHash: Buffer; userId: number; expiresAt: Date },
  now: Date,
): Promise<number> {
  await sql`delete from sign_in_codes where expires_at <= ${now}`;
  const rows = await sql<{ id: number }[]>`insert into sign_in_codes ${sql({ ...code })} returning id`;
  return rows[0]?.id ?? 0;
}

/** Deletes the unused codes of a user. */
export async function deleteSignInCodes(sql: Queryable, userId: number): Promise<void> {
  await sql`delete from sign_in_codes where user_id = ${userId}`;
}

/** Uses up a code. Of several concurrent calls only one gets its id and its user's. */
export async function takeSignInCode(
  sql: Queryable,
  codeHash: Buffer,
  now: Date,
): Promise<{ id: number; userId: number } | undefined> {
  const rows = await sql<{ id: number; userId: number }[]>`
    delete from sign_in_codes where code_hash = ${codeHash} and expires_at > ${now} returning id, user_id`;
  return rows[0];
}
