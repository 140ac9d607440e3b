// What can be said about the health of jobs without opening their definitions. Failing jobs are searched only among the
// newest ended runs, so that a poll costs the same however many runs there are.
import type { DefinitionProblem } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import { jobWithin, reachesEverything, targetRunWithin } from '../people/visibility.ts';
import { isAble } from '../queue/claims/agent-slots.ts';

export interface JobsHealthRow {
  jobs: number;
  openRuns: number;
  /** Open runs of which nothing began although `start_by` has passed. */
  overdueRuns: number;
}

/** Counts what lies within the reaches. Of a run that is only partly within them, only that part counts. */
export async function readJobsHealth(sql: Queryable, reaches: readonly Reach[]): Promise<JobsHealthRow> {
  const [row] = await sql<JobsHealthRow[]>`
    select (select count(*)::int from jobs j where j.deleted_at is null and ${jobWithin(sql, reaches)}) as jobs,
           runs.open_runs, runs.overdue_runs
      from (${openRuns(sql, reaches)}) runs`;
  if (row === undefined) throw new Error('aggregates answered nothing');
  return row;
}

function openRuns(sql: Queryable, reaches: readonly Reach[]) {
  if (reachesEverything(reaches)) {
    return sql`
      select count(*)::int as open_runs,
             (count(*) filter (where started_at is null and start_by < clock_timestamp()))::int as overdue_runs
        from job_runs where status in ('queued', 'running', 'cancelling', 'held')`;
  }
  return sql`
    select count(*)::int as open_runs,
           (count(*) filter (where not begun and start_by < clock_timestamp()))::int as overdue_runs
      from (select r.start_by, bool_or(tr.started_at is not null) as begun
              from job_runs r
              join jobs j on j.id = r.job_id
              join job_run_targets tr on tr.job_run_id = r.id and ${targetRunWithin(sql, reaches)}
             where r.status in ('queued', 'running', 'cancelling', 'held')
             group by r.id
            having bool_or(tr.status in ('queued', 'running', 'cancelling', 'held'))) seen`;
}

export interface UnwellJobRow {
  id: number;
  name: string;
  /** Types of its steps that are unknown or deprecated. */
  oddStepTypes: string[];
  /** Names of credentials that no segment has, each with the first step that asks for it. */
  absentCredentials: { name: string; step: number }[];
  /** How many of its newest ended runs failed in a row; 0 if fewer than `failuresInARow`. */
  failures: number;
  /** The site rules that it breaks, as of the last check (site-rules/checker.ts). */
  brokenRules: DefinitionProblem[];
}

export interface HealthQuestion {
  knownStepTypes: readonly string[];
  deprecatedStepTypes: readonly string[];
  /** From how many failures in a row a job counts as failing. */
  failuresInARow: number;
  /** How many of the newest ended runs of all jobs are searched for failing jobs. */
  endedRuns: number;
}

/** Returns active jobs that are not well, by name. */
export async function listUnwellJobs(
  sql: Queryable,
  question: HealthQuestion,
  page: { limit: number; after: readonly [string, number] | undefined },
  reaches: readonly Reach[],
): Promise<UnwellJobRow[]> {
  const { after } = page;
  return sql<UnwellJobRow[]>`
    with failing as materialized (
      select distinct r.job_id from (
        select job_id, status from job_runs where completed_at is not null
         order by completed_at desc limit ${question.endedRuns}) r
       where r.status in ('failed', 'timed_out')
    ), asked as materialized (
      -- Only current versions, because there may be many more earlier ones.
      select j.id, v.step_credentials || v.run_as_credentials as names
        from jobs j join job_versions v on v.job_id = j.id and v.version = j.version
       where j.state = 'active' and j.deleted_at is null and v.step_credentials is not null
    ), absent as materialized (
      select name from (select distinct unnest(names) as name from asked) named
       where name is not null and not exists (select from credentials k where k.name = named.name)
    ), suspects as materialized (
      select j.id from jobs j where not j.step_types <@ ${soundTypes(question)}::text[]
      union select id from asked where names && array(select name from absent)
      union select job_id from failing
      union select k.job_id from site_rule_checks k where k.broken <> '[]'
    )
    select * from (
      select j.id, j.name, ${findings(sql, question)}
        from suspects s join jobs j on j.id = s.id
       where j.state = 'active' and j.deleted_at is null and ${jobWithin(sql, reaches)}
         and ${after === undefined ? sql`true` : sql`(j.name, j.id) > (${after[0]}::text, ${after[1]}::bigint)`}
    ) unwell
    where cardinality(odd_step_types) > 0 or jsonb_array_length(absent_credentials) > 0 or failures > 0
      or jsonb_array_length(broken_rules) > 0
    order by name, id limit ${page.limit}`;
}

/** Returns the findings about one job, active or not, or `undefined` if it is not within the reaches. */
export async function findJobFindings(
  sql: Queryable,
  jobId: number,
  question: HealthQuestion,
  reaches: readonly Reach[],
): Promise<UnwellJobRow | undefined> {
  const [row] = await sql<UnwellJobRow[]>`
    select j.id, j.name, ${findings(sql, question)} from jobs j
     where j.id = ${jobId} and j.deleted_at is null and ${jobWithin(sql, reaches)}`;
  return row;
}

function soundTypes({ knownStepTypes, deprecatedStepTypes }: HealthQuestion): string[] {
  return knownStepTypes.filter((type) => !deprecatedStepTypes.includes(type));
}

/** Columns for the alias `j`. */
function findings(sql: Queryable, question: HealthQuestion) {
  return sql`
    array(select t from unnest(j.step_types) t where t <> all(${soundTypes(question)}::text[]) order by t) as odd_step_types,
    (select coalesce(jsonb_agg(jsonb_build_object('name', n.name, 'step', n.step) order by n.step), '[]')
       from (select c.name, min(c.step)::int as step
               from job_versions v cross join lateral (
                 select * from unnest(v.step_credentials) with ordinality
                 union all select * from unnest(v.run_as_credentials) with ordinality) c(name, step)
              where v.job_id = j.id and v.version = j.version and c.name is not null
                and not exists (select from credentials k where k.name = c.name)
              group by c.name) n) as absent_credentials,
    (select case when count(*) = ${question.failuresInARow}::int and bool_and(r.status in ('failed', 'timed_out'))
              then count(*)::int else 0 end
       from (select status from job_runs where job_id = j.id and completed_at is not null
              order by id desc limit ${question.failuresInARow}) r) as failures,
    coalesce((select k.broken from site_rule_checks k where k.job_id = j.id), '[]') as broken_rules`;
}

/** Returns the names of segments in which the job ran last and where no agent could take a step now. */
export async function segmentsWithoutAgents(
  sql: Queryable,
  jobId: number,
  reaches: readonly Reach[],
): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select g.name from segments g
     where g.id in (
             select tr.segment_id from job_run_targets tr join job_runs r on r.id = tr.job_run_id
               join jobs j on j.id = r.job_id
              where r.id = (select max(id) from job_runs where job_id = ${jobId}) and ${targetRunWithin(sql, reaches)})
       and not exists (
             select from agent_sessions s join agents a on a.id = s.agent_id
              where a.segment_id = g.id and ${isAble(sql)})
     order by g.name`;
  return rows.map(({ name }) => name);
}
