// A change between two definitions in words, for the list of fields.
import type { VersionComparison } from '@opsconductor/protocol';
import { plain } from '../parameter-words.ts';

type Change = VersionComparison['changes'][number];
const maxCharacters = 160;

/** Old and new value; multi-line texts are shown as a line diff instead. */
export function sidesOf(change: Change): { before: string; after: string } | undefined {
  if (change.hunks !== undefined) return undefined;
  if (change.kind === 'moved') return { before: `step ${change.before}`, after: `step ${change.after}` };
  return { before: shortened(change.before), after: shortened(change.after) };
}

function shortened(value: unknown): string {
  if (value === undefined) return '';
  const text = plain(value);
  return text.length > maxCharacters ? `${text.slice(0, maxCharacters)}…` : text;
}
