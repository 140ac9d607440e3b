import type { Permission } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import { notFound } from '../errors.ts';
import { findSegment, type SegmentRow } from '../store/agents/segments.ts';
import type { Queryable } from '../store/database/connection.ts';

/**
 * Returns the segment for something that needs the permission on it.
 * @throws {AppError} `not_found`, also if the caller may not read it; `forbidden` if they may only read it.
 */
export async function segmentFor(
  sql: Queryable,
  id: number,
  permission: Permission,
  caller: Pick<Caller, 'name' | 'authority'>,
): Promise<SegmentRow> {
  const { authority } = caller;
  const segment = authority.holdsOnSegment('read', id) ? await findSegment(sql, id) : undefined;
  if (segment === undefined) throw notFound('Segment');
  if (!authority.holdsOnSegment(permission, id)) {
    throw new MissingPermission(caller, permission, `segment “${segment.name}”`);
  }
  return segment;
}
