// Claiming: one statement decides who runs a step. It leases ready steps to the agent sessions that this server holds.
import { randomBytes } from 'node:crypto';
import { limits } from '@opsconductor/protocol';
import type { Queryable, Sql } from '../../database/connection.ts';
import { unheardOf } from '../attempts/clean-ups.ts';
import { freeSlots, pairedWithSlots } from './agent-slots.ts';
import {
  candidateRuns,
  candidatesOnce,
  givenRuns,
  hasMoreRuns,
  segmentsOf,
  segmentsWithReadySteps,
  sharesOfRuns,
} from './claim-runs.ts';
import { type LeaseDetails, leaseDetailColumns, leaseDetailJoins } from './lease-details.ts';

export interface ClaimedStep {
  id: number;
  epoch: number;
  leaseToken: string;
  jobRunId: number;
  targetRunId: number;
  segmentId: number;
  stepNumber: number;
  stepType: string;
  agentId: number;
  sessionNumber: number;
  /** `YYYY-MM-DD`, the partition of this attempt's output. */
  attemptDay: string;
  /** Present if it was leased ahead of its turn: the attempt that it follows. */
  after?: { step: number; epoch: number };
  /** What else its lease needs, if the claim has read that along. */
  details?: LeaseDetails;
}

export interface Claim {
  steps: ClaimedStep[];
  /**
   * No ready step was left behind: every segment still has free slots, no bound was reached, nothing was moved, and no
   * agent was passed over.
   */
  tookAll: boolean;
  /** Another claim may find more at once, because this one reached a bound or moved steps. */
  again: boolean;
  /** Some segment still has free slots. */
  hasRoom: boolean;
  /** Segments with ready steps whose agents had no free slot. */
  full: number[];
  /**
   * How many steps were parked (they wait for a lock) or released (their time has come). Even if none was leased,
   * others may be claimable after that.
   */
  moved: number;
  /**
   * Largest number of kinds of agents in a segment. Agents of a segment with different capabilities are served one kind
   * after the other.
   */
  kinds: number;
  /** The runs from which it could have taken steps; `undefined` if the caller named the runs (`among`). */
  candidates?: CandidateRun[] | undefined;
}

/** A run with ready steps in a segment. */
export interface CandidateRun {
  segmentId: number;
  /** The run's priority, negated. */
  claimRank: number;
  jobRunId: number;
  /** How many of its steps agents of the segment have. */
  inFlight: number;
}

/**
 * Where to look for steps, for a caller who knows, instead of among all ready ones. The claim then reads no more rows
 * than it takes, even while the index still contains steps that are no longer ready (as long as a snapshot is open that
 * may see them).
 */
export interface ClaimAmong {
  /** `afterId`: only steps after this one are looked at. */
  runs: readonly (CandidateRun & { afterId: number })[];
  /** The agents that may be given steps, with how many each has; `undefined` if the database is to count these. */
  held: readonly { agentId: number; steps: number }[] | undefined;
}

/** Added to a step's own budget before the server calls its attempt unknown, in seconds. */
export const attemptSlackS = Math.ceil(limits.leaseTtlMs / 1000) + 30;

/** How many steps whose time has come one statement makes claimable, per segment. */
export const maxReleased = 1_000;
/** How many kinds of agents in one segment a claim serves, one after the other. */
export const maxKinds = 8;
/** A claim that leased nothing but parked or released steps is repeated at once, up to this many tries in all. */
const maxTries = 8;

/** The tokens of a claim's leases begin with its id, by which they are found if the answer to the claim was lost. */
const claimIdLength = 16;

export function newClaimId(): string {
  return randomBytes(claimIdLength / 2).toString('hex');
}

/**
 * Leases ready steps to this server's agents, up to their free slots: of the runs with the highest priority, those with
 * the least in flight in the segment, and of each run its oldest steps. Free slots are counted in SQL from live leases,
 * and only for agents in segments where something is ready, so a thousand idle agents elsewhere cost nothing. Steps
 * whose rows are locked are skipped, and an agent whose row is locked is leased nothing: it may be opening a newer
 * session, and what that session's resume did not find must not be leased to the older one after that. So a claim waits
 * for nobody.
 */
