// Fills values into a leased step and evaluates its condition. Outcomes name places and parameters but never a value:
// everyone who may read the run can read them.
import {
  type Binding,
  type Lease,
  type LeaseRendering,
  type RenderScope,
  type RenderValues,
  readExpression,
  renderStep,
  type StepOutcome,
  toldWithPlace,
} from '@opsconductor/protocol';
import type { OpenedSecret } from '../secrets/run-secrets.ts';

export type FilledInStep = { config: unknown; bindings: readonly Binding[] } | { outcome: StepOutcome };

/**
 * Returns a step's configuration with its values in place of placeholders, and the variables that hold them; or the
 * outcome, if its condition says that it does not run, or a value can't be filled in.
 */
export function fillInStep(lease: Lease, secrets: readonly OpenedSecret[]): FilledInStep {
  const { rendering } = lease;
  if (rendering === undefined) return { config: lease.config, bindings: [] };
  const unmet = conditionOutcome(rendering);
  if (unmet !== undefined) return { outcome: unmet };
  const scope = rendering.scope as RenderScope;
  const filled = renderStep(
    { type: lease.stepType, config: lease.config },
    scope,
    valuesWith(rendering, secrets),
  );
  if (filled.rendered !== undefined) {
    const { config, bindings } = filled.rendered;
    return { config, bindings };
  }
  const told = filled.problems.slice(0, 10).map(({ path, message }) => `${path}: ${message}`);
  return {
    outcome: {
      status: 'failed',
      reason: filled.missing ? 'value_missing' : 'value_refused',
      message: `The step was not begun. ${told.join(' ')}`.slice(0, 2_000),
      advice: filled.missing
        ? 'Give the parameter a value or a default, or test with has(…) in the step’s `when` whether it is set.'
        : 'Start the run with another value, or change how the step uses it.',
    },
  };
}

/** Returns the outcome of a step that its condition keeps from running; undefined if it should run. */
function conditionOutcome({ when, scope, values }: LeaseRendering): StepOutcome | undefined {
  if (when === undefined) return undefined;
  const { parameters, steps } = scope as RenderScope;
  const read = readExpression(when, { parameters, onTarget: { steps } }, { mayBeAbsent: true });
  if (!('expression' in read)) {
    const [problem] = read.problems;
    return conditionFailed(problem === undefined ? 'It can not be read.' : toldWithPlace(problem));
  }
  const result = read.expression.evaluate(values);
  if (!result.ok) return conditionFailed(result.message);
  if (result.value) return undefined;
  return {
    status: 'skipped',
    reason: 'condition_false',
    message: 'The step was not run, because its condition (`when`) is not met on this host.',
  };
}

function conditionFailed(why: string): StepOutcome {
  return {
    status: 'failed',
    reason: 'condition_error',
    message: `The step was not begun: its condition (\`when\`) could not be evaluated. ${why}`.slice(
      0,
      2_000,
    ),
    advice: 'Correct the condition; test with has(…) for values that may be missing.',
  };
}

function valuesWith({ values }: LeaseRendering, secrets: readonly OpenedSecret[]): RenderValues {
  const parameters: Record<string, unknown> = { ...values.parameters };
  const steps = new Map(Object.entries(values.steps).map(([step, { outputs }]) => [step, { ...outputs }]));
  for (const { step, name, value } of secrets) {
    if (step === undefined) parameters[name] = value;
    else steps.set(step, { ...steps.get(step), [name]: value });
  }
  return {
    ...values,
    parameters,
    steps: Object.fromEntries([...steps].map(([step, outputs]) => [step, { outputs }])),
  };
}
