import { RE2JS } from 're2js';

/**
 * Yields for each match of a pattern in a text, in order, the part it is meant to find: the group `value`, else the
 * first group, else the whole match. `^` and `$` match at line boundaries. Each step may take as long as the pattern's
 * size times the text's length.
 */
export function* matchesOf(source: string, text: string): Generator<string | undefined> {
  const pattern = RE2JS.compile(source, RE2JS.MULTILINE);
  const groups = pattern.namedGroups();
  const group = Object.hasOwn(groups, 'value') ? groups.value : Math.min(1, pattern.groupCount());
  const matcher = pattern.matcher(text);
  while (matcher.find()) yield matcher.group(group) ?? undefined;
}
