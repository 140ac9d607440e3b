// The server's messages about the fields of a form.
import type { ApiError } from '../api/client.ts';

/** Returns the message for a field, by its path in the request. */
export function problemAt(error: ApiError | undefined, path: string): string | undefined {
  const detail = error?.details.find((one) => one.path === path || one.path.startsWith(`${path}[`));
  return detail?.message;
}

/** Returns the error without the problems that the form's fields show themselves; undefined if nothing remains. */
export function restOf(error: ApiError | undefined, paths: readonly string[]): ApiError | undefined {
  if (error === undefined) return undefined;
  const shown = error.details.filter((one) =>
    paths.some((path) => one.path === path || one.path.startsWith(`${path}[`)),
  );
  return shown.length > 0 && shown.length === error.details.length ? undefined : error;
}
