// Enrollment tokens that were not used: who made them, whether they still admit an agent, and taking one back.
import type { PendingEnrollmentToken } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { deleteEnrollmentToken, unusedEnrollmentTokens } from '../../store/agents/enrollment-tokens.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { makerOf } from '../../store/people/maker-columns.ts';
import type { AsOf } from '../../store/people/people.ts';
import { segmentFor } from '../segment-for.ts';
import { type EnrollmentMaker, enrollmentMaker } from './enrollment-maker.ts';

/**
 * Returns the tokens of a segment that were not used and have not expired, newest first.
 * @throws {AppError} `not_found`; `forbidden` without `agents.enroll` on the segment.
 */
export async function listEnrollmentTokens(
  sql: Sql,
  segmentId: number,
  caller: Pick<Caller, 'name' | 'authority'>,
  asOf: AsOf,
): Promise<{ items: PendingEnrollmentToken[] }> {
  await segmentFor(sql, segmentId, 'agents.enroll', caller);
  const rows = await unusedEnrollmentTokens(sql, segmentId, asOf);
  const makers = new Map<number | null, EnrollmentMaker>();
  for (const { createdBy } of rows) {
    if (!makers.has(createdBy)) makers.set(createdBy, await enrollmentMaker(sql, createdBy, segmentId));
  }
  return {
    items: rows.map(({ id, createdBy, createdAt, expiresAt, ...maker }) => ({
      id,
      createdBy: makers.get(createdBy)?.name ?? null,
      createdAt: createdAt.toISOString(),
      expiresAt: expiresAt.toISOString(),
      madeWith: makerOf(maker),
      admitsNobody: makers.get(createdBy)?.admitsNobody ?? null,
    })),
  };
}

/**
 * Takes back a token: from then on it admits no agent. Does nothing if the segment has no such token, or not any more.
 * @throws {AppError} `not_found` or `forbidden` for the segment; `conflict` if an agent has used the token.
 */
export async function revokeEnrollmentToken(
  sql: Sql,
  { segmentId, tokenId }: { segmentId: number; tokenId: number },
  caller: Caller,
): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const segment = await segmentFor(tx, segmentId, 'agents.enroll', caller);
    const revoked = await deleteEnrollmentToken(tx, segmentId, tokenId);
    if (revoked === undefined) return;
    if (revoked.wasUsed)
      throw new AppError('conflict', 'An agent has already used this token. Revoke that agent instead.');
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'enrollment_token.revoked',
      object: { kind: 'segment', id: segmentId },
      scope: { segmentId },
      detail: { tokenId, segment: segment.name },
    });
  });
}
