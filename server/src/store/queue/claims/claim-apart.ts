// Claims run by run, for when the database refuses a claim of all: a step whose row can't be written must not keep the
// steps of other runs from being leased.
import type { Sql } from '../../database/connection.ts';
import { isRefused } from '../../database/refused-statement.ts';
import { freeSlots } from './agent-slots.ts';
import { candidateRuns, segmentsWithReadySteps } from './claim-runs.ts';
import { type CandidateRun, type Claim, claimOnce, maxKinds, maxReleased } from './claims.ts';

/**
 * Claims as `claimSteps` does, but each run by itself.
 *
 * @returns also the runs of which the database refuses to lease or to release something.
 */
export async function claimRunsApart(
  sql: Sql,
  serverId: string,
  claimId: string,
): Promise<Claim & { refused: number[] }> {
  const claim: Claim = { ...nothing, steps: [] };
  const refused = new Set(await releaseApart(sql, await dueSteps(sql)));
  for (let kind = 0, kinds = 1; kind < Math.min(kinds, maxKinds); kind += 1) {
    const found = await runsFor(sql, serverId, kind);
    kinds = found.kinds;
    for (const run of found.runs) {
      const among = { runs: [{ ...run, afterId: 0 }], held: undefined };
      try {
        const { steps } = await claimOnce(sql, serverId, { claimId, kind, among, releases: false });
        claim.steps.push(...steps);
      } catch (error) {
        if (!isRefused(error)) throw error;
        refused.add(run.jobRunId);
      }
    }
  }
  return { ...claim, refused: [...refused] };
}

const nothing = { tookAll: false, again: false, hasRoom: false, full: [], moved: 0, kinds: 1 };

/** Returns the runs from which this kind of agents may take steps, and how many kinds there are. */
async function runsFor(
  sql: Sql,
  serverId: string,
  kind: number,
): Promise<{ runs: CandidateRun[]; kinds: number }> {
  const rows = await sql<(CandidateRun & { kinds: number | null })[]>`
    with waiting as materialized (${segmentsWithReadySteps(sql)}
    ), ${freeSlots(sql, { serverId, kind, held: undefined })}
    select candidates.segment_id, claim_rank, job_run_id, in_flight, there_are.kinds
    from (select max(kinds) as kinds from credit) there_are left join (${candidateRuns(sql)}) candidates on true
    order by claim_rank, in_flight, job_run_id`;
  const runs = rows.filter(({ jobRunId }) => jobRunId !== null);
  return { runs: runs.map(({ kinds: _, ...run }) => run), kinds: rows[0]?.kinds ?? 1 };
}

interface DueStep {
  id: number;
  jobRunId: number;
}

/** Returns steps whose time has come, of each segment those that have waited for longest. */
async function dueSteps(sql: Sql): Promise<DueStep[]> {
  return sql<DueStep[]>`
    select due.id, due.job_run_id from segments g cross join lateral (
      select d.id, d.job_run_id from job_run_steps d
      where d.segment_id = g.id and d.status = 'ready' and d.not_before <= (select clock_timestamp())
      order by d.not_before limit ${maxReleased}) due`;
}

/** Makes these claimable, except those of which the database refuses it; returns the runs of these. */
async function releaseApart(sql: Sql, due: readonly DueStep[]): Promise<number[]> {
  const [first] = due;
  if (first === undefined) return [];
  const ids = due.map(({ id }) => id);
  try {
    await sql`
      with due as materialized (
        select id from job_run_steps
        where id = any(${ids}::bigint[]) and status = 'ready' and not_before <= clock_timestamp()
        order by id for update skip locked
      )
      update job_run_steps st set not_before = null where st.id = any(array(select id from due))`;
    return [];
  } catch (error) {
    if (!isRefused(error)) throw error;
    if (due.length === 1) return [first.jobRunId];
    const half = Math.ceil(due.length / 2);
    return [...(await releaseApart(sql, due.slice(0, half))), ...(await releaseApart(sql, due.slice(half)))];
  }
}
