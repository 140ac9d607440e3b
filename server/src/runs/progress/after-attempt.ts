// Decides whether a step ends with its attempt, waits for a person, or is retried. Pure.
import type { StepOutcome, StepReason } from '@opsconductor/protocol';
import type { RetryRule, StepRules } from '../../jobs/definition/step-rules.ts';

export type AfterAttempt =
  | { is: 'end' }
  | { is: 'hold'; forS: number }
  | { is: 'retry'; inS: number; of: number };

/** Attempts of an idempotent step with `on_unknown: retry` that has no `retry` rule. */
const triesOnUnknown = 2;
/** Share of a delay by which it is randomly lengthened or shortened, at most. */
const jitter = 0.2;

/**
 * @param tries attempts of the step that have ended, including this one.
 * @param random returns a number from 0 to 1.
 */
export function afterAttempt(
  outcome: Pick<StepOutcome, 'status' | 'reason' | 'exitCode' | 'survivors'>,
  { rules, tries, random }: { rules: StepRules; tries: number; random: () => number },
): AfterAttempt {
  const { retry, onUnknown, idempotent } = rules;
  if (outcome.status === 'unknown') {
    if (onUnknown === 'hold') return { is: 'hold', forS: rules.holdForS };
    const of = retry?.attempts ?? triesOnUnknown;
    if (onUnknown !== 'retry' || !idempotent || tries >= of) return { is: 'end' };
    return { is: 'retry', inS: retry === null ? 0 : delayS(retry, tries, random), of };
  }
  if (retry === null || tries >= retry.attempts) return { is: 'end' };
  if (outcome.status !== 'failed' && outcome.status !== 'timed_out') return { is: 'end' };
  // Processes that could not be ended may still be doing the step's work.
  if ((outcome.survivors?.length ?? 0) > 0 && !idempotent) return { is: 'end' };
  const reason = reasonOf(outcome);
  if (reason === undefined || !retry.on.includes(reason)) return { is: 'end' };
  return { is: 'retry', inS: delayS(retry, tries, random), of: retry.attempts };
}

function reasonOf({ status, reason, exitCode }: Pick<StepOutcome, 'status' | 'reason' | 'exitCode'>) {
  const plain: StepReason | undefined =
    status === 'timed_out' ? 'timed_out' : exitCode === undefined ? undefined : 'exit_code';
  return reason ?? plain;
}

function delayS({ delayS, backoff, maxDelayS }: RetryRule, tries: number, random: () => number): number {
  const planned = Math.min(maxDelayS, delayS * backoff ** (tries - 1));
  return Math.min(maxDelayS, planned * (1 + jitter * (2 * random() - 1)));
}
