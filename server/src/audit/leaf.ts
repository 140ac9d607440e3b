// The bytes of a row that the seal covers: its columns as canonical JSON (RFC 8785), so that anyone can reproduce them
// from an export.
import { canonicalJson } from '@opsconductor/protocol';
import { type Hash, leafHash } from '@opsconductor/protocol/audit';

/** A row of the audit log as it is sealed and exported. */
export interface SealedRow {
  id: number;
  /** RFC 3339 with six decimals, UTC: the database's own precision. */
  at: string;
  actorKind: string;
  actorId: number | null;
  actorName: string;
  action: string;
  objectKind: string | null;
  objectId: string | null;
  detail: unknown;
  address: string | null;
  requestId: string | null;
  segmentId: number | null;
  categoryId: number | null;
}

/** Returns what is hashed of a row. `v` is the version of this list of fields. */
function leafBytes(row: SealedRow): string {
  const { id, at, actorKind, actorId, actorName, action, objectKind, objectId, detail } = row;
  const { address, requestId, segmentId, categoryId } = row;
  return canonicalJson({
    v: 1,
    id,
    at,
    actorKind,
    actorId,
    actorName,
    action,
    objectKind,
    objectId,
    detail,
    address,
    requestId,
    segmentId,
    categoryId,
  });
}

export function hashRow(row: SealedRow): Hash {
  return leafHash(leafBytes(row));
}