export async function claimSteps(sql: Sql, serverId: string, claimId = newClaimId()): Promise<Claim> {
  const all: Claim = {
    steps: [],
    tookAll: true,
    again: false,
    hasRoom: false,
    full: [],
    moved: 0,
    kinds: 1,
    candidates: [],
  };
  for (let kind = 0; kind < Math.min(all.kinds, maxKinds); kind += 1) {
    const claim = await claimKind(sql, serverId, claimId, kind);
    all.steps.push(...claim.steps);
    all.tookAll &&= claim.tookAll;
    all.again ||= claim.again;
    all.hasRoom ||= claim.hasRoom;
    all.full.push(...claim.full);
    all.candidates?.push(...(claim.candidates ?? []));
    all.moved = claim.moved;
    all.kinds = claim.kinds;
  }
  return all;
}

async function claimKind(sql: Sql, serverId: string, claimId: string, kind: number): Promise<Claim> {
  for (let tries = 1; ; tries += 1) {
    const claim = await claimOnce(sql, serverId, { claimId, kind });
    if (claim.steps.length > 0 || claim.moved === 0 || tries === maxTries) return claim;
  }
}

export interface ClaimOptions {
  claimId?: string;
  /**
   * Which agents of each segment are served. Agents with the same capabilities are of one kind; kind 0 has the fewest
   * and comes first, so that the others are left for what only they can do. Nearly everywhere there is only one kind.
   */
  kind?: number;
  among?: ClaimAmong | undefined;
  /** Whether steps whose time has come are released as well, of any run; true by default. */
  releases?: boolean;
}

/**
 * Makes a single try to claim, also as part of a transaction. Of all claims for a server's agents, only one may be in
 * flight at a time.
 */
export async function claimOnce(
  sql: Queryable,
  serverId: string,
  { claimId = newClaimId(), kind = 0, among, releases = true }: ClaimOptions = {},
): Promise<Claim> {
  const rows = await sql<ClaimRow[]>`
    with waiting as materialized (${among === undefined ? segmentsWithReadySteps(sql) : segmentsOf(sql, among)}
    ), ${freeSlots(sql, { serverId, kind, held: among?.held })}, due as materialized (
      select due.id from demand cross join lateral (
        select id from job_run_steps d
        where d.segment_id = demand.segment_id and d.status = 'ready' and d.not_before <= (select clock_timestamp())
          ${releases ? sql`` : sql`and false`}
        order by d.not_before limit ${maxReleased} for update skip locked) due
    ), released as (
      update job_run_steps st set not_before = null where st.id = any(array(select id from due)) returning st.id
    ), candidates as materialized (${among === undefined ? candidateRuns(sql) : givenRuns(sql, among)}
    ), shares as materialized (${sharesOfRuns(sql)}
    ), picked as materialized (
      select shares.segment_id, shares.claim_rank, shares.job_run_id, ready.*
      from shares cross join lateral (
        select st.id, st.target_run_id, st.has_locks from job_run_steps st
        where st.segment_id = shares.segment_id and st.status = 'ready' and st.not_before is null
          and (st.claim_rank, st.job_run_id, st.id) > (shares.claim_rank, shares.job_run_id, shares.after_id)
          and (st.claim_rank, st.job_run_id) <= (shares.claim_rank, shares.job_run_id)
          and (st.needs is null or st.needs <@ shares.capabilities)
        order by st.segment_id, st.not_before, st.claim_rank, st.job_run_id, st.id
        limit shares.n
        for update of st skip locked
      ) ready
    ), ${pairedWithSlots(sql)}, tried as materialized (
      select paired.*,
        case when paired.has_locks then take_locks(paired.target_run_id) end as short
      from paired join fenced on fenced.id = paired.agent_id and fenced.session_number = paired.session_number
    ), waiting_for_locks as materialized (${waitingForLocks(sql)}
    ), parked as (
      update job_run_steps st set not_before = 'infinity', waits_lock = waiting.short
      from waiting_for_locks waiting
      where st.id = waiting.id and st.id = any(array(select id from waiting_for_locks)) returning st.id
    ), ${leasedTo(sql, claimId)}
    select (
        (select count(*) from released) + (select count(*) from parked))::int as moved,
      ${among === undefined ? candidatesOnce(sql) : sql`null`} as candidates, ${leasedColumns(sql)}`;
  return claimOf(rows, among === undefined);
}

/**
 * Leases the ready steps of a run that the same transaction has created, up to the free slots of this server's agents.
 * The run must not have locks. It decides as `claimOnce` would for that run alone, but its statement is much smaller
 * and takes the database half as long; whoever started the run is waiting for it.
 */
