// Reads selectors as people write them. A segment or target group that is named but does not exist is an error and not
// an empty selection: the misspelled `!group:canray` must not select the canaries.
import { parseSelector, patternsOf, type Selector, SelectorError } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { AppError, invalidField } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { namesOfGroups, namesOfSegments } from '../../store/people/place-names.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';

/**
 * Reads a selector and looks up the segments and groups that it names.
 * @param path Path of the field, for the error.
 * @throws {AppError} `invalid` with the column of the mistake; also for a name outside these reaches.
 */
export async function readSelector(
  sql: Queryable,
  text: string,
  path: string,
  reaches: readonly Reach[],
): Promise<Selector> {
  refuseUnstorableText(text, path);
  const selector = parsed(text, path);
  const [segments, groups] = [patternsOf(selector, 'segment'), patternsOf(selector, 'group')].map((named) =>
    named.filter(({ pattern }) => !pattern.includes('*')),
  );
  const [knownSegments, knownGroups] = await Promise.all([
    namesOfSegments(sql, segments?.map(({ pattern }) => pattern) ?? [], reaches),
    namesOfGroups(sql, groups?.map(({ pattern }) => pattern) ?? [], reaches),
  ]);
  const missing = [
    ...(segments ?? []).filter(({ pattern }) => !knownSegments.has(pattern)).map(told('segment')),
    ...(groups ?? []).filter(({ pattern }) => !knownGroups.has(pattern)).map(told('target group')),
  ].map((message) => ({ path, message }));
  const [first] = missing;
  if (first === undefined) return selector;
  throw new AppError('invalid', `${path}: ${first.message}`, { details: missing.slice(0, 20) });
}

function told(what: string) {
  return ({ pattern, column }: { pattern: string; column: number }) =>
    `Column ${column}: There is no ${what} “${pattern}”. Correct the name.`;
}

function parsed(text: string, path: string): Selector {
  try {
    return parseSelector(text);
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    throw invalidField(path, error.message, { found: text.slice(0, 100) });
  }
}
