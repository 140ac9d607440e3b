import type { ErrorDetail } from '@opsconductor/protocol';

/** Returns the error for a category that does not exist, or that the caller may not see: it is the same for both. */
export function noSuchCategory(name: string, path = 'category'): ErrorDetail & { found: string } {
  const message =
    'There is no category of this name that you may see; use one of GET /api/v1/categories, or have it created first.';
  return { path, message, found: name };
}