export async function claimNewRun(
  tx: Queryable,
  serverId: string,
  { claimId, run, held }: { claimId: string; run: NewRunToClaim; held: ClaimAmong['held'] },
): Promise<Claim> {
  const rows = await tx<ClaimRow[]>`
    with waiting as materialized (
      select g.id, g.key_generation from segments g where g.id = any(${run.segmentIds as number[]}::bigint[])
    ), ${freeSlots(tx, { serverId, kind: 0, held })}, picked as materialized (
      select ready.* from demand cross join lateral (
        select st.segment_id, st.id from job_run_steps st
        where st.segment_id = demand.segment_id and st.status = 'ready' and st.not_before is null
          and st.claim_rank = ${run.claimRank} and st.job_run_id = ${run.jobRunId}
          and (st.needs is null or st.needs <@ demand.capabilities)
        order by st.segment_id, st.not_before, st.claim_rank, st.job_run_id, st.id limit demand.total) ready
    ), ${pairedWithSlots(tx)}, tried as (
      select paired.*, null as short
      from paired join fenced on fenced.id = paired.agent_id and fenced.session_number = paired.session_number
    ), ${leasedTo(tx, claimId)}
    select 0 as moved, null as candidates, ${leasedColumns(tx)}`;
  return claimOf(rows, false);
}

export interface NewRunToClaim {
  jobRunId: number;
  /** The run's priority, negated. */
  claimRank: number;
  segmentIds: readonly number[];
}

function claimOf(rows: readonly ClaimRow[], hasCandidates: boolean): Claim {
  const leased = rows.filter((row) => row.id !== null);
  const left = new Map(rows.map((row) => [row.ofSegmentId, row.free]));
  for (const { segmentId } of leased) left.set(segmentId, (left.get(segmentId) ?? 0) - 1);
  const moved = rows[0]?.moved ?? 0;
  const kinds = rows[0]?.kinds ?? 1;
  const candidates = rows.find((row) => row.candidates !== null)?.candidates ?? [];
  const rooms = [...left.values()];
  const isPassedOver = rows[0]?.isPassedOver ?? false;
  const isBounded = leased.length >= limits.maxClaimBatch || hasMoreRuns(candidates);
  const claim = {
    steps: leased.map(claimedStep),
    tookAll: moved === 0 && !isBounded && !isPassedOver && rooms.every((free) => free > 0),
    again: moved > 0 || isBounded,
    moved,
    kinds,
    hasRoom: rooms.some((free) => free > 0),
    full: [...new Set(rows.filter((row) => row.free === 0).map((row) => row.ofSegmentId))],
  };
  return hasCandidates ? { ...claim, candidates } : claim;
}

/** Leases those steps of `tried` that lack no lock (`leased`). */
function leasedTo(db: Queryable, claimId: string) {
  return db`leased as (
      update job_run_steps st set
        status = 'running', epoch = st.epoch + 1, lease_token = ${claimId}::text || right(replace(gen_random_uuid()::text, '-', ''), ${-claimIdLength}::int),
        agent_id = tried.agent_id, session_number = tried.session_number,
        leased_at = clock_timestamp(), started_at = null, cancel_sent_at = null,
        attempt_day = (clock_timestamp() at time zone 'UTC')::date,
        deadline_at = clock_timestamp() + make_interval(secs => st.time_budget_s + ${attemptSlackS}),
        output_state = 'open', output_seq = 0, output_bytes = 0
      from tried
      where st.id = tried.id and tried.short is null and st.id = any(array(select id from tried))
      returning st.id, st.epoch, st.lease_token, st.job_run_id, st.target_run_id, st.segment_id, st.step_number,
        st.step_type, st.agent_id, st.session_number, st.attempt_day
    )`;
}

/** The end of the select list, and its tables: a row for each lease, and one for each segment without a lease. */
function leasedColumns(db: Queryable) {
  return db`demand.segment_id as of_segment_id, demand.total as free, demand.kinds,
      exists (select from paired where agent_id not in (select id from fenced)) as is_passed_over,
      st.id, st.epoch, st.lease_token, st.job_run_id,
      st.target_run_id, st.segment_id, st.step_number, st.step_type, st.agent_id, st.session_number,
      st.attempt_day::text as attempt_day, ${leaseDetailColumns(db)}
    from demand left join (leased st ${leaseDetailJoins(db)}) on st.segment_id = demand.segment_id
    order by st.id`;
}

