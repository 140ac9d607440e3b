// One rule for names of users and user groups: what looks alike is alike.
import { AppError } from '../errors.ts';
import { violatedConstraint } from '../store/database/connection.ts';

const unique = new Set([
  'users_name_key',
  'users_name_any_case',
  'user_groups_name_key',
  'user_groups_name_any_case',
]);

/** One form for what can be typed in two (Unicode NFC), so that no second user looks like the first. */
export function nameOf(text: string): string {
  return text.normalize('NFC');
}

/** The error of a query, or `conflict` where it was about a name that is taken. */
export function nameTaken(error: unknown, name: string | undefined): unknown {
  return unique.has(violatedConstraint(error) ?? '')
    ? new AppError('conflict', `The name “${name}” is taken, in whatever case of its letters.`, {
        cause: error,
      })
    : error;
}
