import { sqlState } from './connection.ts';
import { isDatabaseAway } from './database-lost.ts';

/** Whether the database has refused a statement, which it would not do to any other. Nothing of it was carried out. */
export function isRefused(error: unknown): boolean {
  return sqlState(error) !== undefined && !isDatabaseAway(error);
}
