// What is said of a step that was stopped, or could not begin, whatever it would have done.
import type { StepOutcome } from '@opsconductor/protocol';
import type { SshError } from '../ssh/ssh-error.ts';
import type { StopRequest } from './step-type.ts';

/** What a step ends as that was stopped for this. */
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
    // Nothing was sent, so nothing is unknown: the target was not reached.
    reason: error.reason === 'connection_lost' ? 'unreachable' : error.reason,
    message: error.message.slice(0, 2000),
    advice: error.advice.slice(0, 2000),
  };
}
