// How one step of a job would look on one target, before it runs: its texts for a reader, and whether it would run at
// all. The console shows this while the user types, and the server returns it to API clients; both use this code.
import type { ErrorDetail } from '../api/errors.ts';
import type { JobDefinition } from '../api/jobs/jobs.ts';
import { readExpression } from '../expressions/expression.ts';
import type { ExpressionValues } from '../expressions/scope.ts';
import { scopeOf } from '../rendering/placeholders/scope.ts';
import type { RenderValues } from '../rendering/placeholders/values.ts';
import { type Preview, type PreviewRoom, renderForPeople } from '../rendering/render-for-people.ts';

export interface StepPreview extends Preview {
  /** Whether its condition holds; `null` if that is not known before the run. */
  runs: boolean | null;
  /** Whether its condition depends on what earlier steps hand on. */
  waitsForSteps: boolean;
}

/** Stands in when there is no target to preview for. */
export const madeUpTarget = {
  name: 'some-host',
  host: '192.0.2.1',
  port: 22,
  os: 'linux',
  segment: 'some-segment',
  labels: {},
} as const;

/**
 * Previews the step at a position; `undefined` if there is none. Values of secrets may be missing, and outputs of steps
 * always are.
 *
 * @param room shared by the steps of a definition that are previewed together.
 */
export function previewStep(
  definition: JobDefinition,
  at: number,
  values: RenderValues,
  room?: PreviewRoom,
): StepPreview | undefined {
  const step = definition.steps[at];
  if (step === undefined) return undefined;
  const rendered = renderForPeople(step, scopeOf(definition, at), values, room);
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
