import type { Queryable, Tx } from '../database/connection.ts';
import { joinMaker, type MakerColumns, makerColumns } from '../people/maker-columns.ts';
import type { AsOf } from '../people/people.ts';

export interface EnrollmentTokenRow {
  id: number;
  segmentId: number;
  expired: boolean;
  usedAt: Date | null;
  usedByAgent: number | null;
  /** Null if the user who made it was deleted. */
  createdBy: number | null;
}

/** Stores a token's hash. The token expires `ttlMs` from now, by the database's clock. */
export async function insertEnrollmentToken(
  tx: Tx,
  token: { segmentId: number; tokenHash: Uint8Array; createdBy: number | null; ttlMs: number },
): Promise<{ id: number; expiresAt: Date }> {
  const [row] = await tx<{ id: number; expiresAt: Date }[]>`
    insert into enrollment_tokens (segment_id, token_hash, created_by, expires_at)
    values (${token.segmentId}, ${token.tokenHash}, ${token.createdBy},
            clock_timestamp() + ${token.ttlMs} * interval '1 millisecond')
    returning id, expires_at`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row;
}

/** More are not shown: nobody looks through so many tokens of an hour. */
const mostShown = 200;

export interface PendingTokenRow extends MakerColumns {
  id: number;
  createdBy: number | null;
  createdAt: Date;
  expiresAt: Date;
}

/** Returns the newest tokens of a segment that were not used and have not expired. */
export async function unusedEnrollmentTokens(
  sql: Queryable,
  segmentId: number,
  asOf: AsOf,
): Promise<PendingTokenRow[]> {
  return sql<PendingTokenRow[]>`
    select e.id, e.created_by, e.created_at, e.expires_at, ${makerColumns(sql, asOf)}
      from enrollment_tokens e ${joinMaker(sql, 'enrollment_token', 'e.id')}
     where e.segment_id = ${segmentId} and e.used_at is null and e.expires_at > clock_timestamp()
     order by e.id desc limit ${mostShown}`;
}

/** Deletes a token of the segment. Returns undefined if there is none; one that was used (`wasUsed`) has had its effect. */
export async function deleteEnrollmentToken(
  tx: Tx,
  segmentId: number,
  id: number,
): Promise<{ wasUsed: boolean } | undefined> {
  const [row] = await tx<{ wasUsed: boolean }[]>`
    delete from enrollment_tokens where id = ${id} and segment_id = ${segmentId}
    returning used_at is not null as was_used`;
  return row;
}

/** Locks the token with this hash, so that of two enrollments with it one waits for the other. */
export async function lockEnrollmentToken(
  tx: Tx,
  tokenHash: Uint8Array,
): Promise<EnrollmentTokenRow | undefined> {
  const [row] = await tx<EnrollmentTokenRow[]>`
    select id, segment_id, expires_at <= clock_timestamp() as expired, used_at, used_by_agent, created_by
      from enrollment_tokens where token_hash = ${tokenHash} for update`;
  return row;
}

export async function markEnrollmentTokenUsed(tx: Tx, id: number, agentId: number): Promise<void> {
  await tx`update enrollment_tokens set used_at = clock_timestamp(), used_by_agent = ${agentId} where id = ${id}`;
}

/** Deletes tokens that expired more than a day ago. Until then, whoever uses one is told that it has expired. */
export async function deleteOldEnrollmentTokens(tx: Tx): Promise<void> {
  await tx`delete from enrollment_tokens where expires_at < clock_timestamp() - interval '1 day'`;
}
