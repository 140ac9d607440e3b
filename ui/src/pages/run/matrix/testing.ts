// Hosts for the tests of the matrix.
import type { RunStatus, Step, StepStatus } from '@opsconductor/protocol';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import type { HostGroup } from '../hosts/host-groups.ts';
import { type MatrixRow, matrixRows } from './matrix-rows.ts';

/** A host with this id, named `host-<id>`. */
export function host(id: number, status: RunStatus, steps: readonly Partial<Step>[] = []): Host {
  return {
    targetRun: {
      id,
      targetId: id,
      targetName: `host-${id}`,
      segmentId: 1,
      segmentName: 'dmz-1',
      status,
      startedAt: null,
      completedAt: null,
      endReason: null,
    },
    steps: steps.map((step, at) => ({ stepNumber: at + 1, name: `step-${at + 1}`, ...step }) as Step),
  };
}

export function group(status: RunStatus, ids: readonly number[]): HostGroup {
  return { status, hosts: ids.map((id) => host(id, status)) };
}

export const failed = (exitCode: number): Partial<Step> => ({
  status: 'failed' satisfies StepStatus,
  reason: 'exit_code',
  exitCode,
  signal: null,
});

export function rowsOf(
  groups: readonly HostGroup[],
  folded: readonly RunStatus[] = [],
): readonly MatrixRow[] {
  return matrixRows(groups, ({ status }) => folded.includes(status));
}
