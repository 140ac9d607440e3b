// The differences between two definitions, in words for a list.
import { compareDefinitions, type DefinitionChange, type JobDefinition } from '@opsconductor/protocol';
import { withoutDefaults } from '../draft/first-text.ts';

export type { DefinitionChange };

/** Lists the changes from one definition to another; defaults that only one of them spells out don't count. */
export function changesBetween(before: JobDefinition, after: JobDefinition): DefinitionChange[] {
  try {
    return compareDefinitions(withoutDefaults(before), withoutDefaults(after));
  } catch {
    // An invalid definition can't be compared.
    return [];
  }
}

export function shownSide(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
