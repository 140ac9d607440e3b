// The words and the order of states. A status is its own word but for its underscores.
import type { RunStatus, StepStatus } from '@opsconductor/protocol';

export type AnyStatus = RunStatus | StepStatus;

/** Trouble first; within a list what needs a person comes before what does not. */
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

/** Shown solid: a person is needed, or was. */
export function isLoud(status: AnyStatus): boolean {
  return ['unknown', 'held', 'failed', 'timed_out', 'partial'].includes(status);
}

/** A step reason in words for a cell that has no exit code: `host_key_unknown` is `host key unknown`. */
export function reasonWord(reason: string): string {
  return reason.replaceAll('_', ' ');
}
