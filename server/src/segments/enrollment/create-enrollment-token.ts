import { createHash, randomBytes } from 'node:crypto';
import { type EnrollmentTokenReply, formatEnrollmentToken, limits } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { beginMaking } from '../../auth/making.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { deleteOldEnrollmentTokens, insertEnrollmentToken } from '../../store/agents/enrollment-tokens.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { insertMadeWith } from '../../store/people/made-with.ts';
import { segmentFor } from '../segment-for.ts';
import { enrollmentCaution, enrollmentSteps } from './enrollment-steps.ts';

export interface EnrollmentTokenDeps {
  sql: Sql;
  /** Where agents and browsers reach this installation: `https://ops.example.com`. */
  publicUrl: string;
  /**
   * Returns `sha256:` + hex of the SubjectPublicKeyInfo of the CA that agents trust, or undefined for HTTP on loopback.
   * It changes while the server runs if its certificate does.
   */
  caPin(): string | undefined;
  /** Returns the SHA-256 of the agent program that this server serves, in lowercase hex. */
  agentSha256(): Promise<string>;
}

const secretBytes = 32;

/**
 * Creates a token that enrolls one agent into a segment within an hour. Only its hash is kept.
 * @throws {AppError} `not_found`; `unauthenticated` if the caller's session or token has been ended meanwhile; `forbidden` without `agents.enroll` on the segment.
 */
export async function createEnrollmentToken(
  deps: EnrollmentTokenDeps,
  segmentId: number,
  caller: Caller,
): Promise<EnrollmentTokenReply> {
  const agentSha256 = await deps.agentSha256();
  const secret = randomBytes(secretBytes).toString('base64url');
  return inTransaction(deps.sql, async (tx) => {
    const maker = await beginMaking(tx, caller.maker);
    const segment = await segmentFor(tx, segmentId, 'agents.enroll', caller);
    await deleteOldEnrollmentTokens(tx);
    const { id, expiresAt } = await insertEnrollmentToken(tx, {
      segmentId,
      tokenHash: hashEnrollmentSecret(secret),
      createdBy: caller.userId,
      ttlMs: limits.enrollmentTokenTtlMs,
    });
    if (maker !== undefined) await insertMadeWith(tx, { kind: 'enrollment_token', id, userId: null }, maker);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'enrollment_token.created',
      object: { kind: 'segment', id: segmentId },
      scope: { segmentId },
      detail: { tokenId: id, segment: segment.name, expiresAt: expiresAt.toISOString() },
    });
    const caPin = deps.caPin();
    const token = formatEnrollmentToken({
      secret,
      rootSha256: createHash('sha256').update(segment.rootKey).digest('hex'),
      ...(caPin === undefined ? {} : { caPin }),
    });
    const caution = enrollmentCaution(deps.publicUrl);
    return {
      id,
      token,
      expiresAt: expiresAt.toISOString(),
      ...(caution === undefined ? {} : { caution }),
      steps: enrollmentSteps({ publicUrl: deps.publicUrl, agentSha256, privateCa: caPin !== undefined }),
    };
  });
}

/** Returns what is stored of a token. It has 256 random bits, so a plain hash is enough. */
export function hashEnrollmentSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
