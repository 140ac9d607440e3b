import { request } from './client.ts';

/** One page of a cursor list. */
export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export type PageQuery = {
  limit?: number;
  cursor?: string | undefined;
};

/** Reads a list to its end, or up to `atMost` items. `build` makes the URL of a page. */
export async function readAll<T>(
  build: (query: PageQuery) => string,
  options: { atMost?: number; signal?: AbortSignal | undefined } = {},
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await request('GET', build({ limit: 200, cursor: cursor ?? undefined }), {
      signal: options.signal,
    });
    items.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null && items.length < (options.atMost ?? Number.POSITIVE_INFINITY));
  return items;
}

/** Reads a list that has only one page and takes no query. */
export async function readWhole<T>(url: string, signal?: AbortSignal): Promise<T[]> {
  const page: Page<T> = await request('GET', url, { signal });
  return page.items;
}
