import { type HostKey, limits, type Target, type TargetQuerySchema } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { notFound } from '../errors.ts';
import { refuseUnstorableText } from '../storable-text.ts';
import type { Queryable } from '../store/connection.ts';
import { pageOf } from '../store/cursor.ts';
import { type HostKeyRow, listHostKeys } from '../store/host-keys.ts';
import { findTarget, listTargets as listTargetRows, type TargetRow } from '../store/targets.ts';

/** A page of targets by name; `search` is a part of name or host. */
export async function listTargets(
  sql: Queryable,
  query: Static<typeof TargetQuerySchema>,
): Promise<{ items: Target[]; nextCursor: string | null }> {
  refuseUnstorableText(query, 'query');
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listTargetRows(sql, { ...query, limit });
  const page = pageOf(
    rows,
    limit,
    (row) => [row.name, row.id],
    (row) => row,
  );
  const keys = await listHostKeys(
    sql,
    page.items.map((row) => row.id),
  );
  return {
    items: page.items.map((row) =>
      toTarget(
        row,
        keys.filter((key) => key.targetId === row.id),
      ),
    ),
    nextCursor: page.nextCursor,
  };
}

/** @throws {AppError} `not_found`. */
export async function getTarget(sql: Queryable, id: number): Promise<Target> {
  const row = await findTarget(sql, id);
  if (row === undefined) throw notFound('Target');
  return toTarget(row, await listHostKeys(sql, [id]));
}

function toTarget(row: TargetRow, keys: readonly HostKeyRow[]): Target {
  return {
    ...row,
    hostKeys: keys.map(toHostKey),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function toHostKey(row: HostKeyRow): HostKey {
  return {
    keyType: row.keyType,
    fingerprint: row.fingerprint,
    state: row.state,
    seenAt: row.seenAt.toISOString(),
    acceptedAt: row.acceptedAt?.toISOString() ?? null,
    acceptedBy: row.acceptedByName,
  };
}
