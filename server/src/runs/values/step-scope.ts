// Works out what one step is rendered with: the parameters and earlier outputs that its text may refer to, and all
// secrets, because they are masked in its output.
import {
  type JobDefinition,
  type RenderScope,
  type StepDefinition,
  type StepOutput,
  scopeOf,
  stepReferenceName,
} from '@opsconductor/protocol';
import { stepNeedsOf } from '../../jobs/definition/step-needs.ts';

export interface StepScope {
  scope: Pick<RenderScope, 'path' | 'parameters' | 'steps'>;
  /** Earlier steps whose outputs are in the scope: their numbers, and the names by which expressions refer to them. */
  stepsBefore: ReadonlyMap<number, string>;
  when?: string;
  /** The name by which later steps refer to it. */
  step?: string;
  outputs?: Record<string, StepOutput>;
}

const rendering: readonly string[] = ['render', 'conditions', 'outputs'];
const known = new WeakMap<object, Map<number, StepScope | undefined>>();

/** Returns `undefined` for a step that needs no rendering. */
export function stepScopeOf(definition: JobDefinition, stepNumber: number): StepScope | undefined {
  const scopes = known.get(definition) ?? new Map<number, StepScope | undefined>();
  known.set(definition, scopes);
  if (!scopes.has(stepNumber)) scopes.set(stepNumber, stepScope(definition, stepNumber));
  return scopes.get(stepNumber);
}

function stepScope(definition: JobDefinition, stepNumber: number): StepScope | undefined {
  const step = definition.steps[stepNumber - 1];
  const needs = stepNeedsOf(definition)[stepNumber - 1];
  if (step === undefined || !needs?.some((need) => rendering.includes(need))) return undefined;
  const text = textOf(step);
  const { path, parameters, steps } = scopeOf(definition, stepNumber - 1);
  const isSecret = ({ secret }: { secret?: boolean }) => secret === true;
  const before = definition.steps.slice(0, stepNumber - 1).flatMap((each, at): [number, string][] => {
    const name = stepReferenceName(each);
    if (name === undefined || each.outputs === undefined) return [];
    return Object.values(each.outputs).some(isSecret) || text.mayName(name) ? [[at + 1, name]] : [];
  });
  const called = stepReferenceName(step);
  const inScope = new Set(before.map(([, name]) => name));
  return {
    scope: {
      path,
      parameters: pick(parameters, (name, parameter) => isSecret(parameter) || text.mayName(name)),
      steps: pick(steps, (name) => inScope.has(name)),
    },
    stepsBefore: new Map(before),
    ...(step.when === undefined ? {} : { when: step.when }),
    ...(called === undefined ? {} : { step: called }),
    ...(step.outputs === undefined ? {} : { outputs: step.outputs }),
  };
}

/**
 * Finds the names that a step may refer to. A name that isn't in its text isn't referred to, unless an expression in
 * `when` computes a name.
 */
function textOf({ config, when }: StepDefinition): { mayName(name: string): boolean } {
  const text = `${JSON.stringify(config)} ${when ?? ''}`;
  const putsTogether = when !== undefined && /(parameters|steps|outputs)\s*(\[|[^\s.[\w]|$)/.test(when);
  return { mayName: (name) => putsTogether || text.includes(name) };
}

function pick<T>(record: Record<string, T>, keeps: (name: string, value: T) => boolean): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([name, value]) => keeps(name, value)));
}
