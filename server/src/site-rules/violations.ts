// Finds the jobs that break a rule, whether it is in force or only tried out. Definitions are stored sealed and must be
// opened one by one, so a page examines a limited number of jobs, in portions between which other work gets its turn.
import {
  compileSiteRule,
  isInScope,
  limits,
  type SiteRuleText,
  type SiteRuleViolationPage,
} from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { notFound } from '../errors.ts';
import { openDefinition } from '../jobs/definition/seal-definition.ts';
import { joinDefinition } from '../jobs/definition/split-definition.ts';
import { whyUnreadableHere } from '../runs/why-unreadable.ts';
import type { Queryable } from '../store/database/connection.ts';
import { decodeCursor, encodeCursor } from '../store/database/cursor.ts';
import { findSiteRule, type HeldJobRow, jobsToHold } from '../store/jobs/site-rules.ts';
import { type HeldDefinition, problemsOf, textOf, type UnopenedJob } from './site-rules.ts';

const portion = 100;

interface Deps {
  sql: Queryable;
  masterKey: MasterKey;
}
interface PageQuery {
  limit?: number;
  cursor?: string;
  /** Where the request has the cursor; in its query by default. */
  cursorField?: string;
}

/** @throws {AppError} `not_found`. */
export async function violationsOf(
  deps: Deps,
  ruleId: number,
  page: PageQuery,
  reaches: readonly Reach[],
): Promise<SiteRuleViolationPage> {
  const row = await findSiteRule(deps.sql, ruleId);
  if (row === undefined) throw notFound('Site rule');
  return findViolations(deps, textOf(row), page, reaches);
}

/** Returns the jobs within the reaches that break the rule, by id. */
export async function findViolations(
  { sql, masterKey }: Deps,
  rule: SiteRuleText,
  { limit = limits.defaultPageItems, cursor, cursorField }: PageQuery,
  reaches: readonly Reach[],
): Promise<SiteRuleViolationPage> {
  const compiled = compileSiteRule(rule);
  const page: SiteRuleViolationPage = { items: [], looked: 0, inScope: 0, nextCursor: null };
  let after = cursor === undefined ? 0 : decodeCursor(cursor, ['number'] as const, cursorField)[0];
  while (page.looked < limits.maxJobsLookedAt) {
    const jobs = await jobsToHold(sql, { after, limit: portion }, reaches);
    for (const job of jobs) {
      if (page.items.length >= limit) return { ...page, nextCursor: encodeCursor([after]) };
      after = job.id;
      page.looked += 1;
      if (!isInScope(compiled, job)) continue;
      page.inScope += 1;
      const problems = problemsOf([compiled], heldJob(masterKey, job));
      const { id: jobId, name: jobName, category, version, state } = job;
      if (problems.length > 0) page.items.push({ jobId, jobName, category, version, state, problems });
    }
    if (jobs.length < portion) return page;
  }
  return { ...page, nextCursor: encodeCursor([after]) };
}

/**
 * Returns a stored job as rules see it. If its row was altered in the database, only this job counts as unopened;
 * others are unaffected.
 */
export function heldJob(masterKey: MasterKey, job: HeldJobRow): HeldDefinition | UnopenedJob {
  const { category, labels, note } = job;
  try {
    const stored = openDefinition(masterKey, job.id, job.version, job);
    return { definition: { ...joinDefinition(stored, job), category }, note };
  } catch (error) {
    return { category, labels, why: whyUnreadableHere('Its definition', error) };
  }
}
