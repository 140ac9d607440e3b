// What a starter's parameters ask for when a job is created from it.
import type { CreateJobFromTemplate, Parameter, Parameters } from '@opsconductor/protocol';

/**
 * Returns the parameters that can be filled in now. Secrets are given when the job runs. Nothing is required here: what
 * is left out is asked for when the job runs.
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

/** Returns values and which of them are fixed, as the API takes them; nothing if no value is given. */
export function filledPart(
  values: Readonly<Record<string, unknown>>,
  fixed: ReadonlySet<string>,
): Pick<CreateJobFromTemplate, 'parameters' | 'fixed'> {
  const names = Object.keys(values);
  if (names.length === 0) return {};
  const kept = names.filter((name) => fixed.has(name));
  return { parameters: { ...values }, ...(kept.length === 0 ? {} : { fixed: kept }) };
}
