// What changing a job's category or labels means for the site rules: rules that it complies with now and would then
// break.
import { setImmediate } from 'node:timers/promises';
import type { DefinitionProblem, Labels } from '@opsconductor/protocol';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError } from '../errors.ts';
import type { Queryable, Tx } from '../store/database/connection.ts';
import { jobsToHoldById } from '../store/jobs/site-rules.ts';
import { loadSiteRules, type SiteRules, siteRuleDetail } from './site-rules.ts';
import { heldJob } from './violations.ts';

/** New place of a job; undefined if that part does not change. */
export interface JobPlace {
  category?: string | undefined;
  labels?: Labels | undefined;
}

export interface NewlyBroken {
  id: number;
  name: string;
  problems: DefinitionProblem[];
}

const portion = 100;

/**
 * Returns the jobs that would break rules of severity `error` that they comply with now. Rules that a job already
 * breaks do not prevent the change.
 */
export async function newlyBroken(
  tx: Tx,
  masterKey: MasterKey,
  places: ReadonlyMap<number, JobPlace>,
): Promise<NewlyBroken[]> {
  const rules = await loadSiteRules(tx);
  if (rules.isEmpty) return [];
  const ids = [...places.keys()];
  const broken: NewlyBroken[] = [];
  for (let at = 0; at < ids.length; at += portion) {
    for (const job of await jobsToHoldById(tx, ids.slice(at, at + portion))) {
      // Rules may take long, so other work gets its turn between two jobs.
      await setImmediate();
      const held = heldJob(masterKey, job);
      const { category = job.category, labels = job.labels } = places.get(job.id) ?? {};
      const after =
        'definition' in held
          ? { ...held, definition: { ...held.definition, category, labels } }
          : { ...held, category, labels };
      const problems = added(rules, held, after);
      if (problems.length > 0) broken.push({ id: job.id, name: job.name, problems });
    }
  }
  return broken;
}

/** Returns the site rules that a job breaks now. */
export async function siteRulesBroken(
  { sql, masterKey }: { sql: Queryable; masterKey: MasterKey },
  jobId: number,
): Promise<DefinitionProblem[]> {
  const rules = await loadSiteRules(sql);
  if (rules.isEmpty) return [];
  const jobs = await jobsToHoldById(sql, [jobId]);
  return jobs.flatMap((job) => rules.problems(heldJob(masterKey, job)));
}

function added(
  rules: SiteRules,
  before: Parameters<SiteRules['problems']>[0],
  after: Parameters<SiteRules['problems']>[0],
): DefinitionProblem[] {
  const errors = rules.problems(after).filter(({ severity }) => severity === 'error');
  if (errors.length === 0) return [];
  const known = new Set(rules.problems(before).map(keyOf));
  return errors.filter((problem) => !known.has(keyOf(problem)));
}

function keyOf({ rule, path }: DefinitionProblem): string {
  return `${rule}\n${path}`;
}

/** @throws {AppError} `invalid` if the job would break rules that it complies with now. */
export async function refuseNewlyBroken(
  tx: Tx,
  masterKey: MasterKey,
  jobId: number,
  place: JobPlace,
): Promise<void> {
  const [broken] = await newlyBroken(tx, masterKey, new Map([[jobId, place]]));
  const [first] = broken?.problems ?? [];
  if (broken === undefined || first === undefined) return;
  throw new AppError(
    'invalid',
    `Job “${broken.name}” would break site rule “${first.rule}”: ${first.message}`,
    {
      details: broken.problems.map(siteRuleDetail),
    },
  );
}
