// An unhandled rejection is a bug and ends the process, except for one that the database driver causes.
import type { Log } from '../log.ts';
import { isLostTypeQuery } from '../store/database/connection.ts';

/** Logs an unhandled rejection whole and ends the process with exit code 1. */
export function endOnUnhandledRejection(log: Log): void {
  process.on('unhandledRejection', (error) => {
    if (isLostTypeQuery(error)) {
      log.warn({ err: error }, 'a connection to the database was lost while it was being opened');
      return;
    }
    log.fatal({ err: error }, 'unhandled error (a bug, please report it); the server ends with exit code 1');
    log.flush?.();
    process.exit(1);
  });
}