/** A lease that may never have reached its agent. */
export type UntoldLease = Pick<ClaimedStep, 'id' | 'epoch' | 'leaseToken' | 'agentId' | 'sessionNumber'>;

/** Returns the live leases that these claims have made for this server's agents. */
export async function leasesOfClaims(
  sql: Sql,
  serverId: string,
  claimIds: readonly string[],
): Promise<UntoldLease[]> {
  return sql<UntoldLease[]>`
    select st.id, st.epoch, st.lease_token, st.agent_id, st.session_number
    from agent_sessions s
    join job_run_steps st on st.agent_id = s.agent_id and st.status = 'running'
    where s.server_id = ${serverId} and left(st.lease_token, ${claimIdLength}) = any(${claimIds as string[]}::text[])
    order by st.id`;
}

/** An attempt that was given up, with the current session of the agent to which it was leased. */
export interface GivenUpLease {
  stepId: number;
  epoch: number;
  leaseToken: string;
  agentId: number;
  sessionNumber: number;
}

/** Returns those leases that these claims have made for these agents and that were given up since, unheard of. */
export async function givenUpOfClaims(
  sql: Sql,
  agents: readonly { agentId: number; sessionNumber: number }[],
  claimIds: readonly string[],
): Promise<GivenUpLease[]> {
  const agentIds = agents.map(({ agentId }) => agentId);
  const sessionNumbers = agents.map(({ sessionNumber }) => sessionNumber);
  return sql<GivenUpLease[]>`
    select given.*, g.session_number
    from unnest(${agentIds}::bigint[], ${sessionNumbers}::bigint[]) as g(agent_id, session_number)
    cross join lateral (
      select a.job_run_step_id as step_id, a.epoch, a.lease_token, a.agent_id from ${unheardOf(sql, sql`g.agent_id`)}
    ) given
    where left(given.lease_token, ${claimIdLength}) = any(${claimIds as string[]}::text[])
    order by given.step_id`;
}

/**
 * Steps that lack a lock. If the lock is not one per target, also the other ready steps of the same run in the segment,
 * so that they are not tried one by one.
 */
function waitingForLocks(db: Queryable) {
  return db`
    select id, min(short) as short from (
      select id, short from tried where short <> ''
      union all
      select alike.id, run.short from (
        select segment_id, claim_rank, job_run_id, min(short) as short from tried
        where short <> '' and short not like '%@target:%'
        group by segment_id, claim_rank, job_run_id) run
      cross join lateral (
        select st.id from job_run_steps st
        where st.segment_id = run.segment_id and st.status = 'ready' and st.not_before is null
          and st.claim_rank = run.claim_rank and st.job_run_id = run.job_run_id
          and not exists (select from lock_slots s where s.target_run_id = st.target_run_id)
        for update of st skip locked) alike
      where not exists (select from tried got where got.id = alike.id and got.short is null)
    ) waiting group by id`;
}

type ClaimRow = ClaimedStep &
  LeaseDetails & {
    ofSegmentId: number;
    free: number;
    moved: number;
    kinds: number;
    /** Whether steps were left because the agents that they were for are locked, or may be given none any more. */
    isPassedOver: boolean;
    candidates: CandidateRun[] | null;
  };

function claimedStep(row: ClaimRow): ClaimedStep {
  const { id, epoch, leaseToken, jobRunId, targetRunId, segmentId } = row;
  const { stepNumber, stepType, agentId, sessionNumber, attemptDay } = row;
  const place = { id, jobRunId, targetRunId, segmentId, stepNumber, stepType };
  const lease = { epoch, leaseToken, agentId, sessionNumber, attemptDay };
  return { ...place, ...lease, details: detailsOf(row) };
}

function detailsOf(row: LeaseDetails): LeaseDetails {
  const { stepId, jobId, jobVersion, stepNumber, isSigned } = row;
  const { targetId, targetSegmentId, targetName, host, port, settings, hostKeys, hostTrust } = row;
  const { askedCredential, credentialId, credentialVersion, credentialKind } = row;
  const target = { targetId, targetSegmentId, targetName, host, port, settings, hostKeys, hostTrust };
  const credential = { askedCredential, credentialId, credentialVersion, credentialKind };
  return { stepId, jobId, jobVersion, stepNumber, isSigned, ...target, ...credential };
}
