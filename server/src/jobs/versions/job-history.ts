// Everything that was done to a job, in words, newest first: its versions, and its rows of the audit log.
import { type historyKinds, type JobHistoryEntry, limits } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { decodeCursor, pageOf } from '../../store/database/cursor.ts';
import { listCategories } from '../../store/jobs/categories.ts';
import { type HistoryRow, listJobHistory } from '../../store/jobs/job-history.ts';
import { reachesEverything } from '../../store/people/visibility.ts';
import { seenJob } from './read-versions.ts';

type Kind = (typeof historyKinds)[number];

/** Actions of the audit log that are shown, except those that a version already represents. */
const kinds: Record<string, Kind> = {
  'job.moved': 'moved',
  'job.labelled': 'labelled',
  'job.template_changed': 'template',
  'job.state_changed': 'state',
  'job.tagged': 'tagged',
  'job.untagged': 'untagged',
  'job.channel_set': 'channel_set',
  'job.channel_removed': 'channel_removed',
  'job.deleted': 'deleted',
};

/** @throws {AppError} `not_found`. */
export async function jobHistory(
  sql: Queryable,
  jobId: number,
  { limit = limits.defaultPageItems, cursor }: { limit?: number; cursor?: string },
  reaches: readonly Reach[],
): Promise<{ items: JobHistoryEntry[]; nextCursor: string | null }> {
  await seenJob(sql, jobId, reaches, { alsoDeleted: true });
  const before = cursor === undefined ? undefined : decodeCursor(cursor, ['number', 'number'] as const);
  const rows = await listJobHistory(sql, jobId, Object.keys(kinds), { before, limit: limit + 1 });
  const named = await categoriesSeen(sql, rows, reaches);
  return pageOf(
    rows,
    limit,
    (row) => [row.atMicros, row.place],
    (row) => entryOf(row, named),
  );
}

/** Returns the names of categories that the reader may know; undefined if they may know all. */
async function categoriesSeen(
  sql: Queryable,
  rows: readonly HistoryRow[],
  reaches: readonly Reach[],
): Promise<ReadonlySet<unknown> | undefined> {
  if (reachesEverything(reaches) || !rows.some((row) => row.action === 'job.moved')) return undefined;
  return new Set((await listCategories(sql, reaches)).map(({ name }) => name));
}

function entryOf(row: HistoryRow, named: ReadonlySet<unknown> | undefined): JobHistoryEntry {
  const kind = row.action === 'version' ? versionKind(row) : (kinds[row.action] ?? 'saved');
  return {
    at: row.at.toISOString(),
    by: row.by,
    kind,
    summary: summaryOf(kind, row, named),
    version: row.version,
    note: row.note,
  };
}

function versionKind({ version, restores }: HistoryRow): Kind {
  if (restores !== null) return 'rolled_back';
  return version === 1 ? 'created' : 'saved';
}

function summaryOf(kind: Kind, row: HistoryRow, named: ReadonlySet<unknown> | undefined): string {
  const { version, restores, detail } = row;
  const category = (name: unknown) =>
    named === undefined || named.has(name) ? `“${name}”` : 'a category that you can’t see';
  switch (kind) {
    case 'created':
      return 'Created';
    case 'saved':
      return `Saved version ${version}`;
    case 'rolled_back':
      return `Rolled back to version ${restores}, as version ${version}`;
    case 'moved':
      return `Moved from ${category(detail.from)} to ${category(detail.to)}`;
    case 'labelled':
      return `Changed labels from ${labelsInWords(detail.from)} to ${labelsInWords(detail.to)}`;
    case 'template':
      return detail.isTemplate === true ? 'Made it a template' : 'Made it no longer a template';
    case 'state':
      return `Changed state from ${detail.from} to ${detail.to}`;
    case 'tagged':
      return `Tagged version ${version} as “${detail.tag}”`;
    case 'untagged':
      return `Deleted tag “${detail.tag}” of version ${version}`;
    case 'channel_set':
      return detail.from === undefined
        ? `Set channel “${detail.channel}” to version ${version}`
        : `Moved channel “${detail.channel}” from version ${detail.from} to version ${version}`;
    case 'channel_removed':
      return `Deleted channel “${detail.channel}”, which named version ${version}`;
    case 'deleted':
      return 'Deleted';
  }
}

function labelsInWords(labels: unknown): string {
  const words = Object.entries(Object(labels)).map(([name, value]) =>
    value === '' ? name : `${name}=${value}`,
  );
  return words.length === 0 ? 'none' : words.join(', ');
}
