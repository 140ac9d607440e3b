// The parts of a definition that are valid enough for its placeholders and conditions to be checked.
import type { JobDefinition, StepDefinition } from '../../api/jobs/jobs.ts';
import type { Parameters, StepOutput } from '../../api/jobs/parameters.ts';
import { isObject, type LooseDefinition, type LooseStep } from './loose.ts';

/** The schema reports a longer one; problems elsewhere would repeat it whole. */
const maxIdLength = 64;

export interface SoundDefinition extends Pick<JobDefinition, 'steps'> {
  parameters: Parameters;
}

/** Returns its parameters except broken ones, and its steps with their names and outputs. */
export function soundDefinition(definition: LooseDefinition, broken: ReadonlySet<string>): SoundDefinition {
  const all = isObject(definition.parameters) ? definition.parameters : {};
  const sound = Object.entries(all).filter(([name, one]) => isObject(one) && !broken.has(name));
  return { parameters: Object.fromEntries(sound) as Parameters, steps: definition.steps.map(soundStep) };
}

function soundStep(step: LooseStep): StepDefinition {
  const { id, when, when_status: whenStatus, outputs } = step;
  return {
    name: textOr(step.name, ''),
    type: step.type as StepDefinition['type'],
    config: step.config,
    ...(typeof id === 'string' && id.length <= maxIdLength ? { id } : {}),
    ...(typeof when === 'string' ? { when } : {}),
    ...(typeof whenStatus === 'string' ? { when_status: whenStatus as 'always' } : {}),
    ...(isObject(outputs) ? { outputs: soundOutputs(outputs) } : {}),
  };
}

function soundOutputs(outputs: Record<string, unknown>): Record<string, StepOutput> {
  const sound = Object.entries(outputs).filter(([, output]) => isObject(output));
  return Object.fromEntries(sound) as Record<string, StepOutput>;
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise;
}
