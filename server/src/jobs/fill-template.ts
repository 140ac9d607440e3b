// Makes a job from a template: its definition, with the given values as defaults of its parameters.
import type { CreateJobFromTemplate, ErrorDetail, JobDefinition, Parameter } from '@opsconductor/protocol';
import type { Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError, notFound } from '../errors.ts';
import type { Sql } from '../store/database/connection.ts';
import { findJob } from '../store/jobs/jobs.ts';
import { joinDefinition } from './definition/split-definition.ts';
import { loadJobVersion } from './versions/load-job-version.ts';
import { resolveVersion } from './versions/resolve-version.ts';

/**
 * Returns the definition of the new job. It must still be validated; that is where a value that its parameter does not
 * allow is refused.
 * @throws {AppError} `not_found` for a template that the caller does not see; `conflict` for a job that is not a
 * template, or an archived one; `invalid` for values of parameters that do not exist or are secret.
 */
export async function fillTemplate(
  deps: { sql: Sql; masterKey: MasterKey },
  request: Omit<CreateJobFromTemplate, 'state' | 'note'>,
  caller: Caller,
): Promise<{ definition: JobDefinition; madeFrom: { jobId: number; version: number; name: string } }> {
  const { id, version: reference } = request.from_template;
  const template = await findJob(deps.sql, id, caller.authority.reach('read'));
  if (template === undefined) throw notFound(`Template ${id}`);
  if (!template.isTemplate) {
    throw new AppError(
      'conflict',
      `Job “${template.name}” is not a template: set \`template: true\` in it first.`,
    );
  }
  if (template.state === 'archived') {
    throw new AppError(
      'conflict',
      `Template “${template.name}” is archived: restore it, or use another one.`,
    );
  }
  const version =
    reference === undefined
      ? template.version
      : await resolveVersion(deps.sql, id, reference, 'from_template.version');
  const { definition } = await loadJobVersion(deps, id, version);
  const { template: _, ...rest } = joinDefinition(definition, template);
  const filled: JobDefinition = {
    ...rest,
    name: request.name,
    ...(request.description === undefined ? {} : { description: request.description }),
    ...(request.category === undefined ? {} : { category: request.category }),
    ...(request.labels === undefined ? {} : { labels: request.labels }),
    ...parametersOf(definition, request),
  };
  return { definition: filled, madeFrom: { jobId: id, version, name: template.name } };
}

function parametersOf(
  { parameters }: JobDefinition,
  { parameters: values = {}, fixed = [] }: Pick<CreateJobFromTemplate, 'parameters' | 'fixed'>,
): Pick<JobDefinition, 'parameters'> {
  refuseUnknown(parameters ?? {}, values, fixed);
  if (parameters === undefined) return {};
  const isFixed = new Set(fixed);
  const entries = Object.entries(parameters).map(([name, parameter]): [string, Parameter] => {
    if (!Object.hasOwn(values, name)) return [name, parameter];
    const value = values[name];
    return [name, { ...parameter, default: value, ...(isFixed.has(name) ? { enum: [value] } : {}) }];
  });
  return { parameters: Object.fromEntries(entries) };
}

/** @throws {AppError} `invalid`, with a detail for each wrong name. */
function refuseUnknown(
  parameters: Record<string, Parameter>,
  values: Record<string, unknown>,
  fixed: readonly string[],
): void {
  const names = Object.keys(parameters);
  const unknown = Object.keys(values).flatMap((name): ErrorDetail[] => {
    const parameter = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    const path = `parameters.${name}`;
    if (parameter === undefined) {
      const allowed = names.length === 0 ? 'none: the template has no parameters' : names.join(', ');
      return [{ path, message: 'The template has no such parameter; leave it out.', found: name, allowed }];
    }
    return parameter.secret === true ? [{ path, message: secretMessage }] : [];
  });
  const free = fixed.flatMap((name, at): ErrorDetail[] => {
    if (Object.hasOwn(values, name)) return [];
    const allowed = Object.keys(values).join(', ') || 'none: no values are given';
    const message = 'Only a parameter with a value here can be fixed; give it one.';
    return [{ path: `fixed[${at}]`, message, found: name, allowed }];
  });
  const details = [...unknown, ...free];
  const [first] = details;
  if (first === undefined) return;
  const told = `${first.path}: ${first.message}`;
  throw new AppError(
    'invalid',
    details.length === 1 ? first.message : `${details.length} fields are invalid. The first: ${told}`,
    {
      details,
    },
  );
}

const secretMessage =
  'A secret is not kept in a definition, which everyone who may see the job can read; give it when the job runs.';
