// Checks what somebody asks to select as a whole: ids and groups must exist, selectors must be readable. Nothing that
// is named but missing is silently left out.
import { limits, type RunSelection, type TargetSelection } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { AppError } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import {
  groupsSeen,
  type SelectionTerms,
  type TargetQuery,
  targetsSeen,
} from '../../store/targets/target-selection.ts';
import { readSelector } from './read-selector.ts';

export interface ReadSelection {
  query: TargetQuery;
  /** As requested, without the number of targets that it resolves to. */
  asked: Omit<RunSelection, 'selected'>;
}

type Terms = Pick<TargetSelection, 'targetIds' | 'groupIds' | 'selector'>;

/**
 * Reads a selection for a caller who may see what lies in these reaches.
 * @param path Path of the selection within the request, with a dot at the end; empty if it is the whole body.
 * @throws {AppError} `not_found` naming each id that is not visible; `invalid` for an empty selection, or a selector
 * that can't be read.
 */
export async function readSelection(
  sql: Queryable,
  selection: TargetSelection,
  reaches: readonly Reach[],
  path = '',
): Promise<ReadSelection> {
  if ([selection.targetIds, selection.groupIds, selection.selector].every((part) => part === undefined)) {
    const message = 'Nothing is selected: give targetIds, groupIds or a selector.';
    throw new AppError('invalid', message, { details: [{ path: path.replace(/\.$/, ''), message }] });
  }
  const exclude = selection.exclude ?? {};
  const groupIds = [...(selection.groupIds ?? []), ...(exclude.groupIds ?? [])];
  const targetIds =
    selection.exclude === undefined ? [] : [...(selection.targetIds ?? []), ...(exclude.targetIds ?? [])];
  const [groups, targets, selector, excludeSelector] = await Promise.all([
    groupsSeen(sql, groupIds, reaches),
    targetsSeen(sql, targetIds, reaches),
    selectorOf(sql, selection, path, reaches),
    selectorOf(sql, exclude, `${path}exclude.`, reaches),
  ]);
  // Without exclusions, the resolved targets show which of the ids are missing: see requireFound.
  const { targetIds: _, ...withoutTargets } = selection;
  refuseUnseen(selection.exclude === undefined ? withoutTargets : selection, path, groups, targets);
  refuseUnseen(exclude, `${path}exclude.`, groups, targets);
  return {
    query: { ...termsOf(selection, selector), exclude: termsOf(exclude, excludeSelector) },
    asked: { ...told(selection, groups), exclude: told(exclude, groups) },
  };
}

async function selectorOf(sql: Queryable, terms: Terms, path: string, reaches: readonly Reach[]) {
  return terms.selector === undefined
    ? undefined
    : readSelector(sql, terms.selector, `${path}selector`, reaches);
}

function termsOf(terms: Terms, selector: SelectionTerms['selector']): SelectionTerms {
  return { targetIds: terms.targetIds ?? [], groupIds: terms.groupIds ?? [], selector };
}

function told(terms: Terms, groups: ReadonlyMap<number, string>) {
  return {
    targets: terms.targetIds?.length ?? 0,
    groups: (terms.groupIds ?? []).map((id) => ({ id, name: groups.get(id) ?? '' })),
    selector: terms.selector ?? null,
  };
}

function refuseUnseen(
  terms: Terms,
  path: string,
  groups: ReadonlyMap<number, string>,
  targets: ReadonlySet<number>,
): void {
  const unseen = (name: 'targetIds' | 'groupIds', what: string, isSeen: (id: number) => boolean) =>
    (terms[name] ?? []).flatMap((id, index) =>
      isSeen(id)
        ? []
        : [{ path: `${path}${name}[${index}]`, found: String(id), message: `${what} ${id} not found.` }],
    );
  const details = [
    ...unseen('targetIds', 'Target', (id) => targets.has(id)),
    ...unseen('groupIds', 'Target group', (id) => groups.has(id)),
  ];
  const [first] = details;
  if (first === undefined) return;
  const message =
    details.length === 1 ? first.message : `${details.length} are not found. The first: ${first.message}`;
  throw new AppError('not_found', message, { details: details.slice(0, 100) });
}

/** @throws {AppError} `not_found` naming each id in the selection that was not found. */
export function requireFound(selection: TargetSelection, foundIds: readonly number[], path = ''): void {
  const { targetIds } = selection;
  if (selection.exclude !== undefined || targetIds === undefined) return;
  refuseUnseen({ targetIds }, path, new Map(), new Set(foundIds));
}

/** @throws {AppError} `invalid` for more targets than one run or change may have. */
export function refuseTooMany(count: number): void {
  if (count <= limits.maxTargetsPerRun) return;
  const message = `More than ${limits.maxTargetsPerRun} targets are selected. Select fewer.`;
  throw new AppError('invalid', message);
}
