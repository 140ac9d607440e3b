// Decides which claim is made next. Looking at everything that is ready is always right, but has to step over index
// entries of steps that are no longer ready. There are few of them, except while somebody keeps an old snapshot open.
// So if slots have merely become free, the claim goes on with the runs that the last look found, after the last step
// taken from each.

import type { Log } from '../../log.ts';
import type { StartedRun } from '../../runs/leases/claim-along.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import { claimRunsApart } from '../../store/queue/claims/claim-apart.ts';
import {
  type Claim,
  type ClaimAmong,
  claimNewRun,
  claimOnce,
  claimSteps,
} from '../../store/queue/claims/claims.ts';

const nothing: Claim = {
  steps: [],
  tookAll: false,
  again: false,
  hasRoom: false,
  full: [],
  moved: 0,
  kinds: 1,
};

/** A look that takes longer than this, in ms, is followed by a pause: `pauseForEachMs` for each ms beyond it. */
const quickLookMs = 25;
const pauseForEachMs = 20;
const maxPauseMs = 2_000;

export interface ClaimerDeps {
  sql: Sql;
  serverId: string;
  /** Returns the agents of these segments that are connected here and ready, with the number of steps that each has. */
  held(segmentIds: ReadonlySet<number>): ClaimAmong['held'];
  log?: Pick<Log, 'error'>;
  /** Returns the time in ms; `performance.now` by default. */
  now?: () => number;
}

type KnownRun = ClaimAmong['runs'][number];

export class Claimer {
  readonly #deps: ClaimerDeps;
  readonly #now: () => number;
  #known = new Map<string, KnownRun>();
  /** Segments in which slots have become free. */
  #freed = new Set<number>();
  #isDue = true;
  /** Whether the database has refused the last look. */
  #isRefused = false;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #lookTookMs = 0;

  constructor(deps: ClaimerDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => performance.now());
  }

  /** Whether a claim may be part of another transaction, which would fail with it. */
  get mayGoAlong(): boolean {
    return !this.#isRefused;
  }

  /** Tells that something may have become ready, anywhere. */
  lookAtAll(): void {
    this.#isDue = true;
  }

  /** Tells that an agent of this segment has ended something. */
  slotsFreed(segmentId: number): void {
    this.#freed.add(segmentId);
  }

  /** Claims steps for the slots that are free. Only one claim may be in flight. */
  async next(claimId: string): Promise<Claim> {
    if (this.#isDue && !this.#isPausing()) return this.#look(claimId);
    const runs = [...this.#known.values()].filter(({ segmentId }) => this.#freed.has(segmentId));
    this.#freed.clear();
    if (runs.length > 0) {
      const { claim, isShort } = await this.#goOn(runs, claimId);
      this.#isDue ||= isShort;
      if (!isShort || claim.steps.length > 0) return claim;
    }
    return this.#isDue ? this.#look(claimId) : nothing;
  }

  /** Claims from known runs. `isShort` tells that other runs may have something for slots that are left. */
  async #goOn(runs: readonly KnownRun[], claimId: string): Promise<{ claim: Claim; isShort: boolean }> {
    let claim: Claim;
    try {
      claim = await claimOnce(this.#deps.sql, this.#deps.serverId, { claimId, among: this.#among(runs) });
    } catch (error) {
      this.#isDue = true;
      throw error;
    }
    this.#took(claim);
    const isShort = claim.hasRoom || claim.again;
    return { claim: { ...claim, tookAll: false, again: isShort }, isShort };
  }

  /** Claims steps of a run as part of the transaction that creates it, provided that nothing else waits. */
  async along(tx: Tx, claimId: string, run: StartedRun): Promise<Claim> {
    if (!run.hasLocks) {
      const held = this.#deps.held(new Set(run.segmentIds));
      return claimNewRun(tx, this.#deps.serverId, { claimId, run, held });
    }
    const runs = run.segmentIds.map((segmentId) => ({ ...run, segmentId, inFlight: 0, afterId: 0 }));
    return claimOnce(tx, this.#deps.serverId, { claimId, among: this.#among(runs) });
  }

  /** After a slow look the next one waits for a while, as long as there are known runs to go on with. */
  #isPausing(): boolean {
    const pauseMs = Math.min(maxPauseMs, Math.max(0, this.#lookTookMs - quickLookMs) * pauseForEachMs);
    return this.#now() < this.#lookedAtMs + pauseMs;
  }

  #among(runs: readonly KnownRun[]): ClaimAmong {
    return { runs, held: this.#deps.held(new Set(runs.map(({ segmentId }) => segmentId))) };
  }

  async #look(claimId: string): Promise<Claim> {
    const beganMs = this.#now();
    // The look may miss what becomes ready or free while it is made.
    this.#isDue = false;
    this.#freed.clear();
    let claim: Claim;
    try {
      claim = await claimSteps(this.#deps.sql, this.#deps.serverId, claimId);
      this.#isRefused = false;
    } catch (error) {
      this.#isDue = true;
      if (!isRefused(error)) throw error;
      return this.#lookApart(claimId, error);
    }
    this.#lookedAtMs = this.#now();
    // Measured only if there was a free slot: without one, the look hasn't read far.
    if (claim.full.length === 0 || claim.steps.length > 0) this.#lookTookMs = this.#lookedAtMs - beganMs;
    const before = this.#known;
    const full = new Set(claim.full);
    this.#known = new Map([...before].filter(([, { segmentId }]) => full.has(segmentId)));
    // Segments without a free slot weren't looked at, and if agents can do different things, only a look tells which
    // may take what.
    this.#isDue ||= full.size > 0 || claim.again || claim.kinds > 1;
    if (claim.kinds > 1) this.#known.clear();
    else {
      for (const run of claim.candidates ?? []) {
        const afterId = before.get(keyOf(run))?.afterId ?? 0;
        this.#known.set(keyOf(run), { ...run, afterId });
      }
    }
    this.#took(claim);
    return claim;
  }

  /** The database refuses to write some step: only runs with such a step have to wait. */
  async #lookApart(claimId: string, error: unknown): Promise<Claim> {
    const { sql, serverId, log } = this.#deps;
    this.#isRefused = true;
    this.#known.clear();
    const { refused, ...claim } = await claimRunsApart(sql, serverId, claimId);
    log?.error(
      { err: error, runs: refused },
      'the database refuses to lease steps of these runs to agents; this is retried every second',
    );
    return claim;
  }

  /** Goes on after these steps, even if it had got further: then they are ready again, and others may be, too. */
  #took({ steps }: Claim): void {
    const last = new Map<string, number>();
    for (const step of steps) {
      const key = keyOf(step);
      const run = this.#known.get(key);
      if (run === undefined) continue;
      run.inFlight += 1;
      last.set(key, Math.max(step.id, last.get(key) ?? 0));
    }
    for (const [key, afterId] of last)
      this.#known.set(key, { ...(this.#known.get(key) as KnownRun), afterId });
  }
}

function keyOf({ segmentId, jobRunId }: { segmentId: number; jobRunId: number }): string {
  return `${segmentId}.${jobRunId}`;
}
