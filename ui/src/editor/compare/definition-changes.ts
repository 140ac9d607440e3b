// How two definitions differ, in words for a list.
import { compareDefinitions, type DefinitionChange, type JobDefinition } from '@opsconductor/protocol';
import { withoutDefaults } from '../draft/first-text.ts';

export type { DefinitionChange };

/** What changes from one to the other; defaults that one has filled in are no difference. */
export function changesBetween(before: JobDefinition, after: JobDefinition): DefinitionChange[] {
  try {
    return compareDefinitions(withoutDefaults(before), withoutDefaults(after));
  } catch {
    // One that is not right yet can't be compared.
    return [];
  }
}

export function shownSide(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
