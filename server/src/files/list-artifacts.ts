import { type Artifact, type ArtifactQuery, limits } from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import { notFound } from '../errors.ts';
import type { RunKeys } from '../runs/run-keys.ts';
import type { Sql } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import {
  type ArtifactRow,
  findArtifact,
  listArtifacts as listArtifactRows,
} from '../store/files/artifacts.ts';
import { openArtifactName } from './agent-contents.ts';

interface Deps {
  sql: Sql;
  keys: RunKeys;
}

/**
 * Returns the complete artifacts of a run, from target runs within the reaches. The caller must have checked that the
 * run is visible.
 */
export async function listArtifacts(
  { sql, keys }: Deps,
  runId: number,
  query: ArtifactQuery,
  reaches: readonly Reach[],
): Promise<{ items: Artifact[]; nextCursor: string | null }> {
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listArtifactRows(sql, { runId, ...query, limit }, reaches);
  if (rows.length === 0) return { items: [], nextCursor: null };
  const dataKey = await keys.keyOf(sql, runId);
  return pageOf(
    rows,
    limit,
    (row) => [row.stepId, row.epoch, row.id],
    (row) => toArtifact(dataKey, row),
  );
}

/** @throws {AppError} `not_found`, also for an artifact that is not visible or not complete. */
export async function getArtifact(
  { sql, keys }: Deps,
  ref: { runId: number; id: string },
  reaches: readonly Reach[],
): Promise<Artifact> {
  const row = await findArtifact(sql, ref, reaches);
  if (row === undefined) throw notFound('Artifact');
  return toArtifact(await keys.keyOf(sql, ref.runId), row);
}

function toArtifact(
  dataKey: Buffer,
  { id, stepId, epoch, name, size, sha256, createdAt }: ArtifactRow,
): Artifact {
  return {
    id,
    stepId,
    attempt: epoch,
    name: openArtifactName(dataKey, id, name),
    size,
    sha256,
    createdAt: createdAt.toISOString(),
  };
}
