// What a database that was set back to an earlier state must forget, and which numbers it must not give out again.

import type { Sql, Tx } from '../database/connection.ts';
import type { Condition } from '../people/visibility.ts';

/** From this time on, numbers are counted by the clock, which no copy sets back. */
const origin = Date.parse('2026-01-01T00:00:00Z');

/**
 * How numbers continue: `perS` of them for each second since the origin, which is more than are given out in a second.
 */
interface Count {
  perS: number;
  /** How many numbers to skip if they are ahead of the clock. */
  leastSkipped: number;
}
/** A run of the largest size has a million steps; ids stay below 2^53 for centuries. */
const counts = {
  /** What people create, and agents that are enrolled. */
  things: { perS: 1_000, leastSkipped: 1_000_000 },
  runs: { perS: 1_000, leastSkipped: 1_000_000 },
  steps: { perS: 100_000, leastSkipped: 100_000_000 },
  rosters: { perS: 1, leastSkipped: 1_000 },
} as const satisfies Record<string, Count>;
/**
 * A number less than this far ahead of the clock was set by the clock a moment ago: the command is being run again.
 * Skipping many numbers then would go higher than another copy that is restored later.
 */
const closeS = 60;

/** Raises the timeline and returns the new one. */
export async function raiseTimeline(tx: Tx): Promise<number> {
  const [row] = await tx<
    { timeline: number }[]
  >`update installation set timeline = timeline + 1 returning timeline`;
  if (row === undefined) throw new Error('the database has no installation');
  return row.timeline;
}

/**
 * Moves the sequences past all numbers that may have been given out in the lost time, or after the same copy was
 * restored before. Numbers of runs and steps are known to people and agents and must not come to mean others. Numbers
 * of agents, segments, targets and jobs are in what roots and signers have signed, in what is sealed, and in what
 * owners and agents have pinned.
 */
export async function skipNumbers(tx: Tx, now: Date): Promise<void> {
  for (const [table, count] of [
    ['job_runs', counts.runs],
    ['job_run_steps', counts.steps],
    ['agents', counts.things],
    ['segments', counts.things],
    ['targets', counts.things],
    ['jobs', counts.things],
  ] as const) {
    const sequence = tx`pg_get_serial_sequence(${table}, 'id')`;
    await tx`
      with reached as materialized (select nextval(${sequence}) as n)
      select setval(${sequence}, ${goOn(tx, 'n', count, now)}) from reached`;
  }
}

/** SQL expression: the number that follows the number in a column. */
function goOn(tx: Tx, column: 'n' | 'roster_number', { perS, leastSkipped }: Count, now: Date): Condition {
  const n = tx(column);
  const byTime = tx`${Math.floor(((now.getTime() - origin) * perS) / 1_000)}::bigint`;
  return tx`case when ${byTime} > ${n} then ${byTime} when ${n} - ${byTime} < ${closeS * perS} then ${n} + 1
    else ${n} + ${leastSkipped} end`;
}

/**
 * Raises the roster numbers of managed segments, because agents refuse a roster older than one they have seen, and the
 * database may not know that one. A server signs rosters with these numbers when it starts (`signRaisedRosters`); it
 * can't sign those of an owner-held root.
 */
export async function raiseRosterNumbers(tx: Tx, now: Date): Promise<number> {
  const result = await tx`
    update segments set roster_number = ${goOn(tx, 'roster_number', counts.rosters, now)}
    where root_mode = 'managed' and roster_payload is not null`;
  return result.count;
}

/** Ends all agent sessions: connections that the database believes to be open belong to servers that are gone. */
export async function endSessions(tx: Tx): Promise<void> {
  await tx`
    update agent_sessions set expires_at = clock_timestamp(), ready = false,
      disconnected_at = coalesce(disconnected_at, clock_timestamp())`;
}

export interface EndedAccess {
  sessions: number;
  signInCodes: number;
  enrollmentTokens: number;
}

/**
 * Deletes everything that lets somebody in by itself, because what was ended, used up or revoked in the lost time would
 * be valid again. All of it is quickly made again. API tokens stay, because programs use them; so do used enrollment
 * tokens, for their agents.
 */
export async function endAccess(tx: Tx): Promise<EndedAccess> {
  const sessions = await tx`delete from sessions`;
  const signInCodes = await tx`delete from sign_in_codes`;
  const enrollmentTokens = await tx`delete from enrollment_tokens where used_at is null`;
  return {
    sessions: sessions.count,
    signInCodes: signInCodes.count,
    enrollmentTokens: enrollmentTokens.count,
  };
}

/**
 * Lets each agent continue with a newer connect generation than the database knows, because agents were given newer
 * ones in the lost time: the next one that an agent presents is accepted, unless it is older than what the database
 * knows. A negative number marks this: -1 minus the oldest generation that is accepted. Returns how many agents are
 * marked.
 */
export async function admitNewerGenerations(tx: Tx): Promise<number> {
  await tx`
    update agents set generation = -1 - greatest(0, generation - case when generation_acked then 0 else 1 end),
      generation_acked = true
    where generation >= 0 and state <> 'revoked'`;
  const [row] = await tx<{ agents: number }[]>`
    select count(*)::int as agents from agents where generation < 0 and state <> 'revoked'`;
  return row?.agents ?? 0;
}

/**
 * Marks unknown attempts so that an agent's silence about them proves nothing (`unheardAttempts`): they may have been
 * reported in the lost time and forgotten by their agents.
 */
export async function doubtSilence(tx: Tx, timeline: number): Promise<void> {
  await tx`
    update job_run_step_attempts a set request_id = ${`restored-${timeline}`}
    from attempt_clean_ups c
    where a.job_run_step_id = c.job_run_step_id and a.epoch = c.epoch and a.status = 'unknown' and a.late_status is null
      and a.request_id is null`;
}

export async function openRunIds(tx: Tx): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    select id from job_runs where status in ('queued', 'running', 'cancelling', 'held') order by id`;
  return rows.map(({ id }) => id);
}

/** Whether a server is working on the database: a running one touches the cluster's clock every second. */
export async function isServed(sql: Sql, waitMs: number): Promise<boolean> {
  const touched = async () => {
    const [row] = await sql<{ at: string }[]>`select touched_at::text as at from cluster_clock`;
    return row?.at;
  };
  const before = await touched();
  await sql`select pg_sleep(${waitMs / 1_000})`;
  return (await touched()) !== before;
}
