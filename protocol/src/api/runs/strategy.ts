// When each target of a run starts (how many at a time, in which batches, until how many failures), and which locks
// each target run needs.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed } from '../schema-parts.ts';

export const percentPattern = '^(100|[1-9]?[0-9])%$';
const Percent = Type.String({ pattern: percentPattern, description: 'A percentage of the targets: `10%`' });
const Share = (minimum: number) =>
  Type.Union([Type.Integer({ minimum, maximum: limits.maxTargetsPerRun }), Percent], {
    description: 'A number of targets, or a percentage of them: `10%`',
  });

export const Priority = Type.Integer({
  minimum: -100,
  maximum: 100,
  description: 'Among steps that wait for a slot in a segment, higher priorities go first; default: 0',
});

export const targetOrders = ['selection', 'name', 'reverse', 'random'] as const;
export type TargetOrder = (typeof targetOrders)[number];

export const StrategySchema = Closed({
  max_parallel: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.maxTargetsPerRun,
      description: 'Greatest number of targets that are open at the same time',
    }),
  ),
  batches: Type.Optional(
    Type.Array(Share(1), {
      minItems: 1,
      maxItems: limits.maxBatches,
      description:
        'Sizes of the batches; the last one repeats. Percentages are of all targets, rounded up. A batch opens when the previous one has ended.',
    }),
  ),
  max_failures: Type.Optional(Share(0)),
  batch_max_failures: Type.Optional(Share(0)),
  order: Type.Optional(
    Type.Enum(targetOrders, {
      description: 'Default: `selection`, the order in which they were requested, then by segment and name',
    }),
  ),
  on_exceeded: Type.Optional(
    Type.Enum(['stop', 'continue'], {
      description: 'Default: `stop`, which ends targets that have not begun as `cancelled`',
    }),
  ),
});
export type Strategy = Static<typeof StrategySchema>;

export const lockNamePattern = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$';
export const lockScopes = ['installation', 'segment', 'target'] as const;
export const LockSchema = Closed({
  name: Type.String({
    pattern: lockNamePattern,
    description: 'Jobs that name the same lock share it. Letters, digits, `.`, `_` and `-`',
  }),
  mode: Type.Enum(['exclusive', 'shared'], {
    description:
      '`exclusive`: held by one target run and no other. `shared`: held together with others that share it.',
  }),
  /** How many target runs may share it, including this one. Only for a shared lock; by default no limit. */
  slots: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxLockSlots })),
  per: Type.Optional(
    Type.Enum(lockScopes, {
      description: 'One lock for the `installation` (the default), or one for each `segment` or `target`',
    }),
  ),
});
export type Lock = Static<typeof LockSchema>;

/** A strategy as it applies to one run: with percentages resolved to numbers, and the seed of a random order. */
export const RunStrategySchema = Type.Object({
  maxParallel: Type.Union([Type.Integer(), Type.Null()]),
  batches: Type.Array(Type.Integer(), {
    description: 'Sizes of the batches; the last one repeats. Empty: no batches',
  }),
  maxFailures: Type.Integer({ description: 'Limit for the whole run' }),
  /** Limit for each batch; a percentage is of the batch's size. */
  batchMaxFailures: Type.Union([Type.Integer(), Type.String(), Type.Null()]),
  order: Type.Enum(targetOrders),
  seed: Type.Union([Type.Integer(), Type.Null()]),
  onExceeded: Type.Enum(['stop', 'continue']),
});
export type RunStrategy = Static<typeof RunStrategySchema>;

/** Resolves a strategy for a number of targets. `seed` matters only for a random order. */
export function resolveStrategy(strategy: Strategy, targets: number, seed: number): RunStrategy {
  const order = strategy.order ?? 'selection';
  const onlyBatches = strategy.batch_max_failures !== undefined && strategy.max_failures === undefined;
  return {
    maxParallel: strategy.max_parallel ?? null,
    batches: (strategy.batches ?? []).map((size) => Math.max(1, shareOf(size, targets, Math.ceil))),
    // A limit given only for batches replaces the limit for the whole run.
    maxFailures: onlyBatches ? targets : shareOf(strategy.max_failures ?? 0, targets, Math.floor),
    batchMaxFailures: strategy.batch_max_failures ?? null,
    order,
    seed: order === 'random' ? seed : null,
    onExceeded: strategy.on_exceeded ?? 'stop',
  };
}

/** Returns a share as a number of targets; a percentage of `total` is turned into a whole number by `round`. */
export function shareOf(share: number | string, total: number, round: (value: number) => number): number {
  if (typeof share === 'number') return share;
  return round((Number.parseInt(share, 10) * total) / 100);
}

/** Returns the size of the batch with this number, counted from 1. */
export function batchSize(batches: readonly number[], number: number): number {
  const size = batches[Math.min(number, batches.length) - 1];
  if (size === undefined) throw new Error('a run without batches has no batch');
  return size;
}
