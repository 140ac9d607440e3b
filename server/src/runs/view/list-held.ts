// Lists what in a run waits for a person, as few questions as there are different things to decide.
import { decisionConsequences, type HeldSteps } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { plainRules } from '../../jobs/definition/step-rules.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type HeldStepRow, listHeldSteps, stepRulesOfRun } from '../../store/queue/decisions.ts';
import { mayDirectRun } from '../ends/cancel-run.ts';
import { seeRun } from './seen-run.ts';

const maxStepsTold = 100;

/** Returns the held steps that the caller sees, grouped by step, agent and reason. */
export async function listHeld(
  sql: Sql,
  runId: number,
  { authority }: Pick<Caller, 'authority'>,
): Promise<HeldSteps> {
  const { run } = await seeRun(sql, runId, authority);
  const [held, rules] = await Promise.all([
    listHeldSteps(sql, runId, authority.reach('read')),
    stepRulesOfRun(sql, runId),
  ]);
  const groups = new Map<string, HeldStepRow[]>();
  for (const step of held) {
    const key = JSON.stringify([step.stepNumber, step.agentName, step.reason]);
    const group = groups.get(key) ?? [];
    group.push(step);
    groups.set(key, group);
  }
  const mayDecide = await mayDirectRun(sql, run, { authority });
  const ruleOf = (number: number) => rules?.[number - 1] ?? plainRules;
  return {
    mayDecide,
    groups: [...groups.values()].flatMap((steps) => {
      const [first] = steps;
      if (first === undefined) return [];
      const { stepNumber, agentName, reason, message } = first;
      const later = run.stepNames.slice(stepNumber).map((_, index) => ruleOf(stepNumber + index + 1).when);
      return [
        {
          stepNumber,
          stepName: run.stepNames[stepNumber - 1] ?? '',
          agentName,
          reason,
          count: steps.length,
          message,
          heldUntil: new Date(Math.min(...steps.map((step) => step.heldUntil.getTime()))).toISOString(),
          consequences: decisionConsequences({
            count: steps.length,
            stepNumber,
            followers: later.filter((when) => when !== 'failure').length,
            cleaners: later.filter((when) => when !== 'success').length,
            idempotent: ruleOf(stepNumber).idempotent,
          }),
          steps: steps.slice(0, maxStepsTold).map((step) => ({
            id: step.id,
            attempt: step.epoch,
            targetRunId: step.targetRunId,
            targetName: step.targetName,
            heldUntil: step.heldUntil.toISOString(),
          })),
        },
      ];
    }),
  };
}
