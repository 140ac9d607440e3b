// Says whether jobs can run and what prevents it: for all jobs that the caller sees, and for one.
import {
  type DefinitionProblem,
  deprecatedStepTypes,
  type JobHealth,
  type JobProblem,
  type JobsHealth,
  limits,
  stepTypes,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError } from '../../errors.ts';
import { whyUnreadableHere } from '../../runs/why-unreadable.ts';
import { siteRulesBroken } from '../../site-rules/hold-jobs.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { decodeCursor, pageOf } from '../../store/database/cursor.ts';
import {
  findJobFindings,
  type HealthQuestion,
  type JobsHealthRow,
  listUnwellJobs,
  readJobsHealth,
  segmentsWithoutAgents,
  type UnwellJobRow,
} from '../../store/jobs/job-health.ts';
import { segmentQueues } from '../../store/queue/waiting/queue-status.ts';
import { joinDefinition } from '../definition/split-definition.ts';
import { validateDefinition } from '../definition/validate-definition.ts';
import { loadJobVersion } from '../versions/load-job-version.ts';
import { seenJob } from '../versions/read-versions.ts';
import { stuckSegmentProblems } from './queue-status.ts';

const question: HealthQuestion = {
  knownStepTypes: stepTypes,
  deprecatedStepTypes: Object.keys(deprecatedStepTypes),
  failuresInARow: 3,
  endedRuns: 2_000,
};

/**
 * Returns whether the jobs within the reaches can run, what prevents it, in words, and a page of the unhealthy ones.
 */
export async function jobsHealth(
  sql: Queryable,
  { limit = limits.defaultPageItems, cursor }: { limit?: number; cursor?: string },
  reaches: readonly Reach[],
): Promise<JobsHealth> {
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const [row, segments, unwell] = await Promise.all([
    readJobsHealth(sql, reaches),
    segmentQueues(sql, reaches),
    listUnwellJobs(sql, question, { limit: limit + 1, after }, reaches),
  ]);
  const problems = [
    ...(await stuckSegmentProblems(sql, segments, reaches)),
    ...problemsOf(row, unwell, limit),
  ];
  const page = pageOf(
    unwell,
    limit,
    ({ name, id }) => [name, id],
    (job) => ({ id: job.id, name: job.name, problems: problemsOfJob(job) }),
  );
  return {
    status: problems.length === 0 ? 'ok' : 'degraded',
    jobs: row.jobs,
    openRuns: row.openRuns,
    problems,
    ...page,
  };
}

function problemsOf(row: JobsHealthRow, unwell: readonly UnwellJobRow[], limit: number): string[] {
  const problems: string[] = [];
  if (row.overdueRuns > 0) {
    problems.push(
      `${count(row.overdueRuns, 'run has', 'runs have')} not begun, although the deadline to start has passed.`,
    );
  }
  const more = unwell.length > limit;
  const some = unwell.slice(0, limit);
  const tell = (kind: JobProblem['kind'], one: string, many: string) => {
    const jobs = some.filter((job) => problemsOfJob(job).some((problem) => problem.kind === kind)).length;
    if (jobs > 0)
      problems.push(`${more ? 'At least ' : ''}${count(jobs, `active job ${one}`, `active jobs ${many}`)}.`);
  };
  tell(
    'unknown_step_type',
    'uses a step type that this server does not know',
    'use step types that this server does not know',
  );
  tell('deprecated_step_type', 'uses a deprecated step type', 'use deprecated step types');
  tell('unknown_credential', 'names a credential that does not exist', 'name credentials that do not exist');
  tell('site_rule', 'breaks a site rule', 'break site rules');
  tell('failing', 'has failed in its last runs', 'have failed in their last runs');
  return problems;
}

/**
 * Returns the health of one job, whose definition is also checked against today's rules.
 * @throws {AppError} `not_found`.
 */
export async function jobHealth(
  deps: { sql: Queryable; masterKey: MasterKey },
  id: number,
  reaches: readonly Reach[],
): Promise<JobHealth> {
  const job = await seenJob(deps.sql, id, reaches);
  const [findings, segments, version, brokenRules] = await Promise.all([
    findJobFindings(deps.sql, id, question, reaches),
    segmentsWithoutAgents(deps.sql, id, reaches),
    loadJobVersion(deps, id, job.version).catch((error: unknown) => ({
      definition: undefined,
      why: whyUnreadableHere('Its definition', error),
    })),
    siteRulesBroken(deps, id),
  ]);
  const problems = [
    ...(findings === undefined ? [] : problemsOfJob({ ...findings, brokenRules })),
    ...segments.map(
      (name): JobProblem => ({
        kind: 'segment_without_agents',
        message: `Segment “${name}”, in which it ran last, has no agent that could take a step now.`,
      }),
    ),
    ...(version.definition === undefined
      ? [{ kind: 'invalid', message: version.why } as const]
      : schemaBreaches(joinDefinition(version.definition, job))),
  ];
  return { status: problems.length === 0 ? 'ok' : 'degraded', problems };
}

function problemsOfJob({
  oddStepTypes,
  absentCredentials,
  failures,
  brokenRules,
}: UnwellJobRow): JobProblem[] {
  return [
    ...brokenRules.map(ruleProblem),
    ...oddStepTypes.map((type): JobProblem => {
      const instead = deprecatedStepTypes[type];
      return instead === undefined
        ? { kind: 'unknown_step_type', message: `This server does not know the step type ${type}.` }
        : {
            kind: 'deprecated_step_type',
            message: `The step type ${type} is deprecated: use ${instead}.`,
          };
    }),
    ...absentCredentials.map(
      ({ name, step }): JobProblem => ({
        kind: 'unknown_credential',
        message: `No segment has a credential named “${name}”, which it asks for.`,
        path: `steps[${step - 1}]`,
      }),
    ),
    ...(failures === 0
      ? []
      : [{ kind: 'failing', message: `Its last ${failures} runs all failed.` } as const]),
  ];
}

function ruleProblem({ rule, path, message }: DefinitionProblem): JobProblem {
  return {
    kind: 'site_rule',
    message: `Breaks site rule “${rule}”: ${message}`,
    ...(path === '' ? {} : { path }),
  };
}

function schemaBreaches(definition: unknown): JobProblem[] {
  try {
    validateDefinition(definition);
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'invalid') throw error;
    return error.details.map(({ path, message }) => ({ kind: 'invalid', message, path }));
  }
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
