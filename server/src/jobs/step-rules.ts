// What of a step's definition the server settles attempts by, kept in clear beside the sealed version: one row has the
// rules of all steps, so that nothing is opened to settle one.
import {
  defaultRetryReasons,
  type JobDefinition,
  limits,
  type OnUnknown,
  type RetryPolicy,
  type StepDefinition,
  type StepReason,
  type WhenStatus,
} from '@opsconductor/protocol';

export interface RetryRule {
  /** Tries in all. */
  attempts: number;
  delayS: number;
  backoff: number;
  maxDelayS: number;
  on: readonly StepReason[];
}

export interface StepRules {
  onUnknown: OnUnknown;
  idempotent: boolean;
  holdForS: number;
  retry: RetryRule | null;
  when: WhenStatus;
}

/** Of a step that says nothing. */
export const plainRules: StepRules = {
  onUnknown: 'fail',
  idempotent: false,
  holdForS: limits.holdForS,
  retry: null,
  when: 'success',
};

/** By step number minus one; null for a job none of whose steps has rules of its own. */
export function stepRulesOf(definition: Pick<JobDefinition, 'steps'>): StepRules[] | null {
  const hasRules = definition.steps.some(
    ({ on_unknown: onUnknown, idempotent, retry, when_status: when }) =>
      onUnknown !== undefined || idempotent !== undefined || retry !== undefined || when !== undefined,
  );
  return hasRules ? definition.steps.map(rulesOf) : null;
}

function rulesOf(step: StepDefinition): StepRules {
  return {
    onUnknown: step.on_unknown ?? plainRules.onUnknown,
    idempotent: step.idempotent ?? plainRules.idempotent,
    holdForS: step.hold_for ?? plainRules.holdForS,
    retry: step.retry === undefined ? null : retryRuleOf(step.retry),
    when: step.when_status ?? plainRules.when,
  };
}

function retryRuleOf(policy: RetryPolicy): RetryRule {
  return {
    attempts: policy.attempts,
    delayS: policy.delay ?? 10,
    backoff: policy.backoff ?? 2,
    maxDelayS: policy.max_delay ?? 3_600,
    on: policy.on ?? defaultRetryReasons,
  };
}
