// How a run goes through its targets, in words and in batches.
import { batchSize, type Lock, type RunDetail, type TargetRun } from '@opsconductor/protocol';
import { count, counted } from '../../../format/quantity.ts';

export type ShownStrategy = NonNullable<RunDetail['strategy']>;

export interface Batch {
  number: number;
  hosts: number;
  /** `stopped`: it never opens, because the run halted or ended first. */
  state: 'done' | 'open' | 'to come' | 'stopped';
}

/** Returns all batches in order; empty for a run without batches. */
export function batchesOf(strategy: ShownStrategy, total: number, ended: boolean): Batch[] {
  if (strategy.batches.length === 0) return [];
  const all: Batch[] = [];
  for (let from = 0; from < total; ) {
    const number = all.length + 1;
    const hosts = Math.min(total - from, batchSize(strategy.batches, number));
    all.push({ number, hosts, state: stateOf(number, strategy, ended) });
    from += hosts;
  }
  return all;
}

function stateOf(number: number, { batch, haltedReason }: ShownStrategy, ended: boolean): Batch['state'] {
  const open = batch ?? 0;
  if (number < open || (number === open && ended)) return 'done';
  if (number === open) return 'open';
  return ended || haltedReason !== null ? 'stopped' : 'to come';
}

/**
 * How many hosts were cancelled before they started, those of an open batch too: a halt ends all of them at once.
 *
 * @param hosts All hosts of the run, or undefined until they are loaded.
 */
export function neverStarted(
  run: Pick<RunDetail, 'targetsCancelled' | 'cancelRequestedAt'>,
  hosts: readonly Pick<TargetRun, 'status' | 'startedAt'>[] | undefined,
): number | undefined {
  if (hosts !== undefined)
    return hosts.filter(({ status, startedAt }) => status === 'cancelled' && startedAt === null).length;
  // Once someone cancels, hosts are cancelled that had started.
  return run.cancelRequestedAt === null ? run.targetsCancelled : undefined;
}

/** `batch 2 of 4 (8 hosts), at most 8 at a time, in order of name` */
export function strategyWords(strategy: ShownStrategy, batches: readonly Batch[]): string {
  const parts: string[] = [];
  if (batches.length > 0) {
    const open = batches.find(({ state }) => state === 'open');
    const current = open ?? batches.filter(({ state }) => state === 'done').at(-1);
    parts.push(
      current === undefined
        ? counted(batches.length, 'batch', 'batches')
        : `batch ${count(current.number)} of ${count(batches.length)} (${counted(current.hosts, 'host')})`,
    );
  }
  if (strategy.maxParallel !== null) parts.push(`at most ${count(strategy.maxParallel)} at a time`);
  if (strategy.batchMaxFailures !== null) {
    parts.push(
      `up to ${typeof strategy.batchMaxFailures === 'number' ? counted(strategy.batchMaxFailures, 'failure') : `${strategy.batchMaxFailures} failures`} per batch`,
    );
  }
  if (strategy.onExceeded === 'continue') parts.push('continues beyond its limit');
  if (strategy.order !== 'selection')
    parts.push(
      strategy.order === 'random'
        ? 'in random order'
        : `in ${strategy.order === 'name' ? '' : 'reverse '}order of name`,
    );
  return parts.join(', ');
}

/** How many failures count towards the limit, and how many it tolerates: `1 of 2 failures tolerated`. */
export function failureWords(
  { maxFailures }: Pick<ShownStrategy, 'maxFailures'>,
  failures: number,
  total: number,
): string | undefined {
  // If batches have a limit of their own, the run's never counts.
  if (maxFailures >= total) return undefined;
  if (maxFailures === 0)
    return failures === 0 ? 'no failure tolerated' : `${counted(failures, 'failure')}, none tolerated`;
  return failures <= maxFailures
    ? `${count(failures)} of ${counted(maxFailures, 'failure')} tolerated`
    : `${counted(failures, 'failure')}, ${count(maxFailures)} tolerated`;
}

const scopes = { installation: '', segment: ' in its segment', target: ' on its host' } as const;

/** `lb-pool, exclusive in its segment`; `mirror, shared by up to 3` */
export function lockWords(lock: Lock): string {
  const where = scopes[lock.per ?? 'installation'];
  if (lock.mode === 'exclusive') return `${lock.name}, exclusive${where}`;
  return `${lock.name}, shared${lock.slots === undefined ? '' : ` by up to ${count(lock.slots)}`}${where}`;
}
