// The text of a shell script with references in place of its placeholders, and the statements that give them their values.
import type { Binding } from '../bindings.ts';
import type { Site } from '../sites.ts';
import { textOf } from '../values.ts';

/** What stands in the script for a value. */
export function shellReference(name: string, site: Site): string {
  switch (site.as) {
    case 'word':
      return `"\${${name}}"`;
    case 'number':
      return `(\${${name}})`;
    default:
      return `\${${name}}`;
  }
}

/**
 * Statements of their own, to run in the same shell ahead of the script. Nothing in a value has a meaning there: it stands
 * in single quotes.
 */
export function shellAssignments(bindings: readonly Binding[]): string[] {
  return bindings.map(({ name, value }) => `${name}=${shellWord(textOf(value))}`);
}

/** A value as a person would have written it where it stands. */
export function readableInShell(value: unknown, site: Site): string {
  const text = textOf(value);
  if (site.as === 'word') return /^[\w@%+=:,./-]+$/.test(text) ? text : shellWord(text);
  return site.as === 'quoted' ? text.replaceAll(/[\\"$`]/g, '\\$&') : text;
}

/** A text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
