// What a step of a job comes to on one target, before it runs: its texts as a person reads them, and whether it runs at
// all. The console shows it as one types, the server answers it to scripts; both say the same.
import type { ErrorDetail } from '../api/common.ts';
import type { JobDefinition } from '../api/jobs/jobs.ts';
import { readExpression } from '../expressions/expression.ts';
import type { ExpressionValues } from '../expressions/scope.ts';
import { type Preview, renderForPeople } from '../rendering/render-for-people.ts';
import { scopeOf } from '../rendering/scope.ts';
import type { RenderValues } from '../rendering/values.ts';

export interface StepPreview extends Preview {
  /** Whether its condition holds; null where that is not known before the run. */
  runs: boolean | null;
  /** Its condition asks for what earlier steps hand on. */
  waitsForSteps: boolean;
}

/** A target where there is none to look at. */
export const madeUpTarget = {
  name: 'some-host',
  host: '192.0.2.1',
  port: 22,
  os: 'linux',
  segment: 'some-segment',
  labels: {},
} as const;

/**
 * The preview of a step by its place; undefined where there is no such step. Values of secrets need not be known, and of
 * steps none are.
 */
export function previewStep(
  definition: JobDefinition,
  at: number,
  values: RenderValues,
): StepPreview | undefined {
  const step = definition.steps[at];
  if (step === undefined) return undefined;
  const rendered = renderForPeople(step, scopeOf(definition, at), values);
  const { problems, ...condition } = conditionOf(definition, at, values);
  return { ...rendered, ...condition, problems: [...rendered.problems, ...problems] };
}

function conditionOf(
  definition: JobDefinition,
  at: number,
  values: RenderValues,
): Pick<StepPreview, 'runs' | 'waitsForSteps'> & { problems: ErrorDetail[] } {
  const notKnown = { runs: null, waitsForSteps: false, problems: [] };
  const when = definition.steps[at]?.when;
  if (when === undefined || when === '') return { ...notKnown, runs: true };
  const { steps, path } = scopeOf(definition, at);
  const scope = { parameters: definition.parameters ?? {}, onTarget: { steps } };
  const read = readExpression(when, scope, { mayBeAbsent: true });
  if (!('expression' in read)) return notKnown;
  if (read.expression.names.some((name) => name.startsWith('steps.')))
    return { ...notKnown, waitsForSteps: true };
  const result = read.expression.evaluate(values as unknown as ExpressionValues);
  if (result.ok) return { ...notKnown, runs: result.value };
  return { ...notKnown, problems: [{ path: `${path}.when`, message: result.message }] };
}
