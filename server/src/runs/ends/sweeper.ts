// Once a second, ends what nobody will report on any more, so that nothing runs forever. Any server may sweep, and each
// sweep by one of them is for all.
import type { StepOutcome } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { lostOrphans, orphanEach } from '../../store/queue/attempts/detached-attempts.ts';
import { runsPastTimeout } from '../../store/queue/strategy-steps.ts';
import { freeStaleLocks } from '../../store/queue/sweep/lock-slots.ts';
import {
  cancellingRuns,
  cancellingTargetRuns,
  endHeartbeatsAhead,
  endTimesAhead,
  expiredHolds,
  extendLeases,
  type OverdueAttempt,
  overdueAttempts,
  resumedTargetRuns,
  runsNotStarted,
  touchClusterClock,
} from '../../store/queue/sweep/sweep.ts';
import { longWaits, runsThatWait } from '../../store/queue/waiting/wait-bounds.ts';
import { givenUpEnd } from '../progress/given-up-end.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';
import { settleAttempts } from '../progress/settle-attempts.ts';
import { stopResumed } from './cancel-target-run.ts';
import { expireHolds } from './decide-held.ts';
import { allOrEach, eachOf } from './each-of.ts';
import { endLongWaits, endUnstarted } from './end-waits.ts';
import { timeOutRun } from './time-out-run.ts';

const sweepMs = 1_000;
/**
 * A server skips its sweep if another one has swept within this time, in seconds. Less than the time between sweeps.
 */
const sweptWithinS = 0.8;
const longWaitsMs = 5_000;
/** A longer gap in the cluster's clock means that nobody could renew leases. */
const clockGapS = 5;
/** How long a cancel waits for a silent agent before the step ends unknown. */
const cancelGraceS = 30;

export interface SweeperDeps {
  sql: Sql;
  serverId: string;
  log: Log;
  publish(news: ProgressNews): void;
}

export class Sweeper {
  readonly #deps: SweeperDeps;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** Time on the monotonic clock, which nobody can set. */
  #waitsDueAt = 0;

