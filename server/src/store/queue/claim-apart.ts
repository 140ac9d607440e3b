// Claims run by run, for when the database refuses a claim of all: a step whose row can't be written must not keep the
// steps of other runs from being leased.
import { type Sql, sqlState } from '../database/connection.ts';
import { isDatabaseAway } from '../database/database-lost.ts';
import { freeSlots } from './agent-slots.ts';
import { candidateRuns, segmentsWithReadySteps } from './claim-runs.ts';
import { type CandidateRun, type Claim, claimOnce } from './claims.ts';

/** Whether the database has refused a statement, which it would not do to any other. Nothing of it was carried out. */
export function isRefused(error: unknown): boolean {
  return sqlState(error) !== undefined && !isDatabaseAway(error);
}

/**
 * Claims as `claimSteps` does, but each run by itself, and only for the first kind of agents of a segment. Steps that
 * wait for their time are not released.
 *
 * @returns also the runs of which the database refuses to lease anything.
 */
export async function claimRunsApart(
  sql: Sql,
  serverId: string,
  claimId: string,
): Promise<Claim & { refused: number[] }> {
  const runs = await sql<CandidateRun[]>`
    with waiting as materialized (${segmentsWithReadySteps(sql)}
    ), ${freeSlots(sql, { serverId, kind: 0, held: undefined })}
    select segment_id, claim_rank, job_run_id, in_flight from (${candidateRuns(sql)}) candidates
    order by claim_rank, in_flight, job_run_id`;
  const claim: Claim = { ...nothing, steps: [] };
  const refused: number[] = [];
  for (const run of runs) {
    const among = { runs: [{ ...run, afterId: 0 }], held: undefined };
    try {
      claim.steps.push(...(await claimOnce(sql, serverId, { claimId, among })).steps);
    } catch (error) {
      if (!isRefused(error)) throw error;
      refused.push(run.jobRunId);
    }
  }
  return { ...claim, refused };
}

const nothing = { tookAll: false, again: false, hasRoom: false, full: [], moved: 0, kinds: 1 };
