// Tells a lost database from a query that failed because of what it asked.

/** Raised by the socket under the driver. `code` is the system's error code, if there is one. */
export class DatabaseLost extends Error {
  override readonly name = 'DatabaseLost';
  readonly code: string | undefined;

  constructor(cause?: Error) {
    super(cause?.message ?? 'The connection to the database was closed.', cause && { cause });
    this.code = (cause as NodeJS.ErrnoException | undefined)?.code;
  }
}

const lostCodes: ReadonlySet<unknown> = new Set([
  // The driver's own codes.
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'CONNECT_TIMEOUT',
  // PostgreSQL is shutting down, has crashed, is starting, has no connection left, or has become a standby.
  '57P01',
  '57P02',
  '57P03',
  '53300',
  '25006',
  // It lets this server in no more: another password, another pg_hba.conf, or the database is gone.
  '28P01',
  '28000',
  '3D000',
]);
const deepest = 5;

/** Whether an error, or what caused it, is that the connection to the database was lost. */
export function isDatabaseLost(error: unknown): boolean {
  let at: unknown = error;
  for (let depth = 0; at instanceof Error && depth < deepest; depth += 1) {
    if (at instanceof DatabaseLost || lostCodes.has((at as { code?: unknown }).code)) return true;
    at = at.cause;
  }
  return false;
}

const diskFull = '53100';

/** Whether the database refused a statement because its disk is full. The statement was rolled back. */
export function isDatabaseFull(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === diskFull;
}

const queryCancelled = '57014';

/** Whether the statement ran into a time limit of its role, or an operator ended it. It was rolled back. */
export function isStatementEnded(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === queryCancelled;
}

/** Whether the database would refuse anything else, too, for now. */
export function isDatabaseAway(error: unknown): boolean {
  return isDatabaseLost(error) || isDatabaseFull(error);
}