  constructor(deps: SweeperDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#running ??= this.sweep(sweptWithinS)
        .catch((error) =>
          this.#deps.log.error(
            { err: error },
            'ending overdue steps and runs failed; this is retried every second',
          ),
        )
        .finally(() => {
          this.#running = undefined;
        });
    }, sweepMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  /**
   * Sweeps once. The first sweep after a pause only extends leases and ends nothing.
   *
   * @param unlessWithinS if a sweep was made within this time, in seconds, only stops target runs that a server of the
   * version before has gone on with, and reminds this server's agents what to stop.
   */
  async sweep(unlessWithinS = 0): Promise<void> {
    await this.#sweepForAll(unlessWithinS);
    // On each server, because one of the version before may be the one that sweeps for all.
    await eachOf([() => this.#stopResumed(), () => this.#remindOwnAgents()]);
  }

  async #stopResumed(): Promise<void> {
    const { sql, publish } = this.#deps;
    const resumed = await resumedTargetRuns(sql);
    await eachOf(resumed.map((of) => async () => publish(await stopResumed(sql, of.runId, of.targetRunIds))));
  }

  async #remindOwnAgents(): Promise<void> {
    const { sql, serverId, publish } = this.#deps;
    const cancel = await cancellingRuns(sql, serverId);
    const cancelTargetRuns = await cancellingTargetRuns(sql, serverId);
    const stop = { cancel, ...(cancelTargetRuns.length > 0 ? { cancelTargetRuns } : {}) };
    if (cancel.length + cancelTargetRuns.length > 0) publish({ runs: [], segments: [], ...stop });
  }

  async #sweepForAll(unlessWithinS: number): Promise<void> {
    const { sql } = this.#deps;
    const touch = (apart: boolean) => this.#touchClock(unlessWithinS, apart);
    // As long as the clock isn't touched, nothing is swept: a row that can't be written must not keep it from that.
    const { gapS, extended } = await touch(false).catch((error) => {
      if (!isRefused(error)) throw error;
      this.#deps.log.error(
        { err: error },
        'the database refuses to give some lease or run back the time in which no server was running; the others get it',
      );
      return touch(true);
    });
    if (gapS === undefined) return;
    if (gapS > clockGapS) {
      // Every ordinary restart leaves such a gap; it is only worth a warning if something was running.
      if (extended > 0)
        this.#deps.log.warn(
          { gapS: Math.round(gapS), extended },
          'for a while no server was running, or none had the database; leases were extended by that time',
        );
      return;
    }
    const { publish } = this.#deps;
    await eachOf([
      () => this.#settleOverdue(),
      () => this.#endExpiredHolds(),
      async () =>
        eachOf((await runsNotStarted(sql)).map((id) => async () => publish(await endUnstarted(sql, id)))),
      async () =>
        eachOf((await runsPastTimeout(sql)).map((id) => async () => publish(await timeOutRun(sql, id)))),
      () => this.#endLongWaits(),
      () => this.#sweepLocks(),
    ]);
  }

  async #touchClock(
    unlessWithinS: number,
    apart: boolean,
  ): Promise<{ gapS: number | undefined; extended: number }> {
    return inTransaction(this.#deps.sql, async (tx) => {
      const gap = await touchClusterClock(tx, unlessWithinS);
      const isLong = gap !== undefined && gap > clockGapS;
      if (gap !== undefined && gap < -clockGapS) {
        // Steps before sessions, as in a resume.
        await endTimesAhead(tx, -gap, apart);
        await endHeartbeatsAhead(tx, apart);
      }
      return { gapS: gap, extended: isLong ? await extendLeases(tx, gap, apart) : 0 };
    });
  }

  async #settleOverdue(): Promise<void> {
    const { sql } = this.#deps;
    const late = await overdueAttempts(sql, cancelGraceS);
    const abandoned = late.filter(({ cause }) => cause === 'silent' || cause === 'revoked');
    const { waiting, refused } = await orphanEach(sql, abandoned, { expected: false });
    if (refused.size > 0)
      this.#deps.log.error(
        { steps: [...refused] },
        'the database refuses to have these commands of lost agents wait for other agents; they become unknown, if it does not refuse that, too',
      );
    const overdue: OverdueAttempt[] = late.filter(({ stepId }) => !waiting.has(stepId));
    const known = new Set(late.map(({ stepId }) => stepId));
    for (const orphan of await lostOrphans(sql)) {
      if (!known.has(orphan.stepId)) overdue.push({ ...orphan, lastHeartbeatAt: null, cause: 'orphaned' });
    }
    await allOrEach(overdue, (attempts) => this.#giveUp(attempts));
  }

  async #giveUp(overdue: readonly OverdueAttempt[]): Promise<void> {
    const { news } = await settleAttempts(
      this.#deps.sql,
      overdue.map((attempt) => givenUpEnd(attempt, outcomeOf(attempt))),
    );
    this.#deps.log.warn(
      { steps: overdue.map((attempt) => attempt.stepId) },
      'steps became unknown: their agents were silent, lost or revoked, or did not report an end in time; check their targets',
    );
    this.#deps.publish(news);
  }

  /**
   * Less often than the sweep, because waits of an hour needn't end to the second, and this may read all steps of an
   * idle segment.
   */
  async #endLongWaits(): Promise<void> {
    if (performance.now() < this.#waitsDueAt) return;
    this.#waitsDueAt = performance.now() + longWaitsMs;
    const { sql, log, publish } = this.#deps;
    const endIn = async (runId: number) => {
      const waits = await longWaits(sql, runId);
      if (waits.length === 0) return;
      log.warn(
        { run: runId, steps: waits.length },
        'ending steps that waited for longer than their start_within',
      );
      publish(await endLongWaits(sql, runId));
    };
    await eachOf((await runsThatWait(sql)).map((runId) => () => endIn(runId)));
  }

  async #sweepLocks(): Promise<void> {
    const { sql, log } = this.#deps;
    const free = (apart: boolean) => inTransaction(sql, (tx) => freeStaleLocks(tx, apart));
    const { segments, refused } = await free(false).catch((error) => {
      if (!isRefused(error)) throw error;
      log.error({ err: error }, 'the database refuses to free a lock that nobody uses; others are freed');
      return free(true);
    });
    if (refused.length > 0)
      log.error(
        { steps: refused },
        'the database refuses to have these steps try again to get a lock; others that wait for it do',
      );
    if (segments.length > 0) this.#deps.publish({ runs: [], segments, cancel: [] });
  }

  async #endExpiredHolds(): Promise<void> {
    const { sql, log, publish } = this.#deps;
    const due = (await expiredHolds(sql)).map(({ stepId }) => stepId);
    await allOrEach(due, async (steps) => {
      const news = await expireHolds(sql, steps);
      log.warn({ steps }, 'held steps became unknown, because nobody decided before their deadline');
      publish(news);
    });
  }
}

function outcomeOf(attempt: OverdueAttempt): StepOutcome {
  const since = attempt.lastHeartbeatAt === null ? '' : ` since ${attempt.lastHeartbeatAt.toISOString()}`;
  const advice =
    'Look on the target before you run it again. If the agent comes back, its result is added here.';
  if (attempt.cause === 'revoked') {
    return {
      status: 'unknown',
      reason: 'agent_revoked',
      message: `Agent ${attempt.agentName} was revoked while it ran the step: what happened on the target is not known.`,
      advice: 'Look on the target before you run it again: the command may still run there.',
    };
  }
  if (attempt.cause === 'orphaned') {
    return {
      status: 'unknown',
      reason: 'agent_restarted',
      message: `Agent ${attempt.agentName} has lost what it knew of the step, and no agent of the segment took over its command: what happened on the target is not known.`,
      advice: 'Look on the target before you run it again: the command may still run there.',
    };
  }
  if (attempt.cause === 'cancel') {
    return {
      status: 'unknown',
      reason: 'cancel_unconfirmed',
      message: `The step was cancelled while agent ${attempt.agentName} was silent${since}: whether the step was stopped is not known.`,
      advice,
    };
  }
  return {
    status: 'unknown',
    reason: 'agent_silent',
    message:
      attempt.cause === 'silent'
        ? `Agent ${attempt.agentName} has been silent${since}: what happened on the target is not known.`
        : `Agent ${attempt.agentName} did not report an end within the step’s timeout and grace: what happened is not known.`,
    advice,
  };
}
