// The SSH connections of a run, as far as the caller may see the target runs that used them.
import type { SshConnectionPage, SshConnectionQuery } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import { notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { decodeCursor, encodeCursor } from '../../store/database/cursor.ts';
import { listSshConnections } from '../../store/runs/ssh-contexts.ts';
import { whatIsSeen } from './seen-run.ts';

/** @throws {AppError} `not_found`, also if the caller may see nothing of the run. */
export async function listSeenSshConnections(
  sql: Queryable,
  runId: number,
  { limit, cursor, targetRunId }: SshConnectionQuery & { limit: number },
  authority: Authority,
): Promise<SshConnectionPage> {
  const above = cursor === undefined ? 0 : (decodeCursor(cursor, ['number'])[0] ?? 0);
  const rows = await listSshConnections(
    sql,
    { runId, targetRunId, above, limit: limit + 1 },
    authority.reach('read'),
  );
  if (rows.length === 0 && (await whatIsSeen(sql, runId, authority)) === undefined)
    throw notFound(`Run ${runId}`);
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    items: rows.slice(0, limit).map((row) => ({
      ...row,
      establishedAt: row.establishedAt === null ? null : row.establishedAt.toISOString(),
    })),
    nextCursor: last === undefined ? null : encodeCursor([last.id]),
  };
}
