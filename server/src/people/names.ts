// The rule for names of users and user groups: names that look the same are the same.
import { AppError } from '../errors.ts';
import { violatedConstraint } from '../store/database/connection.ts';

const unique = new Set([
  'users_name_key',
  'users_name_any_case',
  'user_groups_name_key',
  'user_groups_name_any_case',
]);

/**
 * Returns one form for text that can be typed in several (Unicode NFC), so that no second user looks like the first.
 */
export function nameOf(text: string): string {
  return text.normalize('NFC');
}

/** Returns `conflict` if the error of a query is about a name that is taken; otherwise the error itself. */
export function nameTaken(error: unknown, name: string | undefined): unknown {
  if (!unique.has(violatedConstraint(error) ?? '')) return error;
  const message = `The name “${name}” is taken, regardless of upper and lower case.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
