// An import as the API shows it.
import type { ImportCounts, JobImportHead, JobImportItem, JobImportItemDetail } from '@opsconductor/protocol';
import type { JobImportItemRow, JobImportRow } from '../../store/jobs/job-imports.ts';
import type { ImportSeal } from './import-seal.ts';

export function headOf(row: JobImportRow): JobImportHead {
  const { id, format, existing, status, percent, jobsDone, jobsTotal, counts, problemCount, findingCount } =
    row;
  return {
    id,
    format,
    existing,
    note: row.note,
    status,
    percent,
    jobsDone,
    jobsTotal,
    message: messageOf(row),
    createdAt: row.createdAt.toISOString(),
    createdBy: row.createdByName,
    expiresAt: row.expiresAt.toISOString(),
    appliedAt: row.appliedAt?.toISOString() ?? null,
    counts,
    problemCount,
    findingCount,
  };
}

function messageOf(row: JobImportRow): string {
  const { status, percent, jobsDone, jobsTotal, problemCount, counts, isExpired } = row;
  switch (status) {
    case 'reading':
      return `The file is being read: ${percent} %, ${jobsDone} jobs so far.`;
    case 'refused':
      return problemCount === 1
        ? 'The file has one problem; nothing is planned.'
        : `The file has ${problemCount} problems; nothing is planned.`;
    case 'planned':
      if (isExpired) return 'This plan is too old; import the file again.';
      if (counts.conflict > 0) return `${planInWords(counts)} Resolve the conflicts, then apply it.`;
      return `${planInWords(counts)} Nothing has changed yet.`;
    case 'applying':
      return `It is being applied: ${jobsDone} of ${jobsTotal ?? 0} jobs. Nothing changes until the last one is done.`;
    case 'applied':
      return `Applied: ${inWords(counts, { create: 'created', update: 'updated' })}`;
    case 'interrupted':
      return row.reason;
  }
}

function planInWords(counts: ImportCounts): string {
  return inWords(counts, { create: 'to create', update: 'to update' });
}

function inWords(
  { create, update, unchanged, skip, conflict }: ImportCounts,
  words: { create: string; update: string },
): string {
  const parts = [
    [create, words.create],
    [update, words.update],
    [unchanged, 'unchanged'],
    [skip, 'skipped'],
    [conflict, 'in conflict'],
  ] as const;
  const told = parts.flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}`]));
  return told.length === 0 ? 'It contains no jobs.' : `${told.join(', ')}.`;
}

export function itemOf(row: JobImportItemRow, seal: ImportSeal): JobImportItem {
  const { changes, conflict, choices } = seal.openItem(row.position, row.sealed);
  const {
    position,
    action,
    name,
    fileName,
    category,
    stepCount,
    isTemplate,
    jobId,
    line,
    choice,
    findingCount,
  } = row;
  return {
    position,
    action,
    name,
    fileName,
    category,
    stepCount,
    isTemplate,
    jobId,
    line,
    changes,
    conflict,
    choice,
    choices,
    findingCount,
  };
}

export function detailOf(row: JobImportItemRow, seal: ImportSeal): JobImportItemDetail {
  const { entry, findings } = seal.openItem(row.position, row.sealed);
  const state = entry.state ?? (row.action === 'create' ? (entry.firstState ?? null) : null);
  return { ...itemOf(row, seal), definition: entry.definition, state, findings };
}
