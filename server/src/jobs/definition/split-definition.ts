// Converts between a definition as it is written and as it is stored: category, labels and whether it is a template
// belong to the job and can change without a new version.
import type { JobDefinition, Labels } from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';
import type { insertJobVersion } from '../../store/jobs/job-versions.ts';
import { runAsCredential } from '../checks/require-credential-use.ts';
import { type EncodedDefinition, encodeDefinition, maxDefinitionBytes } from './seal-definition.ts';
import { stepRulesOf } from './step-rules.ts';

/** The parts of a definition that belong to the job; undefined if the definition does not name them. */
export interface JobSettings {
  category: string | undefined;
  labels: Labels | undefined;
  isTemplate: boolean | undefined;
}

export function splitDefinition(definition: JobDefinition): {
  stored: JobDefinition;
  settings: JobSettings;
} {
  const { category, labels, template, ...stored } = definition;
  return { stored, settings: { category, labels, isTemplate: template } };
}

/** Returns the definition as people write it, with the current settings of the job. */
export function joinDefinition(
  stored: JobDefinition,
  job: { category: string; labels: Labels; isTemplate: boolean },
): JobDefinition {
  return {
    ...stored,
    category: job.category,
    ...(Object.keys(job.labels).length === 0 ? {} : { labels: job.labels }),
    ...(job.isTemplate ? { template: true } : {}),
  };
}

/** @throws {AppError} `too_large`. */
export function encodeWithinLimit(stored: JobDefinition): EncodedDefinition {
  const encoded = encodeDefinition(stored);
  if (encoded.bytes.length <= maxDefinitionBytes) return encoded;
  throw new AppError(
    'too_large',
    `The job definition has ${encoded.bytes.length} bytes; at most ${maxDefinitionBytes} are allowed.`,
  );
}

/** Returns the columns of a version that are stored in clear, because the server needs them. */
export function clearColumnsOf(
  definition: JobDefinition,
): Pick<
  Parameters<typeof insertJobVersion>[1],
  'stepNames' | 'stepTypes' | 'stepCredentials' | 'runAsCredentials' | 'stepRules' | 'fileNames'
> {
  const { steps, connection } = definition;
  return {
    stepNames: steps.map((step) => step.name),
    stepTypes: steps.map((step) => step.type),
    stepCredentials: steps.map((step) => step.connection?.credential ?? connection?.credential ?? null),
    runAsCredentials: steps.map((step) => runAsCredential(step) ?? null),
    stepRules: stepRulesOf(definition),
    fileNames: fileNamesOf(steps),
  };
}

/** Returns the files that steps name literally. A name with a placeholder is only known in a run. */
function fileNamesOf(steps: JobDefinition['steps']): string[] | null {
  const names = steps.flatMap((step) => namesFile(step) ?? []);
  return names.length === 0 ? null : [...new Set(names)].sort();
}

/** Returns the file of the server that a step names literally, if it does. */
export function namesFile({ config }: { config: unknown }): string | undefined {
  const { file } = Object(config) as { file?: unknown };
  return typeof file === 'string' && !file.includes('${{') ? file : undefined;
}

/** Returns each step type once. */
export function stepTypesOf({ steps }: JobDefinition): string[] {
  return [...new Set(steps.map((step) => step.type))].sort();
}
