// Waiting for open transactions: a reader of committed rows sees nothing of what they have written.
import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from './connection.ts';

const lookAgainMs = 200;

/**
 * Waits until all transactions are over that are open on this database now. Only those of this role are seen, which all
 * servers use.
 *
 * @returns since when one of them is open that did not end in time; `undefined` if all ended.
 */
export async function waitForOpenTransactions(sql: Sql, forMs: number): Promise<Date | undefined> {
  const [now] = await sql<{ at: string }[]>`select clock_timestamp()::text as at`;
  const deadlineMs = Date.now() + forMs;
  for (;;) {
    const [oldest] = await sql<{ since: Date | null }[]>`
      select min(xact_start) as since from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
         and xact_start <= ${now?.at ?? ''}::timestamptz`;
    const since = oldest?.since ?? undefined;
    if (since === undefined || Date.now() >= deadlineMs) return since;
    await delay(lookAgainMs);
  }
}
