// Applies a run's strategy once target runs have ended: how many more may start, or that no more may. Pure; it needs
// only the counters of the run's locked row.
import { batchSize, isRunEnded, shareOf } from '@opsconductor/protocol';
import type { RunRow } from '../../store/runs/progress/progress-rows.ts';

export interface NextMove {
  /** Number of target runs to open now. */
  open: number;
  /**
   * Set when this move stops the run from starting more target runs: the reason to show for the run and for each target
   * run.
   */
  halt: { reason: string; unbegun: string } | null;
  batchNumber: number | null;
  batchEnd: number | null;
  batchFailures: number | null;
}

type Counted = Pick<
  RunRow,
  | 'status'
  | 'strategy'
  | 'targetsTotal'
  | 'targetsOpened'
  | 'targetsSucceeded'
  | 'targetsFailed'
  | 'targetsCancelled'
  | 'targetsTimedOut'
  | 'targetsUnknown'
  | 'batchNumber'
  | 'batchEnd'
  | 'batchFailures'
  | 'haltedAt'
>;

/**
 * Returns `undefined` if nothing can be opened or halted: there is no strategy, or the run is halted, cancelling or
 * ended.
 */
export function followStrategy(run: Counted): NextMove | undefined {
  const { strategy, targetsTotal, targetsOpened } = run;
  if (strategy === null || targetsOpened === null || run.haltedAt !== null) return undefined;
  if (run.status === 'cancelling' || isRunEnded(run.status)) return undefined;
  const failures = run.targetsFailed + run.targetsTimedOut + run.targetsUnknown;
  const ended = failures + run.targetsSucceeded + run.targetsCancelled;
  let { batchNumber, batchEnd, batchFailures } = run;
  const stay = { open: 0, batchNumber, batchEnd, batchFailures };
  const stops = strategy.onExceeded === 'stop';
  if (stops && failures > strategy.maxFailures) {
    return { ...stay, halt: haltOf(failures, strategy.maxFailures, 'max_failures', '') };
  }
  if (batchNumber !== null && batchEnd !== null) {
    // Not more than planned: a batch ends later by the targets that were cancelled before they opened.
    const planned = batchSize(strategy.batches, batchNumber);
    const size = Math.min(planned, batchEnd - beginOf(strategy.batches, batchNumber));
    const inBatch = failures - (batchFailures ?? 0);
    const limit =
      strategy.batchMaxFailures === null ? null : shareOf(strategy.batchMaxFailures, size, Math.floor);
    if (stops && limit !== null && inBatch > limit) {
      return { ...stay, halt: haltOf(inBatch, limit, 'batch_max_failures', ` in batch ${batchNumber}`) };
    }
    if (ended >= batchEnd && batchEnd < targetsTotal) {
      batchNumber += 1;
      batchEnd = Math.min(targetsTotal, batchEnd + batchSize(strategy.batches, batchNumber));
      batchFailures = failures;
    }
  }
  const mayOpen = (batchEnd ?? targetsTotal) - targetsOpened;
  const free = strategy.maxParallel === null ? mayOpen : strategy.maxParallel - (targetsOpened - ended);
  const open = Math.max(0, Math.min(mayOpen, free));
  return { open, halt: null, batchNumber, batchEnd, batchFailures };
}

/** Returns the number of targets that a run begins with. */
export function opensWith(strategy: NonNullable<RunRow['strategy']>, targetsTotal: number): number {
  const { maxParallel, batches } = strategy;
  const batch = batches.length > 0 ? batchSize(batches, 1) : targetsTotal;
  return Math.min(targetsTotal, batch, maxParallel ?? targetsTotal);
}

/**
 * Returns how many targets the batches before this one have. Only the last batch may be smaller than its planned size.
 */
function beginOf(batches: readonly number[], batchNumber: number): number {
  let targets = 0;
  for (let number = 1; number < batchNumber; number += 1) targets += batchSize(batches, number);
  return targets;
}

function haltOf(count: number, limit: number, name: string, where: string): NextMove['halt'] {
  const hosts = count === 1 ? '1 host' : `${count} hosts`;
  return {
    reason: `Stopped when ${hosts} had failed or become unknown${where}: ${name} is ${limit}.`,
    unbegun: `Not begun: more hosts failed or became unknown${where} than ${name} allows (${limit}).`,
  };
}
