// PostgreSQL text can hold neither U+0000 nor lone surrogates. JSON Schema can't express that, so it is checked here.
import type { ErrorDetail } from '@opsconductor/protocol';
import { AppError } from '../errors.ts';

const maxReported = 20;

/**
 * Refuses a value that contains, anywhere in it, text that can't be stored as it is.
 *
 * @throws {AppError} `invalid`, naming each place (`steps[2].config.script`).
 */
export function refuseUnstorableText(value: unknown, path = ''): void {
  const details = withUnstorableText([], value, path);
  const [first] = details;
  if (first === undefined) return;
  throw new AppError('invalid', `${first.path}: ${first.message}`, { details });
}

/**
 * Returns the given problems plus one for each place whose text can't be stored, unless that path is among them
 * already.
 */
export function withUnstorableText(
  problems: readonly ErrorDetail[],
  value: unknown,
  path = '',
): ErrorDetail[] {
  const details: ErrorDetail[] = [];
  collect(value, path, details);
  const told = new Set(problems.map((detail) => detail.path));
  return [...problems, ...details.filter((detail) => !told.has(detail.path))];
}

function collect(value: unknown, path: string, details: ErrorDetail[]): void {
  if (details.length >= maxReported) return;
  if (typeof value === 'string') {
    const problem = problemOf(value);
    if (problem !== undefined) details.push({ path, ...problem });
  } else if (Array.isArray(value)) {
    value.forEach((item, at) => {
      collect(item, `${path}[${at}]`, details);
    });
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      const inner = path === '' ? name : `${path}.${name}`;
      if (problemOf(name) !== undefined)
        details.push({ path, message: 'Has a name with a NUL character or half a surrogate pair.' });
      else collect(item, inner, details);
    }
  }
}

function problemOf(text: string): Pick<ErrorDetail, 'message' | 'found'> | undefined {
  if (text.includes('\0')) {
    return { message: 'Must not contain the NUL character (U+0000); remove it.', found: 'U+0000' };
  }
  const [half] = /\p{Surrogate}/u.exec(text) ?? [];
  if (half === undefined) return undefined;
  return {
    message: 'Must be whole Unicode text; it contains half a surrogate pair. Write the character again.',
    found: `U+${half.charCodeAt(0).toString(16).toUpperCase()}`,
  };
}
