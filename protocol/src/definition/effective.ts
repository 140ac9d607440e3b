// A definition as it takes effect: with what holds where it says nothing, and which of its values are such.
import { type JobDefinition, JobDefinitionSchema } from '../api/jobs/jobs.ts';
import { limits } from '../limits.ts';
import { stepConfigSchema } from '../steps/registry.ts';

export interface EffectiveDefinition {
  definition: JobDefinition;
  /** Paths of what is as it is unless told: `steps[0].config.timeout`. */
  defaults: string[];
}

interface Schema {
  default?: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
}

/** What holds where nothing is said, of fields that a stored definition leaves out. */
const ofJob = { category: 'general', priority: 0, start_within: limits.startWithinS };
const ofStep = { when_status: 'success', on_unknown: 'fail', idempotent: false } as const;

/** `ofServers`: what they are set to for jobs that do not say it. */
export function effectiveDefinition(
  given: JobDefinition,
  ofServers: Pick<JobDefinition, 'detect_secrets'> = {},
): EffectiveDefinition {
  const steps = given.steps.map((step) => ({ ...ofStep, ...step, config: effectiveConfig(step) }));
  const definition: JobDefinition = { ...ofJob, ...ofServers, ...given, steps };
  const defaults = [
    ...Object.keys({ ...ofJob, ...ofServers }).filter((name) => !Object.hasOwn(given, name)),
    ...defaultsIn(JobDefinitionSchema as unknown as Schema, definition, ''),
    ...given.steps.flatMap((step, at) => [
      ...Object.keys(ofStep)
        .filter((name) => !Object.hasOwn(step, name))
        .map((name) => `steps[${at}].${name}`),
      ...defaultsIn((stepConfigSchema(step.type) ?? {}) as Schema, steps[at]?.config, `steps[${at}].config`),
    ]),
  ];
  return { definition, defaults: [...new Set(defaults)] };
}

function effectiveConfig({ type, config }: JobDefinition['steps'][number]): unknown {
  const { properties = {} } = (stepConfigSchema(type) ?? {}) as Schema;
  const filled = Object.entries(properties).filter(([, field]) => field.default !== undefined);
  return {
    ...Object.fromEntries(filled.map(([name, field]) => [name, field.default])),
    ...(Object(config) as object),
  };
}

/** Fields that have the value which they have unless told. */
function defaultsIn(schema: Schema, value: unknown, path: string): string[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? [] : value.flatMap((one, at) => defaultsIn(items, one, `${path}[${at}]`));
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const field = schema.properties?.[name];
    if (field === undefined) return [];
    const here = path === '' ? name : `${path}.${name}`;
    const isDefault = field.default !== undefined && JSON.stringify(field.default) === JSON.stringify(inner);
    return isDefault ? [here] : defaultsIn(field, inner, here);
  });
}
