import type { ErrorDetail } from '@opsconductor/protocol';

/** Of a category that is not there, and of one that the caller may know nothing of: told alike. */
export function noSuchCategory(name: string, path = 'category'): ErrorDetail & { found: string } {
  const message =
    'There is no category of this name that you may see; use one of GET /api/v1/categories, or have it created first.';
  return { path, message, found: name };
}
