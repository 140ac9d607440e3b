// How a run's hosts are doing, as the parts of its bar and as what it says below.
import type { Run, RunStatus } from '@opsconductor/protocol';
import { compareStatus, isLoud } from '../../format/status.ts';

export interface RunPart {
  status: RunStatus;
  hosts: number;
}

/** In the order of the bar. */
export function partsOf(run: Run): RunPart[] {
  return [
    { status: 'succeeded', hosts: run.targetsSucceeded },
    { status: 'failed', hosts: run.targetsFailed },
    { status: 'timed_out', hosts: run.targetsTimedOut },
    { status: 'unknown', hosts: run.targetsUnknown },
    { status: 'held', hosts: run.targetsHeld ?? 0 },
    { status: 'cancelled', hosts: run.targetsCancelled },
    { status: 'running', hosts: run.targetsRunning },
    { status: 'queued', hosts: run.targetsQueued },
  ];
}

/** The hosts that need or needed a person, the most urgent first: in the bar, only colors tell them apart. */
export function troubleOf(run: Run): RunPart[] {
  return partsOf(run)
    .filter(({ status, hosts }) => hosts > 0 && isLoud(status))
    .sort((a, b) => compareStatus(a.status, b.status));
}
