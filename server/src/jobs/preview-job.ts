// Previews the steps of a job on one target with given values, using the renderer of the agents. Nothing runs, and
// nothing is kept.
import {
  compileParameters,
  type JobDefinition,
  type JobPreview,
  type JobPreviewedStep,
  madeUpTarget,
  newPreviewRoom,
  type PreviewRoom,
  previewStep,
  type RenderValues,
  type StepPreview,
} from '@opsconductor/protocol';
import type { Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { notFound } from '../errors.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { findRunnableJob } from '../store/runs/run-creation.ts';
import { findTarget, type TargetRow } from '../store/targets/targets.ts';
import { connectionOf } from '../targets/connection-of.ts';
import { examineInTurn } from './definition/examine-in-turn.ts';
import { findEditableJob } from './editable-job.ts';
import { loadJobVersion } from './versions/load-job-version.ts';
import { resolveVersion } from './versions/resolve-version.ts';

interface PreviewDeps {
  sql: Sql;
  masterKey: MasterKey;
}
interface PreviewAsked {
  parameters?: Record<string, unknown> | undefined;
  targetId?: number | undefined;
}
/** Stands for a job that is not saved yet. */
const newJob = { id: 1, version: 1 };

/**
 * Previews a version of a job.
 * @throws {AppError} `not_found` for a job or target that the caller may not read; `invalid` for a version that does
 * not exist.
 */
export async function previewJob(
  deps: PreviewDeps,
  jobId: number,
  request: PreviewAsked & { version?: number | string | undefined },
  caller: Caller,
): Promise<JobPreview> {
  const job = await findRunnableJob(deps.sql, jobId);
  if (job === undefined || !caller.authority.holdsOnCategory('read', job.categoryId))
    throw notFound(`Job ${jobId}`);
  const version =
    request.version === undefined ? job.version : await resolveVersion(deps.sql, jobId, request.version);
  const target = await targetFor(deps.sql, request, caller);
  const { definition } = await loadJobVersion(deps, jobId, version);
  return preview(definition, { ...request, target, job: { id: jobId, version } }, caller);
}

/**
 * Previews a definition that is not saved; its problems are in the answer.
 * @throws {AppError} `not_found`, `forbidden`.
 */
export async function previewDraft(
  { sql }: Pick<PreviewDeps, 'sql'>,
  request: PreviewAsked & { definition: unknown; jobId?: number | undefined },
  caller: Caller,
): Promise<JobPreview> {
  const { jobId } = request;
  const saved =
    jobId === undefined ? undefined : await inTransaction(sql, (tx) => findEditableJob(tx, jobId, caller));
  const target = await targetFor(sql, request, caller);
  const { definition, problems } = await examineInTurn(caller.userId, request.definition);
  if (problems.length > 0) return { target: nameOf(target), steps: [], problems };
  const job = saved === undefined ? newJob : { id: saved.id, version: saved.version + 1 };
  return preview(definition as JobDefinition, { ...request, target, job }, caller);
}

interface On extends PreviewAsked {
  target: TargetRow | undefined;
  job: { id: number; version: number };
}

function preview(definition: JobDefinition, on: On, caller: Caller): JobPreview {
  const { parameters: declared = {}, rules } = definition;
  const given = on.parameters ?? {};
  // A preview needs no secrets: one that is not given counts as given in sealed form.
  const sealed = Object.keys(declared).filter(
    (name) => declared[name]?.secret === true && !Object.hasOwn(given, name),
  );
  const { values, problems } = compileParameters(declared, rules).check(given, { sealed });
  const room = newPreviewRoom();
  return {
    target: nameOf(on.target),
    steps: definition.steps.map((_, at) =>
      stepOf(definition, at, valuesOf(definition, at, values, on, caller), room),
    ),
    problems,
  };
}

function stepOf(
  definition: JobDefinition,
  at: number,
  values: RenderValues,
  room: PreviewRoom,
): JobPreviewedStep {
  const step = definition.steps[at] as JobDefinition['steps'][number];
  const { fields, runs, values: shown, problems } = previewStep(definition, at, values, room) as StepPreview;
  const config = structuredClone(step.config);
  for (const { keys, text } of fields) setText(config, keys, text);
  return {
    stepNumber: at + 1,
    name: step.name,
    stepType: step.type,
    when: step.when ?? null,
    runs,
    config,
    values: shown.map(({ placeholder, text, secret }) => ({
      placeholder,
      ...(secret || text === undefined ? {} : { value: text }),
      secret,
    })),
    problems,
  };
}

/** Returns the values that an agent would be given, except that the run is invented. */
function valuesOf(
  definition: JobDefinition,
  at: number,
  parameters: Record<string, unknown>,
  { target, job }: On,
  caller: Caller,
): RenderValues {
  const step = definition.steps[at];
  return {
    parameters,
    target: target === undefined ? madeUpTarget : targetValues(target, definition, step),
    run: { id: 1, created_at: new Date().toISOString(), created_by: caller.name },
    job: { ...job, name: definition.name },
    steps: {},
  };
}

function targetValues(
  target: TargetRow,
  { connection }: JobDefinition,
  step: JobDefinition['steps'][number] | undefined,
): RenderValues['target'] {
  const { port } = connectionOf(target.mergedSettings, target.port, step?.connection, connection);
  const { name, host, operatingSystem: os, segmentName: segment, labels } = target;
  return { name, host, port, os, segment, labels };
}

async function targetFor(
  sql: Sql,
  { targetId }: PreviewAsked,
  { authority }: Caller,
): Promise<TargetRow | undefined> {
  if (targetId === undefined) return undefined;
  const target = await findTarget(sql, targetId, authority.reach('read'));
  if (target === undefined) throw notFound(`Target ${targetId}`);
  return target;
}

function nameOf(target: TargetRow | undefined): JobPreview['target'] {
  return target === undefined ? null : { id: target.id, name: target.name };
}

function setText(config: unknown, keys: readonly string[], text: string): void {
  let place = config as Record<string, unknown>;
  for (const key of keys.slice(0, -1)) place = place[key] as Record<string, unknown>;
  place[keys.at(-1) as string] = text;
}
