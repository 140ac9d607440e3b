// Job imports in words.
import type {
  DefinitionChange,
  ExistingTreatment,
  ImportAction,
  ImportChoice,
  ImportCounts,
  ImportFinding,
  ImportFormat,
  ImportProblem,
  ImportStatus,
  JobImportItem,
} from '@opsconductor/protocol';
import { count, counted } from '../../format/quantity.ts';

export const formatWords: Record<ImportFormat, string> = {
  bundle: 'bundle of jobs',
  rundeck: 'Rundeck export',
};

export const actionLooks: Record<ImportAction, { look: string; word: string }> = {
  conflict: { look: 'failed', word: 'conflict' },
  create: { look: 'ready', word: 'create' },
  update: { look: 'partial', word: 'update' },
  skip: { look: 'skipped', word: 'left as it is' },
  unchanged: { look: 'succeeded', word: 'unchanged' },
};
/** After it was applied. */
export const doneLooks: typeof actionLooks = {
  ...actionLooks,
  create: { look: 'succeeded', word: 'created' },
  update: { look: 'succeeded', word: 'updated' },
};
/** What needs a person comes first. */
export const actionOrder = [
  'conflict',
  'create',
  'update',
  'skip',
  'unchanged',
] as const satisfies readonly ImportAction[];

export const choiceWords: Record<ImportChoice, string> = {
  update: 'Update the existing job',
  skip: 'Leave the existing job as it is',
  copy: 'Create a copy next to it',
};
export const treatmentWords: Record<ExistingTreatment, string> = {
  update: 'are updated, each with a new version',
  skip: 'are left as they are',
  copy: 'stay, and copies are created next to them',
  ask: 'are asked about, one by one',
};

export const findingWords: Record<ImportFinding['kind'], string> = {
  left_out: 'left out',
  dropped: 'not carried over',
  changed: 'changed',
  note: 'note',
};

export const statusLooks: Record<ImportStatus, { look: string; word: string }> = {
  reading: { look: 'running', word: 'being read' },
  refused: { look: 'failed', word: 'refused' },
  planned: { look: 'ready', word: 'planned' },
  applying: { look: 'running', word: 'being applied' },
  applied: { look: 'succeeded', word: 'imported' },
  interrupted: { look: 'unknown', word: 'interrupted' },
};

/** Text of the button that applies it: `Create 12 jobs, update 3`. */
export function applyWords({ create, update }: ImportCounts): string {
  if (create > 0 && update > 0) return `Create ${counted(create, 'job')}, update ${count(update)}`;
  if (create > 0) return `Create ${counted(create, 'job')}`;
  return update > 0 ? `Update ${counted(update, 'job')}` : 'Nothing to apply';
}

/** What a plan amounts to: `12 to create, 3 to update, 1 in conflict`. */
export function countWords(counts: ImportCounts, isApplied = false): string {
  const parts = [
    [counts.conflict, 'in conflict'],
    [counts.create, isApplied ? 'created' : 'to create'],
    [counts.update, isApplied ? 'updated' : 'to update'],
    [counts.skip, 'left as they are'],
    [counts.unchanged, 'unchanged'],
  ] as const;
  const told = parts.flatMap(([number, what]) => (number === 0 ? [] : [`${count(number)} ${what}`]));
  return told.length === 0 ? 'no jobs' : told.join(', ');
}

/** An item at a glance: its conflict, or the fields that differ. */
export function itemSummary(item: JobImportItem): string {
  if (item.conflict !== null) return item.conflict.message;
  if (item.action === 'create') {
    return item.name === item.fileName ? counted(item.stepCount, 'step') : `a copy of ${item.fileName}`;
  }
  return changedFields(item.changes);
}

export function changedFields(changes: readonly Pick<DefinitionChange, 'path'>[]): string {
  const paths = [...new Set(changes.map(({ path }) => path))];
  const shown = paths.slice(0, 4).join(', ');
  return paths.length > 4 ? `${shown} and ${count(paths.length - 4)} more` : shown;
}

/** A problem's message without the position in the file, where that is shown beside it. */
export function withoutPlace({ message, line }: Pick<ImportProblem, 'message' | 'line'>): string {
  return line === undefined ? message : message.replace(/^Line \d+, column \d+: /, '');
}
