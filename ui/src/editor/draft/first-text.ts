// The text that editing starts with: a starter, a copy of another job, or the job's current version.
import {
  generalCategory,
  type JobDefinition,
  JobDefinitionSchema,
  RetryPolicySchema,
  type StepDefinition,
  stepConfigSchema,
} from '@opsconductor/protocol';
import type { FieldSchema } from '../fields/field-kinds.ts';
import { sameValue } from '../text/apply-edit.ts';
import { writeDefinition } from '../text/write-definition.ts';

/** Without a description, which nobody would think of once the steps do something else. */
const starter: JobDefinition = {
  name: 'Check free space',
  steps: [
    { name: 'list', type: 'ssh.exec', config: { command: 'df -h', timeout: 30 } },
    {
      name: 'check root',
      type: 'ssh.exec',
      config: {
        command:
          'used=$(df -P / | awk \'NR==2 {print $5}\' | tr -d %)\necho "root is $used % full"\ntest "$used" -le 90\n',
        timeout: 30,
      },
    },
  ],
};

/** A name has up to 100 characters; this leaves room for a number. */
const longestFirstName = 95;

/** The name that a new job begins with, if no other job has it. */
export function firstName(copied?: JobDefinition): string {
  return copied === undefined ? starter.name : `${copied.name} (copy)`.slice(0, longestFirstName);
}

/** Names the category unless it is the general one. With `isTemplate`, other jobs can be made from the job. */
export function starterText(name: string, category?: string, isTemplate = false): string {
  return writeDefinition({
    ...starter,
    name,
    ...(category === undefined ? {} : { category }),
    ...(isTemplate ? { template: true } : {}),
  });
}

/** Returns the definition of another job as the start of a new one. */
export function copyText(definition: JobDefinition, name: string, category?: string): string {
  const { category: _, ...rest } = withoutDefaults(definition);
  return writeDefinition({ ...rest, name, ...(category === undefined ? {} : { category }) });
}

/** Returns the text as a person would write it: a stored definition has all defaults filled in. */
export function textOf(definition: JobDefinition): string {
  return writeDefinition(withoutDefaults(definition));
}

export function withoutDefaults(definition: JobDefinition): JobDefinition {
  const { steps, category, ...others } = definition;
  const rest = category === undefined || category === generalCategory.name ? others : { ...others, category };
  return { ...(lean(rest, JobDefinitionSchema) as typeof rest), steps: steps.map(leanStep) };
}

function leanStep(step: StepDefinition): StepDefinition {
  const schema = stepConfigSchema(step.type);
  return {
    ...step,
    ...(step.retry === undefined ? {} : { retry: lean(step.retry, RetryPolicySchema) as typeof step.retry }),
    config: schema === undefined ? step.config : lean(step.config, schema),
  };
}

function lean(value: unknown, schema: unknown): unknown {
  const { properties = {} } = schema as FieldSchema;
  const isDefault = ([name, one]: [string, unknown]) =>
    properties[name]?.default !== undefined && sameValue(properties[name].default, one);
  return Object.fromEntries(Object.entries(Object(value)).filter((entry) => !isDefault(entry)));
}
