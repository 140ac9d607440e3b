// Which claim is made next. To look at all that is ready is right whatever has happened; it has to step over whatever is
// in the index and ready no longer, which is little, but for as long as somebody has a snapshot open of before. So what
// frees slots alone goes on among the runs that the last look has found, behind the steps that were taken of each.
import type { StartedRun } from '../../runs/leases/claim-along.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { type Claim, type ClaimAmong, claimOnce, claimSteps } from '../../store/queue/claims.ts';

const nothing: Claim = {
  steps: [],
  tookAll: false,
  again: false,
  hasRoom: false,
  full: [],
  moved: 0,
  kinds: 1,
};

/** A look that takes longer than this, in ms, is not made again before some time of which it is a small part. */
const quickLookMs = 25;
const pauseForEachMs = 20;
const maxPauseMs = 2_000;

export interface ClaimerDeps {
  sql: Sql;
  serverId: string;
  /** The agents of these segments that are connected here and ready, with how many steps each has. */
  held(segmentIds: ReadonlySet<number>): ClaimAmong['held'];
  /** ms; `performance.now` unless told. */
  now?: () => number;
}

type KnownRun = ClaimAmong['runs'][number];

export class Claimer {
  readonly #deps: ClaimerDeps;
  readonly #now: () => number;
  #known = new Map<string, KnownRun>();
  /** Segments in which slots became free. */
  #freed = new Set<number>();
  #isDue = true;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #lookTookMs = 0;

  constructor(deps: ClaimerDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => performance.now());
  }

  /** Something may have become ready, wherever. */
  lookAtAll(): void {
    this.#isDue = true;
  }

  /** An agent of this segment has ended something. */
  slotsFreed(segmentId: number): void {
    this.#freed.add(segmentId);
  }

  /** Claims for the slots that are free. One claim may be in flight. */
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

  /** It is short where others may have something for slots that are left. */
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

  /** Claims steps of a run as part of the transaction that makes it: nothing else waits. */
  async along(tx: Tx, claimId: string, { segmentIds, ...run }: StartedRun): Promise<Claim> {
    const runs = segmentIds.map((segmentId) => ({ ...run, segmentId, inFlight: 0, afterId: 0 }));
    return claimOnce(tx, this.#deps.serverId, { claimId, among: this.#among(runs) });
  }

  /** A slow look waits for a while, as long as there are known runs to go on with. */
  #isPausing(): boolean {
    const pauseMs = Math.min(maxPauseMs, Math.max(0, this.#lookTookMs - quickLookMs) * pauseForEachMs);
    return this.#now() < this.#lookedAtMs + pauseMs;
  }

  #among(runs: readonly KnownRun[]): ClaimAmong {
    return { runs, held: this.#deps.held(new Set(runs.map(({ segmentId }) => segmentId))) };
  }

  async #look(claimId: string): Promise<Claim> {
    const beganMs = this.#now();
    // What becomes ready or free while it looks may not be in it.
    this.#isDue = false;
    this.#freed.clear();
    let claim: Claim;
    try {
      claim = await claimSteps(this.#deps.sql, this.#deps.serverId, claimId);
    } catch (error) {
      this.#isDue = true;
      throw error;
    }
    this.#lookedAtMs = this.#now();
    // Where there was a free slot: without one it has not looked far.
    if (claim.full.length === 0 || claim.steps.length > 0) this.#lookTookMs = this.#lookedAtMs - beganMs;
    const before = this.#known;
    const full = new Set(claim.full);
    this.#known = new Map([...before].filter(([, { segmentId }]) => full.has(segmentId)));
    // Nothing was looked for where no slot was free; and what agents of several kinds can do is told by a look alone.
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

  /** Goes on behind these, also where it had been further: then they are ready again, and others may be. */
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
