// A definition as it takes effect: with defaults filled in, and a list of the values that are defaults.
import { type JobDefinition, JobDefinitionSchema } from '../api/jobs/jobs.ts';
import { limits } from '../limits.ts';
import { stepConfigSchema } from '../steps/registry.ts';

export interface EffectiveDefinition {
  definition: JobDefinition;
  /** Paths of values that are defaults, such as `steps[0].config.timeout`. */
  defaults: string[];
}

interface Schema {
  default?: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
}

/** Defaults of fields that a stored definition omits and whose schema has no default. */
const ofJob = { category: 'general', priority: 0, start_within: limits.startWithinS };
const ofStep = { when_status: 'success', on_unknown: 'fail', idempotent: false } as const;

/** Fills in defaults. `ofServers` holds those that depend on the server's configuration. */
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

/** Paths of fields whose value equals the default. */
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
