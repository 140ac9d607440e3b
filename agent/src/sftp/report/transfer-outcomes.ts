// Turns the end of a transfer into an outcome.

import type { StepOutcome } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { failedBeforeStart, stoppedBeforeStart, stoppedStatus } from '../../steps/before-start-outcomes.ts';
import type { StepContext, StopRequest } from '../../steps/step-type.ts';
import type { TransferPlan } from '../transfer-plan.ts';
import { shownPath } from '../tree/shown-path.ts';
import { TransferError } from '../tree/transfer-error.ts';
import { sizeWord } from './transfer-lines.ts';
import type { TransferReport } from './transfer-report.ts';

/** Returns the outcome of a transfer that ran to its end, with or without failed files. */
export function endOutcome(report: TransferReport, { direction }: TransferPlan): StepOutcome {
  const { firstFailure, totals } = report;
  if (firstFailure === undefined) return { status: 'succeeded' };
  const { failed, created, changed, unchanged } = totals;
  const all = failed + created + changed + unchanged;
  const done = direction === 'push' ? 'uploaded' : 'downloaded';
  const lead =
    all <= 1 ? '' : `${failed} of ${all} could not be ${done}; the first, ${shownPath(firstFailure.path)}: `;
  return failedWith(report.commonReason, `${lead}${firstFailure.error.message}`, firstFailure.error.advice);
}

/**
 * Returns the outcome of a transfer that `error` or a stop ended. Throws errors that are neither from a side nor a
 * stop.
 */
export function failureOutcome(
  error: unknown,
  { context, report, hasBegun }: { context: StepContext; report: TransferReport; hasBegun: boolean },
): StepOutcome {
  const { signal, target } = context;
  if (signal.aborted) {
    const request = signal.reason as StopRequest;
    return hasBegun ? stoppedOutcome(request, report) : stoppedBeforeStart(request);
  }
  if (error instanceof TransferError)
    return failedWith(error.reason, `${error.message}${soFar(report)}`, error.advice);
  if (!(error instanceof SshError)) throw error;
  if (!hasBegun) return failedBeforeStart(error);
  return failedWith(
    'transfer_cut',
    `The connection to ${target.host} was lost during the transfer and could not be reopened: ${error.message}${soFar(report)}`,
    error.advice,
  );
}

function stoppedOutcome(request: StopRequest, report: TransferReport): StepOutcome {
  const cause = request.cause === 'timed_out' ? 'ran out of its time' : 'was cancelled';
  return {
    status: stoppedStatus(request),
    reason: request.cause,
    message: `The transfer ${cause}.${soFar(report)} No file has its final name before it is complete.`,
  };
}

function soFar({ totals }: TransferReport): string {
  const files = totals.created + totals.changed;
  if (files === 0) return '';
  const [what, where] =
    files === 1 ? ['1 file', 'was in its place'] : [`${files} files`, 'were in their places'];
  return ` By then ${what} with ${sizeWord(totals.bytes)} ${where}.`;
}

function failedWith(reason: TransferError['reason'], message: string, advice: string): StepOutcome {
  return { status: 'failed', reason, message: cutText(message, 2_000), advice: cutText(advice, 2_000) };
}
