// Puts steps that an agent's policy file refused into the audit log, in addition to the record that the agent's machine
// keeps.
import type { StepOutcome } from '@opsconductor/protocol';
import type { AuditEntry } from '../../audit/record-audit.ts';
import { cleanText } from '../clean-text.ts';

const refusals: ReadonlySet<string> = new Set(['policy_refused', 'path_refused']);

export interface RefusedStep {
  step: { id: number; jobRunId: number; segmentId: number; stepNumber: number; stepType: string };
  targetName: string;
  agent: { id: number; name: string };
  outcome: StepOutcome;
}

/** Returns the audit row for an attempt's end, or `undefined` if the step wasn't refused. */
export function refusalAudit({ step, targetName, agent, outcome }: RefusedStep): AuditEntry | undefined {
  const { reason, message } = outcome;
  if (reason === undefined || !refusals.has(reason)) return undefined;
  const { id: stepId, jobRunId, segmentId, stepNumber, stepType } = step;
  return {
    actor: { kind: 'agent', ...agent },
    action: 'agent.step_refused',
    object: { kind: 'run', id: jobRunId },
    scope: { segmentId },
    detail: { reason, message: cleanText(message), stepId, stepNumber, stepType, target: targetName },
  };
}
