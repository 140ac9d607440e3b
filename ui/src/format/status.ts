// The words for statuses and their order. A status is its own word, without underscores.
import type { RunStatus, StepStatus } from '@opsconductor/protocol';

export type AnyStatus = RunStatus | StepStatus;

/** Trouble first; in a list, what needs a person comes before what does not. */
const order: readonly AnyStatus[] = [
  'unknown',
  'held',
  'failed',
  'timed_out',
  'partial',
  'cancelling',
  'running',
  'ready',
  'pending',
  'queued',
  'cancelled',
  'skipped',
  'succeeded',
];
const rank = new Map(order.map((status, index) => [status, index]));

export function statusWord(status: string): string {
  return status.replaceAll('_', ' ');
}

export function compareStatus(a: AnyStatus, b: AnyStatus): number {
  return (rank.get(a) ?? order.length) - (rank.get(b) ?? order.length);
}

/** Returns whether a status is shown as a solid badge: it needs or needed a person. */
export function isLoud(status: AnyStatus): boolean {
  return ['unknown', 'held', 'failed', 'timed_out', 'partial'].includes(status);
}

/** A step's reason in words, for a cell without an exit code: `host_key_unknown` becomes `host key unknown`. */
export function reasonWord(reason: string): string {
  // Such a key is called so wherever keys are listed.
  if (reason === 'host_key_mismatch') return 'host key changed';
  return reason.replaceAll('_', ' ');
}
