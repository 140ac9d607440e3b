// Outcomes of steps that were stopped or could not begin; every step type uses them.

import type { StepOutcome } from '@opsconductor/protocol';
import { cutText } from '../cut-text.ts';
import type { SshError } from '../ssh/ssh-error.ts';
import type { StopRequest } from './step-type.ts';

/** Returns the status of a step that ended because of this request. */
export function stoppedStatus({ cause }: StopRequest): 'cancelled' | 'timed_out' | 'failed' {
  return cause === 'output_limit' ? 'failed' : cause;
}

export function stoppedBeforeStart(request: StopRequest): StepOutcome {
  return {
    status: stoppedStatus(request),
    reason: request.cause,
    message: 'The step was stopped before its command started.',
  };
}

export function failedBeforeStart(error: SshError): StepOutcome {
  return {
    status: 'failed',
    // Nothing was sent, so the outcome is certain: the target was simply not reached.
    reason: error.reason === 'connection_lost' ? 'unreachable' : error.reason,
    message: cutText(error.message, 2_000),
    advice: cutText(error.advice, 2_000),
  };
}
