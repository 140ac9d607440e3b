// Turns for reading what is stored from its beginning to its end: files, artifacts, output, jobs and the audit log that
// somebody downloads, and files that are checked whole. Otherwise one user's downloads would use all database
// connections, and the event loop for decryption, and every other request would wait for seconds.
import { UserTurns } from './user-turns.ts';

/** Live streams have turns of their own, so that downloads don't delay them. */
const reads = new UserTurns();

/** Yields the same pieces, but reads each one only when it is the user's turn. */
export async function* readInTurns<T>(userId: number, pieces: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    for (;;) {
      const end = await reads.take(String(userId));
      let next: IteratorResult<T>;
      try {
        next = await pieces.next();
      } finally {
        end();
      }
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await pieces.return(undefined);
  }
}
