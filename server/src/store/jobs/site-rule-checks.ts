// Results of checking jobs against the site rules.
import type { DefinitionProblem } from '@opsconductor/protocol';
import type { Tx } from '../database/connection.ts';
import { type HeldJobRow, selectHeld } from './site-rules.ts';

const checkLock = 0x7372_6368;

/** Takes the lock until the transaction ends. Returns false if another server has it. */
export async function tryCheckLock(tx: Tx): Promise<boolean> {
  const [row] = await tx<{ got: boolean }[]>`
    select pg_try_advisory_xact_lock(${checkLock}) as got`;
  return row?.got === true;
}

/** Returns a value that changes with the enabled rules and the categories, or `undefined` if no rule is enabled. */
export async function siteRulesRevision(tx: Tx): Promise<string | undefined> {
  const [row] = await tx<{ revision: string | null }[]>`
    select md5(rules.told || categories.told) as revision
      from (select string_agg(id || ':' || version, ',' order by id) as told from site_rules where is_enabled) rules,
           (select string_agg(id || ':' || name, ',' order by id) as told from categories) categories`;
  return row?.revision ?? undefined;
}

export async function clearChecks(tx: Tx): Promise<void> {
  await tx`delete from site_rule_checks`;
}

/** Returns jobs that were not checked since they, the rules or the categories changed. Archived jobs are left out. */
export async function staleJobs(
  tx: Tx,
  revision: string,
  { limit, except }: { limit: number; except: readonly number[] },
): Promise<HeldJobRow[]> {
  return tx<HeldJobRow[]>`
    ${selectHeld(tx)} left join site_rule_checks k on k.job_id = j.id
     where j.deleted_at is null and j.state <> 'archived'
       and (k.job_id is null or k.revision <> ${revision} or k.job_updated_at <> j.updated_at)
       and j.id <> all(${except as number[]}::bigint[])
     order by j.id limit ${limit}`;
}

/** Stores the results, for jobs that are still there. Results that are the same as before are not written. */
export async function saveChecks(
  tx: Tx,
  checks: readonly {
    jobId: number;
    revision: string;
    updatedAt: string;
    broken: readonly DefinitionProblem[];
  }[],
): Promise<void> {
  await tx`
    insert into site_rule_checks as k (job_id, revision, job_updated_at, broken)
    select x.job_id, x.revision, x.updated_at, x.broken
      from unnest(${checks.map(({ jobId }) => jobId)}::bigint[],
                  ${checks.map(({ revision }) => revision)}::text[],
                  ${checks.map(({ updatedAt }) => updatedAt)}::text[]::timestamptz[],
                  ${checks.map(({ broken }) => JSON.stringify(broken))}::text[]::jsonb[]) as x(job_id, revision, updated_at, broken)
      join jobs j on j.id = x.job_id
    on conflict (job_id) do update set revision = excluded.revision, job_updated_at = excluded.job_updated_at,
      broken = excluded.broken
    where (k.revision, k.job_updated_at, k.broken)
      is distinct from (excluded.revision, excluded.job_updated_at, excluded.broken)`;
}
