/** The embedded database can't be used; the message is for the operator and says what to do. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

export const useDatabaseUrl = 'Set DATABASE_URL to use a PostgreSQL server of your own (15 or newer).';

/** Names the file-system error codes that are an expected answer instead of a failure. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
