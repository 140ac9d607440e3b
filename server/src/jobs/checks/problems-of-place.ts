// Problems of a definition that depend on where it is saved: its size, name and category, what its author may use, the
// site rules. They are reported together with problems of the definition itself, as far as those leave something to
// check.
import {
  type DefinitionProblem,
  type ErrorDetail,
  generalCategory,
  type JobDefinition,
} from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { loadSiteRules } from '../../site-rules/site-rules.ts';
import type { Tx } from '../../store/database/connection.ts';
import { findJobNamed, type JobDetailRow } from '../../store/jobs/jobs.ts';
import { encodeWithinLimit, splitDefinition } from '../definition/split-definition.ts';
import { takenName } from '../name-taken.ts';
import { categoryForJobs } from '../settings/category-for-jobs.ts';
import { requireCredentialUse, runAsCredential, unknownCredentials } from './require-credential-use.ts';
import { requireRawSplice } from './require-raw-splice.ts';
import { unknownFiles } from './unknown-files.ts';

export interface SavePlace {
  /** The job that it would be saved to; undefined for a new one. */
  job: JobDetailRow | undefined;
  note: string;
}

/** For a definition that is valid in itself. */
export async function problemsOfPlace(
  tx: Tx,
  definition: JobDefinition,
  place: SavePlace,
  caller: Caller,
): Promise<DefinitionProblem[]> {
  const { stored, settings } = splitDefinition(definition);
  const { job, note } = place;
  const category = settings.category ?? job?.category ?? generalCategory.name;
  const labels = settings.labels ?? job?.labels ?? {};
  const found = [
    ...(await refusalOf('', () => encodeWithinLimit(stored))),
    ...(await problemsOfNames(tx, { ...stored, category }, place, caller)),
    ...(await refusalOf('category', async () => {
      const isMoved = category !== job?.category;
      const to = isMoved ? await categoryForJobs(tx, category, caller) : undefined;
      // As in a save: the version belongs to the category in which the job is now, and moves with the job.
      const lies = job === undefined ? to : { id: job.categoryId, name: job.category };
      if (lies !== undefined) requireRawSplice(caller, lies, stored);
    })),
  ];
  const told = [...once(found).map(asError), ...(await unknownCredentials(tx, caller, stored))];
  // Which files and site rules there are in a category is not told to those who may not put a job there.
  if (found.some(({ path }) => path === 'category')) return told;
  const rules = await loadSiteRules(tx);
  const ruled = rules.problems({ definition: { ...definition, category, labels }, note });
  return [...told, ...(await unknownFiles(tx, category, stored)), ...ruled];
}

/** For an invalid definition: checks only places that have no problem yet. */
export async function problemsOfNamesIn(
  tx: Tx,
  definition: unknown,
  told: readonly ErrorDetail[],
  place: SavePlace,
  caller: Caller,
): Promise<ErrorDetail[]> {
  const paths = told.map(({ path }) => path);
  const isTold = (path: string) =>
    paths.some((one) => one === '' || one === path || path.startsWith(`${one}.`));
  const text = (value: unknown, path: string) =>
    typeof value === 'string' && !isTold(path) ? value : undefined;
  const { name, category, connection, steps } = Object(definition) as Record<string, unknown>;
  const connected = (value: unknown, path: string): Pick<JobDefinition, 'connection'> => {
    const credential = text(Object(Object(value)).credential, `${path}.credential`);
    return credential === undefined ? {} : { connection: { credential } };
  };
  const named = {
    name: text(name, 'name'),
    category: text(category, 'category') ?? place.job?.category ?? generalCategory.name,
    ...connected(connection, 'connection'),
    steps: (Array.isArray(steps) ? steps : []).map((step: unknown, at) => {
      const { connection: own, config } = Object(step) as Record<string, unknown>;
      const runAs = text(runAsCredential({ config }), `steps[${at}].config.run_as_credential`);
      return { ...connected(own, `steps[${at}].connection`), config: { run_as_credential: runAs } };
    }),
  };
  return problemsOfNames(tx, named as Named, place, caller);
}

type Named = { name?: string | undefined; category: string } & Parameters<typeof requireCredentialUse>[2];

/** Checks its name, category and credentials. */
async function problemsOfNames(
  tx: Tx,
  definition: Named,
  { job }: SavePlace,
  caller: Caller,
): Promise<ErrorDetail[]> {
  const { name, category } = definition;
  return [
    ...(await refusalOf('name', async () => {
      const holder = name === undefined ? undefined : await findJobNamed(tx, name);
      if (name !== undefined && holder !== undefined && holder !== job?.id) throw takenName(name);
    })),
    ...(await refusalOf('category', async () => {
      if (category !== job?.category) await categoryForJobs(tx, category, caller);
    })),
    ...(await refusalOf('', () => requireCredentialUse(tx, caller, definition))),
  ];
}

/** Returns the details of the refusal by a check that a save also makes. */
async function refusalOf(path: string, check: () => unknown): Promise<readonly ErrorDetail[]> {
  try {
    await check();
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'internal') throw error;
    return error.details.length > 0 ? error.details : [{ path, message: error.message }];
  }
}

function once(details: readonly ErrorDetail[]): ErrorDetail[] {
  const seen = new Set<string>();
  return details.filter(({ path, message }) => {
    const key = `${path}\n${message}`;
    return seen.has(key) ? false : seen.add(key);
  });
}

function asError(detail: ErrorDetail): DefinitionProblem {
  return { ...detail, severity: 'error' };
}
