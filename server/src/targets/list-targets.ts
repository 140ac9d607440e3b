import {
  type HostKey,
  limits,
  type Target,
  type TargetHealth,
  type TargetPage,
  type TargetQuerySchema,
} from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Reach } from '../auth/authority.ts';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import { type HostKeyRow, listHostKeys } from '../store/host-keys/host-keys.ts';
import {
  countTargets,
  findTarget,
  listTargets as listTargetRows,
  type TargetRow,
} from '../store/targets/targets.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { connectionOf } from './connection-of.ts';
import { readSelector } from './selection/read-selector.ts';

/**
 * Returns a page of the targets in these reaches, by name; `search` is a part of a name or host.
 * @throws {AppError} `invalid` for a selector that can't be read, or that names something that does not exist.
 */
export async function listTargets(
  sql: Queryable,
  query: Static<typeof TargetQuerySchema>,
  reaches: readonly Reach[],
): Promise<TargetPage> {
  refuseUnstorableText(query, 'query');
  const limit = query.limit ?? limits.defaultPageItems;
  const { selector: text, ...rest } = query;
  const selector = text === undefined ? undefined : await readSelector(sql, text, 'query.selector', reaches);
  const filter = { ...rest, selector };
  const [rows, total] = await Promise.all([
    listTargetRows(sql, { ...filter, limit }, reaches),
    query.count === true ? countTargets(sql, filter, reaches) : undefined,
  ]);
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
  const items = page.items.map((row) =>
    toTarget(
      row,
      keys.filter((key) => key.targetId === row.id),
    ),
  );
  return { items, nextCursor: page.nextCursor, ...(total === undefined ? {} : { total }) };
}

/** @throws {AppError} `not_found` for a target outside these reaches. */
export async function getTarget(sql: Queryable, id: number, reaches: readonly Reach[]): Promise<Target> {
  const row = await findTarget(sql, id, reaches);
  if (row === undefined) throw notFound('Target');
  return toTarget(row, await listHostKeys(sql, [id]));
}

function toTarget(row: TargetRow, keys: readonly HostKeyRow[]): Target {
  const { mergedSettings, effectiveCredentialId, effectiveCredentialName, ...rest } = row;
  const { lastContactAt, lastContactOk, lastContactReason, ...reached } = rest;
  const { lastProbeAt, lastProbeOk, lastProbeReason, lastProbeMs, ...fields } = reached;
  const { protocol, port } = connectionOf(mergedSettings, row.port);
  return {
    ...fields,
    effective: {
      protocol,
      port,
      credentialId: effectiveCredentialId,
      credentialName: effectiveCredentialName,
    },
    health: healthOf(lastContactOk),
    lastContact:
      lastContactAt === null || lastContactOk === null
        ? null
        : { at: lastContactAt.toISOString(), ok: lastContactOk, reason: lastContactReason },
    ...(lastContactAt !== null && lastContactOk === null
      ? { untriedSince: lastContactAt.toISOString() }
      : {}),
    lastProbe:
      lastProbeAt === null
        ? null
        : {
            at: lastProbeAt.toISOString(),
            ok: lastProbeOk === true,
            reason: lastProbeReason,
            latencyMs: lastProbeMs,
          },
    hostKeys: keys.map(toHostKey),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function healthOf(ok: boolean | null): TargetHealth {
  if (ok === null) return 'never';
  return ok ? 'ok' : 'failing';
}

function toHostKey(row: HostKeyRow): HostKey {
  return {
    keyType: row.keyType,
    fingerprint: row.fingerprint,
    state: row.state,
    seenAt: row.seenAt.toISOString(),
    acceptedAt: row.acceptedAt?.toISOString() ?? null,
    acceptedBy: row.acceptedByName,
    source: row.source,
  };
}
