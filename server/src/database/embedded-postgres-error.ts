/** The embedded database can't be used. The message is for the operator and says what to do. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

/** A server, or a command, uses the database that another one was about to open. */
export class DatabaseInUse extends EmbeddedPostgresError {
  readonly pid: number;

  constructor(pid: number, folder: string) {
    super(
      `Another server process (process id ${pid}) uses the database in ${folder}. ` +
        `Stop it first, or give this one another folder with --data. ${useDatabaseUrl}`,
    );
    this.pid = pid;
  }
}

export const useDatabaseUrl = 'Set DATABASE_URL to use a PostgreSQL server of your own (15 or newer).';

/** Whether an error has one of these file-system codes, which are an expected answer rather than a failure. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
