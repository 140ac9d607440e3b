import { sqlState } from './connection.ts';
import { isDatabaseAway } from './database-lost.ts';

/** Whether the database has refused a statement, which it would not do to any other. Nothing of it was carried out. */
export function isRefused(error: unknown): boolean {
  return sqlState(error) !== undefined && !isDatabaseAway(error);
}

/**
 * Does the work for all items at once or, if the database refuses that, for each half, and so on. Returns the items that
 * it refuses by themselves, each with its error.
 */
export async function withoutRefused<T>(
  items: readonly T[],
  work: (items: readonly T[]) => Promise<void>,
): Promise<{ item: T; error: unknown }[]> {
  if (items.length === 0) return [];
  try {
    await work(items);
    return [];
  } catch (error) {
    if (!isRefused(error)) throw error;
    const [item] = items;
    if (items.length === 1 && item !== undefined) return [{ item, error }];
    const half = Math.ceil(items.length / 2);
    const refused = await withoutRefused(items.slice(0, half), work);
    return [...refused, ...(await withoutRefused(items.slice(half), work))];
  }
}
