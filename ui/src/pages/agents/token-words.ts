// An enrollment token that was not used, in words: who made it, and whether an agent can still be enrolled with it.
import type { PendingEnrollmentToken } from '@opsconductor/protocol';

export interface TokenWords {
  look: 'queued' | 'timed_out' | 'cancelled';
  word: string;
}

export function tokenWords(token: PendingEnrollmentToken, now: number): TokenWords {
  if (Date.parse(token.expiresAt) <= now) return { look: 'timed_out', word: 'expired' };
  const { admitsNobody } = token;
  // A server of the previous version doesn't say it.
  if (admitsNobody === undefined) return { look: 'queued', word: 'not used yet' };
  if (admitsNobody === null) return { look: 'queued', word: 'admits one agent' };
  return { look: 'cancelled', word: `admits no agent: ${reason(token.createdBy, admitsNobody)}` };
}

export function makerOf({ createdBy }: PendingEnrollmentToken): string {
  return createdBy ?? 'a user who was deleted';
}

function reason(name: string | null, why: NonNullable<PendingEnrollmentToken['admitsNobody']>): string {
  const maker = name ?? 'the user who made it';
  switch (why) {
    case 'maker_deleted':
      return 'the user who made it was deleted';
    case 'maker_deactivated':
      return `${maker} was deactivated`;
    case 'maker_lost_right':
      return `${maker} may no longer enroll agents here`;
  }
}
