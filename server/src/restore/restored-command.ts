import type { Sql } from '../store/database/connection.ts';
import { appliedWords, migrate, readMigrations } from '../store/database/migrate.ts';
import { hasSchema } from '../store/installation/installation.ts';
import { isServed } from '../store/installation/restore.ts';
import { markRestored } from './mark-restored.ts';

export const restoredUsage = `npm run restored     marks the database as restored from a backup: run it after restoring, before a server starts

It ends open runs, sessions, sign-in links and unused enrollment tokens. New numbers are higher, and agents may come back
as they are. Rights, passwords, API tokens, keys and credentials are those of the backup. Stop every server first.
Options are those of the server: --data, DATABASE_URL.`;

export interface RestoredCommand {
  sql: Sql;
  /** Folder of the migrations of this build. */
  migrations: string;
  say(text: string): void;
  /** How long to watch whether a server is working on the database; 2.5 s by default. */
  lookMs?: number;
}

const again = `Everything else is as it was in the backup, including what was revoked since. Do again, as soon as the servers run:
- deactivate users, reset passwords that were known to others, delete API tokens, remove grants and memberships in groups;
- if an agent was revoked since the backup, revoke it again; revoke host keys; enter replaced credentials.`;

/** Returns the exit code. If it is not 0, nothing was changed. */
export async function runRestoredCommand({
  sql,
  migrations,
  say,
  lookMs = 2_500,
}: RestoredCommand): Promise<number> {
  if (!(await hasSchema(sql))) {
    say(
      'This database has no installation. Check --data or DATABASE_URL, restore the backup into it, and run this again.',
    );
    return 1;
  }
  if (await isServed(sql, lookMs)) {
    say('A server is working on this database. Stop every server, then run this again.');
    return 1;
  }
  // The restored database may be from before an upgrade.
  const applied = await migrate(sql, await readMigrations(migrations));
  if (applied.length > 0) say(appliedWords(applied));
  const { timeline, runs, attempts, agents, sessions, signInCodes, enrollmentTokens } =
    await markRestored(sql);
  say(`The database is on timeline ${timeline} now.`);
  say(
    `${count(runs, 'open run')} ended, ${count(attempts, 'step')} of them unknown: check their targets before you run them again.`,
  );
  say(`${count(agents, 'agent')} may come back as ${agents === 1 ? 'it is, once' : 'they are, once each'}.`);
  say(
    `${count(sessions, 'session')}, ${count(signInCodes, 'sign-in link')} and ${count(enrollmentTokens, 'enrollment token')} ended: people sign in again, and unused links and tokens must be made again.`,
  );
  say(again);
  say('Start the servers.');
  return 0;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
