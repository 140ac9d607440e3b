// An unhandled rejection is a bug and ends the process, but for one that the database driver makes.
import type { Log } from './log.ts';
import { isLostTypeQuery } from './store/database/connection.ts';

/** Ends the process with exit code 1 on an unhandled rejection, which is logged whole. */
export function endOnUnhandledRejection(log: Log): void {
  process.on('unhandledRejection', (error) => {
    if (isLostTypeQuery(error)) {
      log.warn({ err: error }, 'a connection to the database was lost while it was opened');
      return;
    }
    log.fatal({ err: error }, 'unhandled rejection');
    log.flush?.();
    process.exit(1);
  });
}
