// What a database that was set back has to forget, and what it may not give out again.
import type { Condition } from '../people/visibility.ts';
import type { Sql, Tx } from './connection.ts';

/** From here on numbers are counted by the time, which no copy sets back. */
const origin = Date.parse('2026-01-01T00:00:00Z');

/** How numbers go on: `perS` of them for each second since the origin, more than are given out in one. */
interface Count {
  perS: number;
  /** Where the clock is behind. */
  leastSkipped: number;
}
/** A run of the largest size has a million steps; ids stay below 2^53 for centuries. */
const counts = {
  /** What people make, and what agents are enrolled. */
  things: { perS: 1_000, leastSkipped: 1_000_000 },
  runs: { perS: 1_000, leastSkipped: 1_000_000 },
  steps: { perS: 100_000, leastSkipped: 100_000_000 },
  rosters: { perS: 1, leastSkipped: 1_000 },
} as const satisfies Record<string, Count>;
/**
 * A number that is less than this ahead of the time was counted by it, a moment ago: this is said once more. To skip many
 * there would be to go on higher than another copy will that is restored later.
 */
const closeS = 60;

/** The new timeline. */
export async function raiseTimeline(tx: Tx): Promise<number> {
  const [row] = await tx<
    { timeline: number }[]
  >`update installation set timeline = timeline + 1 returning timeline`;
  if (row === undefined) throw new Error('the database has no installation');
  return row.timeline;
}

/**
 * Runs and steps of the lost time have numbers that people and agents know, which must not come to mean others; nor may
 * those that were given out after the same copy was restored before. Those of agents, segments, targets and jobs are in what
 * roots and signers have signed, what is sealed, and what owners and agents have pinned.
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

/** What comes after the number of a column, as an expression of the database. */
function goOn(tx: Tx, column: 'n' | 'roster_number', { perS, leastSkipped }: Count, now: Date): Condition {
  const n = tx(column);
  const byTime = tx`${Math.floor(((now.getTime() - origin) * perS) / 1_000)}::bigint`;
  return tx`case when ${byTime} > ${n} then ${byTime} when ${n} - ${byTime} < ${closeS * perS} then ${n} + 1
    else ${n} + ${leastSkipped} end`;
}

/**
 * Agents refuse rosters that are older than one they have seen, which the database may know nothing of. A server signs
 * those of these numbers when it starts (`signRaisedRosters`); an owner's it can't.
 */
export async function raiseRosterNumbers(tx: Tx, now: Date): Promise<number> {
  const result = await tx`
    update segments set roster_number = ${goOn(tx, 'roster_number', counts.rosters, now)}
    where root_mode = 'managed' and roster_payload is not null`;
  return result.count;
}

/** Connections that the database believes to be open belong to servers that are gone. */
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
 * What lets somebody in by itself and was ended, used up or taken back in the lost time would let in again. All of it is made
 * anew in a moment; API tokens, which programs have, are not. Enrollment tokens that were used stay, for their agents.
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
 * Agents have been given newer generations than the database knows: from each the next is taken that is not older than
 * this one. A negative number says so: -1 minus the oldest that is taken. Returns how many agents that is so of.
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
 * Unknown attempts may have been told of in the lost time, and forgotten by their agents: that one does not know them any
 * more says nothing (`unheardAttempts`).
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

/** Whether a server works on the database: one touches the cluster's clock each second. */
export async function isServed(sql: Sql, waitMs: number): Promise<boolean> {
  const touched = async () => {
    const [row] = await sql<{ at: string }[]>`select touched_at::text as at from cluster_clock`;
    return row?.at;
  };
  const before = await touched();
  await sql`select pg_sleep(${waitMs / 1_000})`;
  return (await touched()) !== before;
}
