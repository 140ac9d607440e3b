// What must hold if a person cancels single hosts of a run: nothing begins there afterwards, and the other hosts end as
// without it.
import { isRunEnded } from '@opsconductor/protocol';
import type { Violation } from './check-round.ts';
import type { RoundFacts, RunFacts, StepFacts, TargetRunFacts } from './round-facts.ts';

export function checkHostCancels(facts: RoundFacts): Violation[] {
  return facts.runs.flatMap((run) =>
    run.targetRuns.flatMap((target) =>
      target.cancelRequestedAt === null ? checkOther(run, target, facts) : checkCancelled(run, target, facts),
    ),
  );
}

/** Steps that run after a cancel too. */
const isCleanUp = ({ planned }: StepFacts) => planned.rules.when_status !== undefined;

function checkCancelled(run: RunFacts, target: TargetRunFacts, { steps, edges }: RoundFacts): Violation[] {
  const found: Violation[] = [];
  const say = (text: string, stepId?: number) =>
    found.push({
      rule: 'host-cancel',
      text: `run ${run.id}, cancelled target run ${target.id}: ${text}`,
      runId: run.id,
      ...(stepId === undefined ? {} : { stepId }),
    });
  const own = steps.filter(({ targetRunId }) => targetRunId === target.id);
  const byId = new Map(own.map((step) => [step.id, step]));
  const forced = new Set(
    own.flatMap(({ id, attempts }) =>
      attempts.filter(({ reason }) => reason === 'cancel_forced').map(({ epoch }) => `${id}.${epoch}`),
    ),
  );
  let isForced = false;
  for (const { kind, rowId, epoch, from, to, isCancelled } of edges) {
    const step = kind === 'step' ? byId.get(rowId) : undefined;
    if (step === undefined) continue;
    if (to === 'running' && isForced) say(`step ${rowId} was leased after a forced cancel`, rowId);
    else if (to === 'running' && isCancelled && !isCleanUp(step))
      say(`step ${rowId} was leased, although its host was cancelled`, rowId);
    if (from === 'running' && to === 'unknown' && forced.has(`${rowId}.${epoch}`)) isForced = true;
  }
  if (!isRunEnded(target.status as 'failed') || target.status === 'partial') say(`ends ${target.status}`);
  if (target.status === 'succeeded' && own.some(({ status }) => status === 'cancelled'))
    say('has succeeded, although some of its steps were cancelled');
  return found;
}

/** Nothing of a host that nobody cancelled is cancelled, unless a limit of failures or a decision did it. */
function checkOther(run: RunFacts, target: TargetRunFacts, { steps, isRestored }: RoundFacts): Violation[] {
  if (run.cancelRequestedAt !== null || run.isHalted || isRestored) return [];
  const own = steps.filter(({ targetRunId }) => targetRunId === target.id);
  const isDecided = own.some(({ attempts }) => attempts.some(({ decision }) => decision === 'cancel'));
  if (isDecided) return [];
  return own
    .filter(({ status }) => status === 'cancelled')
    .map(({ id }) => ({
      rule: 'host-cancel',
      text: `run ${run.id}: step ${id} is cancelled, and nobody cancelled its host or its run`,
      runId: run.id,
      stepId: id,
    }));
}
