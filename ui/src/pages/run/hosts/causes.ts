// Why hosts of a run went wrong: hosts that failed at the same step for the same reason have one cause.
import type { Step } from '@opsconductor/protocol';
import { reasonWord } from '../../../format/status.ts';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import { shortReason } from '../step-words.ts';

export interface Cause {
  stepNumber: number;
  stepName: string;
  /** `exit 100` */
  reason: string;
  hosts: number;
  /** What filters the hosts by it. */
  filter: string;
}

export function hasFailed({ targetRun: { status } }: Host): boolean {
  return status === 'failed' || status === 'timed_out';
}

/** The step that a host failed at; undefined if it didn't, or if its steps are not loaded. */
export function failedStep(host: Host): Step | undefined {
  if (!hasFailed(host)) return undefined;
  return host.steps.find(({ status }) => status === 'failed' || status === 'timed_out');
}

/** A time limit is the cause, not the signal by which the command was then ended. */
function reasonOf(step: Step): string {
  return step.status === 'timed_out' ? reasonWord(step.reason ?? 'timed_out') : shortReason(step);
}

/** How the filter writes a reason: one word. */
export function reasonInFilter(step: Step): string {
  return reasonOf(step).toLowerCase().replace(/\s+/g, '_');
}

/**
 * The causes of all failed hosts, the most frequent first. Empty while the steps of one of them are not loaded: numbers
 * that leave out hosts would mislead.
 */
export function causesOf(hosts: readonly Host[], hasAllSteps: boolean): Cause[] {
  const causes = new Map<string, Cause>();
  for (const host of hosts) {
    if (!hasFailed(host)) continue;
    if (!hasAllSteps && host.steps.length === 0) return [];
    const step = failedStep(host);
    if (step === undefined) continue;
    const filter = `step:${step.stepNumber} why:${reasonInFilter(step)}`;
    const cause = causes.get(filter);
    if (cause === undefined)
      causes.set(filter, {
        stepNumber: step.stepNumber,
        stepName: step.name,
        reason: reasonOf(step),
        hosts: 1,
        filter,
      });
    else cause.hosts += 1;
  }
  return [...causes.values()].sort(
    (a, b) => b.hosts - a.hosts || a.stepNumber - b.stepNumber || a.reason.localeCompare(b.reason),
  );
}

export interface StepCauses {
  stepNumber: number;
  stepName: string;
  causes: Cause[];
}

/** Puts those of one step together, so that its name is read once; the step of the most frequent cause is first. */
export function bySteps(causes: readonly Cause[]): StepCauses[] {
  const steps = new Map<number, StepCauses>();
  for (const cause of causes) {
    const { stepNumber, stepName } = cause;
    const step = steps.get(stepNumber);
    if (step === undefined) steps.set(stepNumber, { stepNumber, stepName, causes: [cause] });
    else step.causes.push(cause);
  }
  return [...steps.values()];
}
