// What a starter’s parameters ask of whoever makes a job from it.
import type { CreateJobFromTemplate, Parameter, Parameters } from '@opsconductor/protocol';

/**
 * The parameters that may be filled now: secrets are given when a job runs, and what is left out stays to be given then,
 * so nothing is required here.
 */
export function fillable(parameters: Parameters): Parameters {
  const entries = Object.entries(parameters)
    .filter(([, { secret }]) => secret !== true)
    .map(([name, parameter]): [string, Parameter] => [name, { ...parameter, required: false }]);
  return Object.fromEntries(entries);
}

export function secretNames(parameters: Parameters): string[] {
  return Object.keys(parameters).filter((name) => parameters[name]?.secret === true);
}

/** Values and what is fixed of them, as the API takes them; nothing where nothing is given. */
export function filledPart(
  values: Readonly<Record<string, unknown>>,
  fixed: ReadonlySet<string>,
): Pick<CreateJobFromTemplate, 'parameters' | 'fixed'> {
  const names = Object.keys(values);
  if (names.length === 0) return {};
  const kept = names.filter((name) => fixed.has(name));
  return { parameters: { ...values }, ...(kept.length === 0 ? {} : { fixed: kept }) };
}
