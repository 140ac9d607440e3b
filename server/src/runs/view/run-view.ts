// Converts runs, target runs and steps to the form that the API shows.

import type { Run, RunDetail, Step, TargetRun } from '@opsconductor/protocol';
import { targetCounts } from '../../store/runs/run-counts.ts';
import type { RunRecord, StepRecord, TargetRunRecord } from '../../store/runs/runs.ts';
import { howItEnded } from '../how-it-ended.ts';
import { formatPosition } from '../live/stream-position.ts';

const iso = (date: Date | null): string | null => date?.toISOString() ?? null;

export function runView(row: RunRecord): Run {
  return {
    id: row.id,
    jobId: row.jobId,
    jobName: row.jobName,
    category: row.category,
    jobVersion: row.jobVersion,
    status: row.status,
    outputState: row.outputState,
    targetsTotal: row.targetsTotal,
    ...targetCounts(row),
    totalSteps: row.totalSteps,
    completedSteps: row.completedSteps,
    failedSteps: row.failedSteps,
    lateResults: row.lateResults,
    createdBy: row.createdBy ?? 'deleted user',
    createdAt: row.createdAt.toISOString(),
    startBy: row.startBy.toISOString(),
    startedAt: iso(row.startedAt),
    completedAt: iso(row.completedAt),
    executionTimeMs: row.executionTimeMs,
    errorMessage: row.errorMessage,
    cancelRequestedAt: iso(row.cancelRequestedAt),
    cancelRequestedBy: row.cancelRequestedBy,
    eventSeq: row.eventSeq,
    ...(row.isJobDeleted ? { isJobDeleted: true } : {}),
    ...(row.isTrial ? { isTrial: true } : {}),
  };
}

export function runDetailView(row: RunRecord, partTag?: string): RunDetail {
  const position = { afterSeq: row.eventSeq, output: new Map() };
  return {
    ...runView(row),
    eventId: formatPosition(partTag === undefined ? position : { ...position, part: partTag }),
    steps: row.stepNames.map((name, index) => ({
      stepNumber: index + 1,
      name,
      stepType: row.stepTypes[index] ?? '',
    })),
    selection: row.selection,
    priority: row.priority,
    timeoutS: row.timeoutS,
    stopReason: row.stopReason,
    locks: row.locks ?? [],
    strategy:
      row.strategy === null
        ? null
        : {
            ...row.strategy,
            opened: row.targetsOpened ?? row.targetsTotal,
            batch: row.batchNumber,
            haltedReason: row.haltedReason,
          },
    rerunOf: row.rerunOf,
    reruns: row.reruns ?? [],
    parameters: null,
    versionRef: row.versionRef,
    runReason: row.reason,
  };
}

export function targetRunView(row: TargetRunRecord): TargetRun {
  return {
    id: row.id,
    targetId: row.targetId,
    targetName: row.targetName,
    segmentId: row.segmentId,
    segmentName: row.segmentName,
    status: row.status,
    startedAt: iso(row.startedAt),
    completedAt: iso(row.completedAt),
    endReason: row.endReason,
    ...(row.cancelRequestedAt === null
      ? {}
      : {
          cancelRequestedAt: row.cancelRequestedAt.toISOString(),
          cancelRequestedBy: row.cancelRequestedBy,
        }),
  };
}

export function stepView(row: StepRecord, stepNames: readonly string[]): Step {
  return {
    id: row.id,
    targetRunId: row.targetRunId,
    stepNumber: row.stepNumber,
    name: stepNames[row.stepNumber - 1] ?? '',
    stepType: row.stepType,
    status: row.status,
    attempt: row.epoch,
    attempts: row.epoch - row.unbegun,
    agentName: row.agentName,
    leasedAt: iso(row.leasedAt),
    startedAt: iso(row.startedAt),
    completedAt: iso(row.completedAt),
    ...howItEnded(row),
    errorMessage: row.errorMessage,
    advice: row.advice,
    survivors: row.survivors ?? [],
    detections: row.detections ?? [],
    notBefore: iso(row.notBefore),
    heldUntil: iso(row.heldUntil),
    outputState: row.outputState,
    outputBytes: row.outputBytes,
    outputSeq: row.outputSeq,
  };
}
