// The text of a shell script with references instead of placeholders, and the assignments that give them their values.
import type { Binding } from '../bindings.ts';
import { textOf } from '../placeholders/values.ts';
import type { Site } from '../sites/sites.ts';

/** Returns what stands in the script for a value. */
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
 * Returns separate statements, to be run in the same shell before the script. They are in single quotes, so nothing in
 * a value has a meaning there.
 */
export function shellAssignments(bindings: readonly Binding[]): string[] {
  return bindings.map(({ name, value }) => `${name}=${shellWord(textOf(value))}`);
}

/** Returns a value the way a person would have written it at this place. */
export function readableInShell(value: unknown, site: Site): string {
  const text = textOf(value);
  if (site.as === 'word') return /^[\w@%+=:,./-]+$/.test(text) ? text : shellWord(text);
  return site.as === 'quoted' ? text.replaceAll(/[\\"$`]/g, '\\$&') : text;
}

/** Quotes a text as one word of a POSIX shell. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
