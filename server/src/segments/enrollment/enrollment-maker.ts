// Whether the user who made an enrollment token may still do so. Otherwise people could enroll an agent, and so get all
// credentials of the segment, after their rights were taken away.
import type { PendingEnrollmentToken } from '@opsconductor/protocol';
import { Authority } from '../../auth/authority.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { findUserById } from '../../store/people/users.ts';

export interface EnrollmentMaker {
  /** Null if the user was deleted. */
  name: string | null;
  /** Why their tokens for the segment admit nobody; null if they admit an agent. */
  admitsNobody: PendingEnrollmentToken['admitsNobody'];
}

/** Returns who made a token, and whether it still admits an agent to the segment. */
export async function enrollmentMaker(
  sql: Queryable,
  userId: number | null,
  segmentId: number,
): Promise<EnrollmentMaker> {
  const user = userId === null ? undefined : await findUserById(sql, userId);
  if (user === undefined) return { name: null, admitsNobody: 'maker_deleted' };
  const { name } = user;
  if (!user.isActive) return { name, admitsNobody: 'maker_deactivated' };
  const mayEnroll = new Authority(user.grants).holdsOnSegment('agents.enroll', segmentId);
  return { name, admitsNobody: mayEnroll ? null : 'maker_lost_right' };
}
