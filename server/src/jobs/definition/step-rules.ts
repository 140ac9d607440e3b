// The parts of a step's definition by which the server settles attempts, stored in clear next to the sealed version.
// One row has the rules of all steps, so that settling one opens nothing.
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
  /** Total number of tries. */
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

/** Rules of a step that sets none. */
export const plainRules: StepRules = {
  onUnknown: 'fail',
  idempotent: false,
  holdForS: limits.holdForS,
  retry: null,
  when: 'success',
};

/** Returns the rules by step number minus one; null for a job in which no step has its own rules. */
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
