// Decides what an import does with one job of its file, given the existing job of that name.
import {
  compareDefinitions,
  type DefinitionChange,
  type ExistingTreatment,
  generalCategory,
  type ImportAction,
  type ImportChoice,
  type ImportConflictReason,
  type JobDefinition,
  limits,
} from '@opsconductor/protocol';
import type { BundledJobRow } from '../../../store/jobs/job-bundles.ts';
import { stateProblem } from '../../life/change-state.ts';
import type { BundleEntry } from '../reading/read-jobs.ts';

export interface ExistingJob {
  row: BundledJobRow;
  definition: JobDefinition;
  /** Whether the importer may read and change it. */
  isOurs: boolean;
  /** Why its definition can't be opened, if it can't. */
  unopened?: string | undefined;
}

export interface ItemDecision {
  action: ImportAction;
  /** Set if the job was compared with an existing one. */
  changes: DefinitionChange[];
  conflict: { reason: ImportConflictReason; message: string } | null;
  choices: ImportChoice[];
}

const none: Omit<ItemDecision, 'action'> = { changes: [], conflict: null, choices: [] };

/**
 * @param existing the job that has the name; undefined if there is none.
 * @param duplicateOf position of an earlier job in the file with the same name.
 */
export function decideItem(
  {
    entry,
    existing,
    duplicateOf,
  }: { entry: BundleEntry; existing: ExistingJob | undefined; duplicateOf: number | undefined },
  treatment: ExistingTreatment,
): ItemDecision {
  const { name } = entry.definition;
  if (duplicateOf !== undefined) {
    const message = `Job ${duplicateOf} of the file is named ${name} too; skip this one, or make a copy of it.`;
    return unlessChosen(treatment, { reason: 'duplicate', message });
  }
  if (existing === undefined) return { ...none, action: 'create' };
  if (!existing.isOurs) {
    const message = `A job that you may not change is named ${name}; skip this one, or make a copy of it.`;
    return unlessChosen(treatment, { reason: 'name_taken', message });
  }
  if (existing.unopened !== undefined) {
    const message = `The existing job ${name} can’t be compared. ${existing.unopened} Skip this one, make a copy of it, or delete that job and import again.`;
    return unlessChosen(treatment, { reason: 'unreadable', message });
  }
  const changes = changesOf(entry, existing);
  if (changes.length === 0) return { ...none, action: 'unchanged' };
  const choices: ImportChoice[] = ['update', 'skip', 'copy'];
  if (treatment === 'skip') return { action: 'skip', changes, conflict: null, choices };
  if (treatment === 'copy') return { action: 'create', changes: [], conflict: null, choices };
  const obstacle = obstacleOf(entry, existing);
  if (obstacle !== undefined) {
    return { action: 'conflict', changes, conflict: obstacle, choices: ['skip', 'copy'] };
  }
  if (treatment === 'update') return { action: 'update', changes, conflict: null, choices };
  const message = `A job named ${name} already exists and differs; update it, skip this one, or make a copy.`;
  return { action: 'conflict', changes, conflict: { reason: 'exists', message }, choices };
}

function unlessChosen(
  treatment: ExistingTreatment,
  conflict: NonNullable<ItemDecision['conflict']>,
): ItemDecision {
  const choices: ImportChoice[] = ['skip', 'copy'];
  if (treatment === 'skip') return { action: 'skip', changes: [], conflict: null, choices };
  if (treatment === 'copy') return { action: 'create', changes: [], conflict: null, choices };
  return { action: 'conflict', changes: [], conflict, choices };
}

/**
 * Returns the differences field by field. A bundle contains the whole definition; of the rest, only what it names is
 * compared.
 */
function changesOf(entry: BundleEntry, { row, definition }: ExistingJob): DefinitionChange[] {
  const changes = compareDefinitions(
    { ...definition, category: row.category, labels: row.labels, template: row.isTemplate },
    wholeDefinition(entry.definition),
  );
  const field = (path: string, before: unknown, after: unknown): DefinitionChange =>
    before === undefined || before === null
      ? { path, kind: 'added', after }
      : { path, kind: 'changed', before, after };
  if (entry.state !== undefined && entry.state !== row.state)
    changes.push(field('state', row.state, entry.state));
  const isNewVersion = changes.some(({ path }) => !/^(category$|labels\b|template$|state$)/.test(path));
  for (const [path, kind, names] of [
    ['tags', 'tag', entry.tags],
    ['channels', 'channel', entry.channels],
  ] as const) {
    for (const name of names) {
      const before = row.names.find((one) => one.name === name);
      if (before?.kind === kind && before.version === row.version && !isNewVersion) continue;
      changes.push(field(`${path}.${name}`, before?.version, row.version + (isNewVersion ? 1 : 0)));
    }
  }
  if (entry.madeFrom !== undefined && entry.madeFrom !== row.madeFrom) {
    changes.push(field('made_from', row.madeFrom, entry.madeFrom));
  }
  return changes;
}

/** Fills in what a bundle leaves out: no labels, not a template, and the default category. */
export function wholeDefinition(definition: JobDefinition): JobDefinition & { category: string } {
  return {
    ...definition,
    category: definition.category ?? generalCategory.name,
    labels: definition.labels ?? {},
    template: definition.template ?? false,
  };
}

/** Returns what keeps the existing job from becoming what the file has. */
function obstacleOf(entry: BundleEntry, { row }: ExistingJob): ItemDecision['conflict'] | undefined {
  if (row.state === 'archived') {
    const message = `Job “${row.name}” is archived: restore it and import again, skip this one, or make a copy of it.`;
    return { reason: 'archived', message };
  }
  if (entry.state !== undefined && entry.state !== row.state) {
    const problem = stateProblem(row, entry.state);
    if (problem !== undefined) return { reason: 'state', message: problem };
  }
  const named = new Set([...row.names.map(({ name }) => name), ...entry.tags, ...entry.channels]);
  if (named.size > limits.maxNamesPerJob) {
    const message = `Job “${row.name}” would have more than ${limits.maxNamesPerJob} tags and channels.`;
    return { reason: 'tag', message };
  }
  for (const [kind, names] of [
    ['tag', entry.tags],
    ['channel', entry.channels],
  ] as const) {
    for (const name of names) {
      const before = row.names.find((one) => one.name === name);
      if (before === undefined || (kind === 'channel' && before.kind === 'channel')) continue;
      if (before.kind === kind && before.version === row.version) continue;
      const message =
        before.kind === kind
          ? `Tag “${name}” of job “${row.name}” names its version ${before.version}, and a tag never moves: take it out of the file.`
          : `“${name}” is a ${before.kind} of job “${row.name}”, and a ${kind} in the file.`;
      return { reason: 'tag', message };
    }
  }
  return undefined;
}
